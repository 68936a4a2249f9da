"""What a program wrote to its files, in order, and what a power cut could leave of it.

strace(1) tells every write, truncation and sync. A disk with a write cache keeps what
was synced; of what was written since, any sectors may be there and any may not, in
whatever order they were written. Names of files (create, rename, unlink) are taken as
kept at once: journals of file systems order those.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

SECTOR = 512
CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,close"
CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
FD = re.compile(r"^(\d+)<([^>]*)>")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
strace = shutil.which("strace")


@dataclass
class Event:
    """One call on one file; ``path`` is its name in the folder."""

    call: str
    path: str
    offset: int = 0
    data: bytes = b""


@dataclass
class _File:
    kept: bytearray = field(default_factory=bytearray)
    cached: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        for event in self.cached:
            apply(self.kept, event)
        self.cached.clear()


def traced(folder: Path, script: str, root: Path) -> list[Event]:
    """Run a script of Python under strace; return what it did in ``folder``.

    Lines that it writes to standard output are events ``ack``, in their place.
    """
    log = folder.with_suffix(".strace")
    assert strace is not None
    subprocess.run(
        [strace, "-f", "-y", "-xx", "-s", "9999999", "-e", f"trace={CALLS}",
         "-o", str(log), sys.executable, "-c", script, str(folder)],
        cwd=root, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    with log.open(encoding="ascii") as lines:
        found = [_event(line, str(folder)) for line in lines]
    return [event for event in found if event is not None]


def _event(line: str, folder: str) -> Event | None:
    told = CALL.match(line)
    if told is None or int(told[3]) < 0:
        return None
    call, rest = told[1], told[2]
    texts = [_plain(text) for text in TEXT.findall(rest)]
    handle = FD.match(rest)
    path = "" if handle is None else _decoded(handle[2])
    if call == "write" and handle is not None and handle[1] == "1":
        return Event("ack", "", data=texts[0])
    if call in {"unlink", "unlinkat", "rename"}:
        names = [text.decode() for text in texts]
        if not names[0].startswith(folder):
            return None
        new = names[-1].encode() if call == "rename" else b""
        return Event(call[:6], names[0], data=new)
    if not path.startswith(folder + "/"):
        return None
    if call == "pwrite64":
        return Event("write", path, int(rest.rsplit(", ", 1)[1]), texts[0])
    if call == "write":
        return Event("append", path, data=texts[0])
    if call == "ftruncate":
        return Event("cut", path, int(rest.rsplit(", ", 1)[1]))
    return Event("sync", path) if call in {"fsync", "fdatasync"} else None


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _decoded(path: str) -> str:
    return _plain(path).decode() if path.startswith("\\x") else path


def apply(body: bytearray, event: Event) -> None:
    """Do to a file what the event did."""
    if event.call == "cut":
        if event.offset < len(body):
            del body[event.offset :]
        else:
            body.extend(bytes(event.offset - len(body)))
        return
    offset = len(body) if event.call == "append" else event.offset
    if offset > len(body):
        body.extend(bytes(offset - len(body)))
    body[offset : offset + len(event.data)] = event.data


def cut_at(
    events: list[Event], into: Path, rng: random.Random, *, lies: bool = False
) -> list[bytes]:
    """Write into a folder what a cut after these events leaves; return what was acked.

    ``lies``: the disk says that it has synced and has not.
    """
    files: dict[str, _File] = {}
    acked: list[bytes] = []
    for event in events:
        if event.call == "ack":
            acked += event.data.splitlines()
        elif event.call == "unlink":
            files.pop(event.path, None)
        elif event.call == "rename":
            if event.path in files:
                files[event.data.decode()] = files.pop(event.path)
        elif event.call == "sync":
            if not lies:
                files.setdefault(event.path, _File()).sync()
        else:
            files.setdefault(event.path, _File()).cached.append(event)
    for path, file in files.items():
        torn = [part for event in file.cached for part in sectors(event)]
        left = [part for part in torn if rng.random() < 0.5]
        rng.shuffle(left)
        for part in left:
            apply(file.kept, part)
        (into / path.rsplit("/", 1)[1]).write_bytes(file.kept)
    return acked


def sectors(event: Event) -> list[Event]:
    """Return a write as writes of single sectors; anything else as it is."""
    if event.call != "write":
        return [event]
    found, offset, data = [], event.offset, event.data
    while data:
        size = SECTOR - offset % SECTOR
        found.append(Event("write", event.path, offset, data[:size]))
        offset, data = offset + size, data[size:]
    return found
