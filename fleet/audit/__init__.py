"""Evidence, checked offline."""
