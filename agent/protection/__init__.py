"""Stage: transforms, epochs, sealing."""
