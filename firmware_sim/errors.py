"""What can be wrong with what a tester gives us: one line, file first."""

from __future__ import annotations


class ScenarioError(ValueError):
    """A scenario was refused: ``file``, ``place`` (line and path), ``reason``."""

    def __init__(self, file: str, place: str, reason: str) -> None:
        """Keep the facts apart; ``str`` joins them to one line."""
        where = f"{file}:{place}" if place else file
        super().__init__(f"{where}: {reason}")
        self.file = file
        self.place = place
        self.reason = reason


class OutputError(OSError):
    """A bus, port or file could not be opened or written; one line says which."""
