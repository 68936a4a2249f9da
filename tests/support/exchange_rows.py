"""Exchanges written row by row, for tests of what looks at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from agent.inspection.findings import View
from protocols.frames import empty_frames
from protocols.modbus.exchanges import NO_SUB, ExchangeBatch
from protocols.modbus.functions import FUNCTIONS, NO_TABLE, is_write

S = 10**9
NAMES = ["others", "10.0.0.7", "10.0.0.20", "10.0.0.66"]
HMI, PLC, STRANGER = 1, 2, 3


@dataclass
class Row:
    """One exchange; the HMI reads a register of unit 1 where nothing else is said."""

    time_ns: int
    client: int = HMI
    server: int = PLC
    link: int = 0
    unit: int = 1
    function: int = 3
    sub: int = NO_SUB
    address: int = 0
    count: int = 1
    exception: int = 0
    problems: int = 0
    verdict: int = 0
    rule: int = -1
    reason: int = 0
    alert: int = -1
    answered: bool = True
    malformed: bool = False
    values: list[int] = field(default_factory=list)


def exchanges(rows: list[Row]) -> ExchangeBatch:
    """Return the rows as columns, in the order given."""

    def column(name: str, kind: type[np.generic]) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], kind)

    write = [is_write(row.function, row.sub) for row in rows]
    table = [
        FUNCTIONS[row.function].table if row.function in FUNCTIONS else NO_TABLE
        for row in rows
    ]
    read = [[] if w else row.values for row, w in zip(rows, write, strict=True)]
    written = [row.values if w else [] for row, w in zip(rows, write, strict=True)]
    wrote = np.array(write, np.bool_) & (np.array(table) != NO_TABLE)
    return ExchangeBatch(
        time_ns=column("time_ns", np.int64),
        reply_ns=np.array(
            [row.time_ns + 10**6 if row.answered else 0 for row in rows], np.int64
        ),
        client=column("client", np.uint16),
        server=column("server", np.uint16),
        link=column("link", np.uint8),
        unit=column("unit", np.uint8),
        tid=np.zeros(len(rows), np.uint16),
        function=column("function", np.uint8),
        sub=column("sub", np.uint16),
        table=np.array(table, np.uint8),
        address=column("address", np.uint16),
        count=column("count", np.uint16),
        write_address=np.where(wrote, column("address", np.uint16), 0),
        write_count=np.where(wrote, column("count", np.uint16), 0),
        is_write=np.array(write, np.bool_),
        malformed=column("malformed", np.bool_),
        exception=column("exception", np.uint8),
        problems=column("problems", np.uint32),
        verdict=column("verdict", np.uint8),
        rule=column("rule", np.int16),
        reason=column("reason", np.uint8),
        alert=column("alert", np.int16),
        read_offset=np.cumsum([0, *map(len, read)]).astype(np.int64),
        read_values=np.array([*chain(*read)], np.uint16),
        write_offset=np.cumsum([0, *map(len, written)]).astype(np.int64),
        write_values=np.array([*chain(*written)], np.uint16),
    )


def seen(rows: list[Row]) -> View:
    """Return what a detector gets when these rows arrive."""
    return View(empty_frames(), np.empty(0, np.int32), (), (), exchanges(rows), NAMES)
