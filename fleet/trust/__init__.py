"""Keys, proposals, signatures, the repository, and what is published of it."""
