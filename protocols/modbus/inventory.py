"""What a capture tells of a plant: who asks which device for what, how often.

``Inventory`` takes batches of exchanges, keeps a bounded amount, and tells what it left
out. Rows are grouped in columns; only different requests are looked at one by one.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import ENCAPSULATED
from protocols.modbus.register_map import (
    REGISTERS_MAX,
    merged,
    no_registers,
    registers_of,
    runs,
)

if TYPE_CHECKING:
    from protocols.frames import I64, U64, Index
    from protocols.modbus.exchanges import ExchangeBatch
    from protocols.modbus.register_map import Registers

ASKS_MAX: Final = 65_536  # different requests; what comes beyond is counted
UNITS_MAX: Final = 16_384  # a scan asks for 256 units of every address
GAPS_MAX: Final = 128  # intervals kept of one request
GAPS_MIN: Final = 3  # fewer show no period
TEXT_BYTES_MAX: Final = 253
_STEADY: Final = 0.3  # half of the intervals lie so near to the middle one: a poll
SERVER_ID_TEXT: Final = 256  # what function 17 told, beside object identifiers 0..255
OBJECT_NAMES: Final = {
    0: "vendor", 1: "product", 2: "revision", 3: "vendor url", 4: "product name",
    5: "model", 6: "application", SERVER_ID_TEXT: "server id",
}  # fmt: skip  # V1.1b3 clause 6.21


@dataclass(frozen=True, slots=True)
class AskKey:
    """One request as it is repeated. Addresses are 0-based."""

    client: int  # number in ``Peers``
    server: int
    unit: int
    function: int
    sub: int
    address: int
    count: int
    write_address: int
    write_count: int


_KEY: Final = tuple(one.name for one in fields(AskKey))


@dataclass(slots=True)
class Ask:
    """How often one request was seen, and what became of it."""

    key: AskKey
    table: int
    is_write: bool
    requests: int = 0
    answered: int = 0  # well: no exception, nothing that does not fit
    exceptions: int = 0
    first_ns: int = 0
    last_ns: int = 0
    gaps_ns: list[int] = field(default_factory=list)

    @property
    def period_ns(self) -> int:
        """Return the interval of a poll; 0 where it is none."""
        if len(self.gaps_ns) < GAPS_MIN:
            return 0
        middle = statistics.median(self.gaps_ns)
        off = statistics.median(abs(gap - middle) for gap in self.gaps_ns)
        return round(middle) if off <= _STEADY * middle else 0


@dataclass(slots=True)
class UnitSeen:
    """One unit of one device: what it was asked and how it answered."""

    server: int
    unit: int
    requests: int = 0
    answered: int = 0
    malformed: int = 0  # requests
    exceptions: Counter[int] = field(default_factory=Counter)  # by code
    problems: Counter[str] = field(default_factory=Counter)  # by name of Problem
    functions: Counter[int] = field(default_factory=Counter)  # of all requests
    texts: dict[int, bytes] = field(default_factory=dict)  # by object identifier


class Block(NamedTuple):
    """Neighbouring registers of one table that were read or written. Both included."""

    server: int
    unit: int
    table: int
    first: int
    last: int
    reads: int  # of the register that was read most
    writes: int
    low: int  # least value of any
    high: int


class Inventory:
    """Collects batches; ask for what it knows at any time."""

    def __init__(
        self, asks_max: int = ASKS_MAX, registers_max: int = REGISTERS_MAX
    ) -> None:
        """Begin with nothing."""
        self.asks: dict[AskKey, Ask] = {}
        self.units: dict[tuple[int, int], UnitSeen] = {}
        self.registers: Registers = no_registers()
        self.rows = 0
        self.first_ns = 0
        self.last_ns = 0
        self.asks_left_out = 0  # requests whose kind came beyond the bound
        self.units_left_out = 0  # exchanges with units beyond the bound
        self.registers_left_out = 0
        self._asks_max = asks_max
        self._registers_max = registers_max

    def add(self, exchanges: ExchangeBatch) -> None:
        """Take one batch, in order of time as far as the source has one."""
        if not len(exchanges):
            return
        first, last = int(exchanges.time_ns.min()), int(exchanges.time_ns.max())
        self.first_ns = min(self.first_ns, first) if self.rows else first
        self.last_ns = max(self.last_ns, last)
        self.rows += len(exchanges)
        self._units(exchanges)
        self._texts(exchanges)
        has_request = (exchanges.problems & int(Problem.UNSOLICITED)) == 0
        self._asks(exchanges, np.flatnonzero(has_request & ~exchanges.malformed))
        whole = merged([self.registers, registers_of(exchanges)])
        self.registers_left_out += max(len(whole) - self._registers_max, 0)
        self.registers = whole.take(slice(0, self._registers_max))

    def blocks(self) -> list[Block]:
        """Return the neighbouring registers of every table that came well."""
        told = self.registers
        out = []
        for begin, end in runs(told.key):
            key = int(told.key[begin])
            part = slice(begin, end)
            out.append(
                Block(
                    key >> 32, key >> 24 & 0xFF, key >> 16 & 0xFF, key & 0xFFFF,
                    int(told.key[end - 1]) & 0xFFFF,
                    int(told.reads[part].max()), int(told.writes[part].max()),
                    int(told.low[part].min()), int(told.high[part].max()),
                )
            )  # fmt: skip
        return out

    def _units(self, exchanges: ExchangeBatch) -> None:
        key = exchanges.server.astype(np.int64) << 8 | exchanges.unit
        for place in np.unique(key).tolist():
            rows = np.flatnonzero(key == place)
            seen = self._unit(place >> 8, place & 0xFF)
            if seen is None:
                self.units_left_out += len(rows)
                continue
            problems = exchanges.problems[rows]
            came = (problems & int(Problem.UNSOLICITED)) == 0
            bad = exchanges.malformed[rows]
            codes = exchanges.exception[rows]
            seen.requests += int(came.sum())
            seen.malformed += int(bad.sum())
            good = (problems == 0) & (codes == 0) & (exchanges.reply_ns[rows] > 0)
            seen.answered += int(good.sum())
            seen.exceptions += _counted(codes[codes > 0])
            seen.functions += _counted(exchanges.function[rows][came])
            for problem in Problem:
                count = int(((problems & int(problem)) != 0).sum())
                if count:
                    seen.problems[str(problem.name).lower()] += count

    def _unit(self, server: int, unit: int) -> UnitSeen | None:
        seen = self.units.get((server, unit))
        if seen is None and len(self.units) < UNITS_MAX:
            seen = self.units[server, unit] = UnitSeen(server, unit)
        return seen

    def _texts(self, exchanges: ExchangeBatch) -> None:
        """Remember what devices say of themselves: rare, so one by one."""
        for row, number, text in exchanges.texts:
            place = (int(exchanges.server[row]), int(exchanges.unit[row]))
            seen = self.units.get(place)
            if seen is not None and text:
                told = int(exchanges.function[row]) == ENCAPSULATED
                seen.texts[number if told else SERVER_ID_TEXT] = text[:TEXT_BYTES_MAX]

    def _asks(self, exchanges: ExchangeBatch, rows: Index) -> None:
        if not len(rows):
            return
        who, what = _keys(exchanges)
        who, what = who[rows], what[rows]
        order = np.lexsort((exchanges.time_ns[rows], what, who))
        who, what, rows = who[order], what[order], rows[order]
        changed = (who[1:] != who[:-1]) | (what[1:] != what[:-1])
        begin = np.flatnonzero(np.append(True, changed))
        failed = exchanges.exception[rows] > 0
        good = (exchanges.problems[rows] == 0) & ~failed
        good &= exchanges.reply_ns[rows] > 0
        failures = np.add.reduceat(failed.astype(np.int64), begin).tolist()
        answers = np.add.reduceat(good.astype(np.int64), begin).tolist()
        time_ns = exchanges.time_ns[rows]
        ends = [*begin[1:].tolist(), len(rows)]
        for at, (start, end) in enumerate(zip(begin.tolist(), ends, strict=True)):
            ask = self._ask(exchanges, int(rows[start]))
            if ask is None:
                self.asks_left_out += end - start
                continue
            ask.answered += answers[at]
            ask.exceptions += failures[at]
            _seen(ask, time_ns[start:end])

    def _ask(self, exchanges: ExchangeBatch, row: int) -> Ask | None:
        key = AskKey(*(int(getattr(exchanges, name)[row]) for name in _KEY))
        ask = self.asks.get(key)
        if ask is None and len(self.asks) < self._asks_max:
            table, is_write = int(exchanges.table[row]), bool(exchanges.is_write[row])
            ask = self.asks[key] = Ask(key, table, is_write)
        return ask


def _keys(exchanges: ExchangeBatch) -> tuple[U64, U64]:
    """Return a row's request as two numbers, equal where the requests are."""

    def packed(*columns: tuple[str, int]) -> U64:
        out = np.zeros(len(exchanges), np.uint64)
        for name, bits in columns:
            out = out << np.uint64(bits) | getattr(exchanges, name).astype(np.uint64)
        return out

    who = packed(("client", 16), ("server", 16), ("unit", 8), ("function", 8),
                 ("sub", 16))  # fmt: skip
    what = packed(("address", 16), ("count", 16), ("write_address", 16),
                  ("write_count", 16))  # fmt: skip
    return who, what


def _seen(ask: Ask, time_ns: I64) -> None:
    """Note when one request was made, in order of time."""
    room = GAPS_MAX - len(ask.gaps_ns)
    if room > 0:
        before = time_ns[:1] if not ask.requests else np.array([ask.last_ns])
        gaps = np.diff(np.concatenate([before, time_ns]))
        gaps = gaps[0 if ask.requests else 1 :]
        ask.gaps_ns += gaps[gaps >= 0][:room].tolist()
    first, last = int(time_ns[0]), int(time_ns[-1])
    ask.first_ns = min(ask.first_ns, first) if ask.requests else first
    ask.last_ns = max(ask.last_ns, last)
    ask.requests += len(time_ns)


def _counted(column: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Counter[int]:
    numbers, counts = np.unique(column, return_counts=True)
    return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
