"""What lifts a label: precision, volume, combinations."""
