"""Stage: what the spool keeps, evicts and accounts for."""
