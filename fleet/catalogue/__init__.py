"""`sluicectl catalogue`: what a datum is, and what is filed of it."""
