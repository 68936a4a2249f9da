"""Stage: frames and transactions, gathered into batches."""
