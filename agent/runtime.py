"""Opens the ports, runs one task group, swaps policies between batches."""
