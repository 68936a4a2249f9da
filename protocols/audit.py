"""Evidence on the wire: a page of log entries with the checkpoint that covers it.

msgpack ``[1, log id, start, [entry, ...], signed note]``. ``start`` is the index of the
first entry; the checkpoint's size is at least ``start + len(entries)``. Entries are the
exact leaf bytes, so a reader rebuilds the RFC 6962 tree from pages alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgpack

from protocols.errors import WireError

VERSION: Final = 1
PAGE_BYTES_MAX: Final = 1024 * 1024
ENTRIES_MAX: Final = 4096
LOG_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries [start, start + len(entries)) of one log, and a checkpoint."""

    log: bytes
    start: int
    entries: tuple[bytes, ...]
    checkpoint: bytes


def encode_page(page: AuditPage) -> bytes:
    """Return the message of a page."""
    body = [VERSION, page.log, page.start, list(page.entries), page.checkpoint]
    encoded = msgpack.packb(body, use_bin_type=True)
    assert isinstance(encoded, bytes)
    return encoded


def parse_page(message: bytes) -> AuditPage:
    """Return the page; WireError where the message is none."""
    if len(message) > PAGE_BYTES_MAX:
        raise WireError("audit page", f"larger than {PAGE_BYTES_MAX} bytes")
    try:
        body = msgpack.unpackb(
            message,
            raw=False,
            max_array_len=ENTRIES_MAX,
            max_bin_len=PAGE_BYTES_MAX,
            max_map_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError("audit page", type(error).__name__) from None
    match body:
        case [int(version), bytes(log), int(start), list(entries), bytes(note)]:
            pass
        case _:
            raise WireError("audit page", "not [version, log, start, entries, note]")
    if version != VERSION:
        raise WireError("audit page", f"version {version} is not {VERSION}")
    if len(log) != LOG_ID_BYTES or start < 0:
        raise WireError("audit page", "log id or start out of range")
    if not all(isinstance(entry, bytes) for entry in entries):
        raise WireError("audit page", "an entry is no byte string")
    return AuditPage(log, start, tuple(entries), note)
