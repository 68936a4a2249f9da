"""Who takes which policy: steps, acks, totals, a halt by itself."""
