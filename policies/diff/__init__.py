"""What one policy lets out more or less than another, in words."""
