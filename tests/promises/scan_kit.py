"""`sluicegate scan` as a person runs it, and its kept store opened by a recipient."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, cast

from agent.adapters.device_key import load_or_create
from agent.main import run
from fleet.keys import generate
from fleet.opener import Opener
from protocols.recipients import encode_card

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fleet.keys import RecipientKeys
    from fleet.opener import Column

DEVICE = "scan"
MAIN = "from agent.main import main; main()"


@dataclass(frozen=True)
class Said:
    """What one command said."""

    code: int
    out: bytes
    err: bytes

    @property
    def lines(self) -> list[str]:
        return self.err.decode().splitlines()


def scan(
    *arguments: Path | str, folder: Path, environment: dict[str, str] | None = None
) -> Said:
    """Run the command with ``folder`` as its place for temporary files."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "scan", *map(str, arguments)],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "TMPDIR": str(folder), **(environment or {})},
    )
    return Said(done.returncode, done.stdout, done.stderr)


def here(*arguments: Path | str, folder: Path) -> Said:
    """Run a command as `scan` does, without an interpreter of its own: a second less.

    For tests of what it answers. What a process is - its memory, its end, all that it
    writes anywhere - takes one.
    """
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    former, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(map(str, arguments)))
    finally:
        tempfile.tempdir = former
    said = [cast("BytesIO", one.buffer).getvalue() for one in (out, err)]
    return Said(code, *said)


def recipients(folder: Path, names: Sequence[str]) -> list[RecipientKeys]:
    """Make keys, and put their cards into ``folder``."""
    folder.mkdir()
    keys = [generate(n, dt.date(2020, 1, 1), dt.date(2099, 1, 1)) for n in names]
    for one in keys:
        (folder / f"{one.name}.card.json").write_bytes(encode_card(one.card()))
    return keys


@dataclass(frozen=True)
class Envelope:
    """One opened envelope."""

    destination: str
    label: int
    columns: list[Column]


def opened(store: Path, keys: Sequence[RecipientKeys]) -> list[Envelope]:
    """Return all that a kept store would have sent or keeps, opened."""
    signer = load_or_create(store.with_suffix(".key"), DEVICE)
    opener = Opener(keys, {DEVICE: signer.public_key()})
    found: list[Envelope] = []
    database = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        query = "SELECT kind, destination, label, body FROM spool ORDER BY row"
        for kind, destination, label, body in database.execute(query).fetchall():
            if kind == "key":
                opener.announce(DEVICE, body)
            else:
                columns = opener.open(DEVICE, body)
                found.append(Envelope(destination, label, columns))
        query = "SELECT sequence, label, body FROM retained ORDER BY row"
        for sequence, label, body in database.execute(query):
            if sequence == 0:
                opener.announce(DEVICE, body)
            else:
                found.append(Envelope("", label, opener.open(DEVICE, body)))
    finally:
        database.close()
    return found


def values_of(envelopes: Sequence[Envelope], item: str) -> dict[int, float]:
    """Return time in ns -> value of an item, over all envelopes."""
    return {
        time_ns: value
        for envelope in envelopes
        for column in envelope.columns
        if column.item == item
        for time_ns, value, _ in column.rows()
        if value is not None
    }


def json_of(said: Said) -> list[dict[str, Any]]:
    """Return what ``--json`` wrote."""
    found: list[dict[str, Any]] = json.loads(said.out)
    return found
