"""The operator's own log: who made keys, signed, published, rolled out; tamper-evident.

``journal/entries`` has one JSON object a line; the lines are the leaves of an RFC 6962
tree, and ``journal/checkpoint`` is its head in a signed C2SP note. Who keeps an older
checkpoint (an auditor, a colleague) can tell later that nothing before it was changed:
``sluicectl journal verify --since FILE``. docs/formats/trust.md section 8.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.errors import BadInput, Refused
from fleet.files import read_limited, replace, write_new
from fleet.trust.signing import PUBLIC, encode_half, load_half
from protocols.tlog.checkpoint import (
    NOTE_BYTES_MAX,
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    sign_checkpoint,
)
from protocols.tlog.tree import Growth, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fleet.trust.signing import SigningKey

FOLDER: Final = "journal"
ENTRIES: Final = "entries"
CHECKPOINT: Final = "checkpoint"
LOCK: Final = ".lock"
KEY: Final = f"journal{PUBLIC}"
ENTRIES_BYTES_MAX: Final = 64 * 1024 * 1024
LINE_BYTES_MAX: Final = 16 * 1024


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operation: what, when, with which facts (names of approvers among them)."""

    number: int
    time: str  # RFC 3339, UTC, by the operator's clock
    action: str
    facts: dict[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Checked:
    """What holds of a journal."""

    entries: tuple[Entry, ...]
    root: bytes
    unsigned: int  # entries behind the checkpoint: a power cut came between


class FileJournal:
    """A repository's journal, with the key that signs its checkpoints."""

    def __init__(self, repository: Path, fleet: str, key: SigningKey) -> None:
        """Take the folder; nothing is read yet."""
        self._folder = repository / FOLDER
        self._fleet = fleet
        self._key = key

    def begin(self) -> None:
        """Make the folder of a new fleet's journal."""
        write_new(self._folder / KEY, encode_half(self._key.half()))

    def record(self, action: str, facts: Mapping[str, str | int | bool]) -> None:
        """Append one operation, durably, and sign the new head.

        Refused where what is there is not what was signed: it is not signed anew. One
        entry behind the checkpoint is what a power cut leaves; it is taken in. Who
        records at the same moment waits: two entries of one number would be no tree.
        """
        place = self._folder / LOCK
        try:
            lock = place.open("w")
        except OSError as error:
            reason = f"cannot be written: {error.strerror}"
            raise BadInput(str(place), "", reason) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._record(action, facts)

    def check(self) -> list[bytes]:
        """Return its lines; Refused where nothing may be recorded after them."""
        lines = _lines(self._folder)
        if (self._folder / CHECKPOINT).exists():
            public = self._key.public_key().hex()
            repository = self._folder.parent
            if check_journal(repository, self._fleet, key=public).unsigned > 1:
                raise Refused("journal", "entries were added that nobody signed")
        elif len(lines) > 1:
            raise Refused("journal", "its checkpoint is gone")
        return lines

    def holds(self, action: str, facts: Mapping[str, str | int | bool]) -> bool:
        """Tell whether an operation was recorded."""
        entries = (_entry(line, number) for number, line in enumerate(self.check()))
        return any((one.action, one.facts) == (action, facts) for one in entries)

    def _record(self, action: str, facts: Mapping[str, str | int | bool]) -> None:
        lines = self.check()
        now = datetime.fromtimestamp(int(time.time()), UTC)
        entry = Entry(len(lines), f"{now:%Y-%m-%dT%H:%M:%SZ}", action, dict(facts))
        line = msgspec.json.encode(entry)
        if len(line) > LINE_BYTES_MAX:
            raise BadInput(str(self._folder), "", "an entry is too large")
        _append(self._folder / ENTRIES, line)
        head = Checkpoint(origin(self._fleet), len(lines) + 1, _root([*lines, line]))
        replace(self._folder / CHECKPOINT, sign_checkpoint(head, self._key))


def origin(fleet: str) -> str:
    """Return the name of a fleet's journal in its checkpoints."""
    return f"sluicegate/journal/{fleet}"


def check_journal(
    repository: Path, fleet: str, since: bytes | None = None, key: str = ""
) -> Checked:
    """Return the entries of a journal that holds; Refused where it does not.

    Steps: (1) the checkpoint is signed; (2) its tree is made of these entries, in this
    order; (3) they count from 0; (4) the older checkpoint ``since`` is a prefix.
    ``key``: the public key (hex) to believe, else the folder's own word.
    """
    folder = repository / FOLDER
    public = bytes.fromhex(key or load_half(folder / KEY).ed25519)
    note = read_limited(folder / CHECKPOINT, NOTE_BYTES_MAX)
    head = _opened(note, fleet, public)  # (1)
    lines = _lines(folder)
    if head.size > len(lines):
        missing = head.size - len(lines)
        raise Refused("journal", f"{missing} entries are missing")
    root = _root(lines[: head.size])
    if root != head.root:  # (2)
        raise Refused("journal", "an entry was changed: its tree is not the signed one")
    entries = tuple(_entry(line, number) for number, line in enumerate(lines))  # (3)
    if since is not None:  # (4)
        old = _opened(since, fleet, public)
        if old.size > head.size or _root(lines[: old.size]) != old.root:
            raise Refused("journal", "it does not continue the older checkpoint")
    return Checked(entries, root, len(lines) - head.size)


def _opened(note: bytes, fleet: str, public: bytes) -> Checkpoint:
    try:
        return open_checkpoint(note, origin(fleet), public)
    except CheckpointError as error:
        raise Refused("journal", f"checkpoint: {error}") from None


def _lines(folder: Path) -> list[bytes]:
    """Return the entries; what a power cut left of a last line is none."""
    place = folder / ENTRIES
    data = read_limited(place, ENTRIES_BYTES_MAX) if place.exists() else b""
    return data.split(b"\n")[:-1]


def _append(place: Path, line: bytes) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(place, flags, 0o644), "r+b") as file:
            whole = file.read().rpartition(b"\n")
            file.seek(len(whole[0]) + len(whole[1]))  # over what a cut left
            file.truncate()
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BadInput(str(place), "", f"cannot be written: {error.strerror}") from None


def _entry(line: bytes, number: int) -> Entry:
    try:
        entry = msgspec.json.decode(line, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("journal", f"entry {number} is no entry") from None
    if entry.number != number:
        raise Refused("journal", f"entry {number} says that it is {entry.number}")
    return entry


def _root(lines: list[bytes]) -> bytes:
    growth = Growth(0, {})
    growth.append([leaf_hash(line) for line in lines])
    return growth.root()
