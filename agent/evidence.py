"""evidence path: filled in the next commits."""
