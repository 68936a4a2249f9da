"""Stage: which rule decides each sample at each destination."""
