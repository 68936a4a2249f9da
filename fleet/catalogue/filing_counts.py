"""Counts for a filing, out of a collector's ledger or a device's own store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Final

from fleet.audit.sources import OUTCOMES, open_store_file
from fleet.catalogue.filing import Counts
from fleet.errors import BadInput
from fleet.ledger import Ledger
from protocols.errors import WireError
from protocols.labels import unpack
from protocols.signed import open_signed
from protocols.telemetry import decode_telemetry

if TYPE_CHECKING:
    from pathlib import Path

READ: Final = "read"
_SERIES: Final = (
    "SELECT category, COUNT(*), COUNT(DISTINCT device) FROM points"
    " JOIN series ON series.id = points.series GROUP BY category"
)


def of_ledger(path: Path) -> Counts:
    """Return rows and devices by category, and samples read by label.

    Telemetry counts where its signature is the enrolled device's.
    """
    book = Ledger(path, read_only=True)
    try:
        found = book.query(_SERIES)
        keys = book.devices()
        read: Counter[str] = Counter()
        for device, body in book.query("SELECT device, body FROM telemetry"):
            key = keys.get(str(device))
            if key is not None and isinstance(body, bytes):
                read += _read(body, key)
    finally:
        book.close()
    rows = {str(name): _number(many) for name, many, _ in found}
    subjects = {str(name): _number(many) for name, _, many in found}
    return Counts(rows, subjects, read, ("the collector's ledger",))


def _number(value: object) -> int:
    assert isinstance(value, int)  # COUNT gives no other
    return value


def _read(body: bytes, key: bytes) -> Counter[str]:
    try:
        told = decode_telemetry(open_signed("telemetry", body, key))
    except WireError:
        return Counter()  # `audit verify` tells of it
    out: Counter[str] = Counter()
    for row in told.rows:
        if row.outcome == READ:
            out[row.label] += row.samples
    return out


def of_store(path: Path) -> Counts:
    """Return the samples read by label, from a device's own store."""
    read: Counter[str] = Counter()
    try:
        with contextlib.closing(open_store_file(path)) as database:
            for label, outcome, samples in database.execute(
                "SELECT label, outcome, samples FROM counters"
            ):
                if 0 <= outcome < len(OUTCOMES) and OUTCOMES[outcome] == READ:
                    read[str(unpack(label))] += samples
    except (sqlite3.Error, ValueError) as error:
        raise BadInput(str(path), "", f"cannot be read: {error}") from None
    return Counts(None, None, read)
