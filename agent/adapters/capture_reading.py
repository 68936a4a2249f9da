"""What all readers of capture files share: chunks, limits, errors in one line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from agent.errors import BadInput
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 256 * 1024  # stays in the cache while it is parsed
INFLATED_BYTES_MAX: Final = 16 * 1024**3  # of a .gz: a bomb must end at some time
GZIP_MAGIC: Final = b"\x1f\x8b"


class Closing(ABC):
    """Something open, as a context manager."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def chunks_of(stream: BinaryIO, most: int | None) -> Iterator[bytes]:
    """Yield a file's bytes; WireError beyond ``most`` (None: any amount)."""
    total = 0
    while chunk := stream.read(CHUNK_BYTES):
        total += len(chunk)
        if most is not None and total > most:
            raise WireError("gzip", f"inflates to more than {most} bytes")
        yield chunk


def unreadable(path: Path, error: Exception, hint: str) -> BadInput:
    """Return what a person reads: file, place, reason, what to do (``hint``)."""
    file = str(path)
    if isinstance(error, BadInput):
        return error
    if isinstance(error, WireError):
        at = "" if error.offset is None else f" at byte {error.offset}"
        return BadInput(file, f"{error.what}{at}", error.reason, hint)
    if isinstance(error, EOFError):
        return BadInput(file, "gzip", "file ends inside the compressed data")
    if isinstance(error, OSError) and error.strerror:
        return BadInput(file, "", error.strerror)
    return BadInput(file, "gzip", "compressed data is damaged")
