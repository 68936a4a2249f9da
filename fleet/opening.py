"""`sluicectl open`: what is inside envelopes, from files or from a device's store."""

from __future__ import annotations

import contextlib
import csv
import math
import sqlite3
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from fleet.audit.sources import open_store_file
from fleet.errors import BadInput, Refused
from fleet.files import read_limited
from fleet.opener import Opener
from protocols.announcement import ANNOUNCEMENT_BYTES_MAX
from protocols.envelope import MESSAGE_BYTES_MAX, parse_envelope
from protocols.errors import WireError
from protocols.labels import unpack
from protocols.plain import printable
from protocols.signed import split_signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fleet.keys import RecipientKeys
    from fleet.opener import Column
    from protocols.envelope import Header

Row: TypeAlias = tuple[
    str, str, str, str, str, int, float | None, str | None, str, str, str, str, str, int
]
FIELDS: Final = (
    "device", "destination", "label", "item", "statistic", "time_ns", "value", "text",
    "unit", "category", "purpose", "source", "epoch", "sequence",
)  # fmt: skip
_STORED: Final = (
    "SELECT 'spool ' || row, body FROM spool WHERE kind IN ('data', 'event')"
    " UNION ALL SELECT 'retained ' || row, body FROM retained WHERE sequence > 0"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be opened, and with what."""

    envelopes: tuple[Path, ...]
    announcements: tuple[Path, ...]
    store: Path | None
    keys: tuple[RecipientKeys, ...]
    devices: Mapping[str, bytes]
    public_key: bytes  # of the one device that is not in ``devices``; may be empty


def open_all(request: Request, form: str) -> int:
    """Print every row that opens; 0 where all did, 1 where some were refused.

    ``form``: table, csv or json (one object a line). What is sealed to others is
    counted on standard error, and so is every refusal, with its reason.
    """
    if not request.envelopes and request.store is None:
        raise BadInput("", "", "name envelopes or --store")
    with contextlib.ExitStack() as stack:
        database = None
        if request.store is not None:
            database = stack.enter_context(
                contextlib.closing(open_store_file(request.store))
            )
        try:
            opening = _Opening(request, database)
            _WRITERS[form](opening.rows())
        except sqlite3.Error as error:
            raise BadInput(str(request.store), "", f"cannot be read: {error}") from None
    for line, count in sorted(opening.told.items()):
        sys.stderr.write(f"sluicectl: {count} {printable(line)}\n")
    return 1 if opening.refused else 0


class _Opening:
    def __init__(self, request: Request, database: sqlite3.Connection | None) -> None:
        self._request = request
        self._database = database
        self.told: Counter[str] = Counter()
        self.refused = 0
        self._devices = dict(request.devices)
        if request.public_key:
            for _, message in (*self._announcements(), *self._messages()):
                name = _device_of(message)
                if name:
                    self._devices.setdefault(name, request.public_key)
        self._opener = Opener(request.keys, self._devices)
        for place, message in self._announcements():
            try:
                self._opener.announce(_device_of(message), message)
            except (WireError, Refused) as error:
                self._refuse(place, error)

    def _announcements(self) -> Iterator[tuple[str, bytes]]:
        for path in self._request.announcements:
            yield str(path), read_limited(path, ANNOUNCEMENT_BYTES_MAX)
        if self._database is not None:
            yield from self._database.execute(
                "SELECT 'spool ' || row, body FROM spool WHERE kind = 'key' UNION ALL"
                " SELECT 'retained ' || row, body FROM retained WHERE sequence = 0"
            )

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        for path in self._request.envelopes:
            yield str(path), read_limited(path, MESSAGE_BYTES_MAX)
        if self._database is not None:
            yield from self._database.execute(_STORED)

    def rows(self) -> Iterator[Row]:
        """Yield FIELDS of every row of every batch that opens."""
        for place, message in self._messages():
            try:
                header = parse_envelope(message).header
                if self._opener.knows(header.device, header.epoch) is False:
                    self.told["batches are sealed to others"] += 1
                    continue
                columns = self._opener.open(header.device, message)
            except (WireError, Refused) as error:
                self._refuse(place, error)
                continue
            for column in columns:
                yield from _rows(header, column)

    def _refuse(self, place: str, error: WireError | Refused) -> None:
        self.refused += 1
        self.told[f"refused ({place}: {error})"] += 1


def _device_of(message: bytes) -> str:
    """Return which device a message names, before anything is verified; "" if none."""
    with contextlib.suppress(WireError):
        return parse_envelope(message).header.device
    with contextlib.suppress(WireError, ValueError, IndexError, TypeError):
        body, _ = split_signed("announcement", message)
        name = msgspec.msgpack.decode(body)[2]
        return name if isinstance(name, str) else ""
    return ""


def _rows(header: Header, column: Column) -> Iterator[Row]:
    said = column.definition
    for time_ns, value, text in column.rows():
        # a blanked value is NaN: only its time was released
        number = None if value is None or math.isnan(value) else value
        told = None if text is None else text.decode("utf-8", "backslashreplace")
        yield (
            header.device, header.destination, str(unpack(header.label)), said.name,
            said.statistic, time_ns, number, told, said.unit, said.category,
            said.purpose, said.source, header.epoch.hex(), header.sequence,
        )  # fmt: skip


def _write_json(rows: Iterator[Row]) -> None:
    for row in rows:
        line = msgspec.json.encode(dict(zip(FIELDS, row, strict=True)))
        sys.stdout.buffer.write(line + b"\n")


def _write_csv(rows: Iterator[Row]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(FIELDS)
    # printable: what a device wrote is data here, and nothing that a terminal obeys
    writer.writerows(
        [printable(one) if isinstance(one, str) else one for one in row] for row in rows
    )


def _write_table(rows: Iterator[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("time", "item", "value", "unit", "label", "to"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for row in rows:
        _, to, label, item, statistic, time_ns, value, text, unit, *_ = row
        table.add_row(
            str(np.datetime64(time_ns, "ns"))[:23],  # any 64-bit time has a date
            printable(f"{item} {statistic}".strip()),
            printable(text)
            if text is not None
            else "-"
            if value is None
            else f"{value:.9g}",
            printable(unit),
            label,
            printable(to),
        )
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty(), markup=False)
    console.print(table)


_WRITERS: Final = {"json": _write_json, "csv": _write_csv, "table": _write_table}
