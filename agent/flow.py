"""flow path: filled in the next commits."""
