"""What `sluicegate modbus` was asked to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Where:
    """What to read, and which device is which."""

    captures: tuple[Path, ...] = ()
    interface: str = ""
    seconds: float = 60.0
    config: Path | None = None
    links: tuple[str, ...] = ()  # NAME=HOST or NAME=HOST:PORT
    ports: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """Return how tables and drafts name the source."""
        if self.interface:
            return f"interface {self.interface}"
        first, more = self.captures[0].name, len(self.captures) - 1
        return f"{first} and {more} more" if more else first
