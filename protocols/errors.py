"""Errors of wire formats and databases, by who is at fault.

WireError       the peer (or a file) sent bytes that the format forbids
DatabaseError   a CAN database cannot be used; names file, place and reason

Any other exception that leaves this package is a bug here.
"""


class WireError(ValueError):
    """Bytes that the format forbids. ``str(error)`` never holds payload bytes."""

    def __init__(self, what: str, reason: str, offset: int | None = None) -> None:
        """Name the format part (``what``), why it is refused and where it was."""
        place = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{what}{place}: {reason}")
        self.what = what
        self.reason = reason
        self.offset = offset


class DatabaseError(ValueError):
    """A CAN database was refused: ``file``, ``place`` (line or message), ``reason``."""

    def __init__(self, file: str, place: str, reason: str) -> None:
        """Keep the three facts apart so that a caller can print one clear line."""
        super().__init__(f"{file}: {place}: {reason}")
        self.file = file
        self.place = place
        self.reason = reason
