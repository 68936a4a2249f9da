"""Stage: compliance counters, device state, Prometheus text."""
