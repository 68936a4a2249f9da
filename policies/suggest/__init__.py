"""Suggests what signals and registers are: category, item, reason, confidence."""
