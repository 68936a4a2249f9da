"""Capture file formats: bytes of a file in, FrameBatch out."""
