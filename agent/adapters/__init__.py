"""All contact with the world."""
