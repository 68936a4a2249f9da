"""control path: filled in the next commits."""
