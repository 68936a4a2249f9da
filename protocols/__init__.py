"""Wire formats, pure: bytes in, columns out. No I/O, no clock, knows nobody here."""
