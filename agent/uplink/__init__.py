"""Stage: what is sent next, and what a receipt settles."""
