"""What was read, register by register: the last answer of a second to every poll.

The values stay in the detectors that compare them; no finding holds one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.modbus_polls import by_second, poll_key
from protocols.modbus.exchanges import Verdict
from protocols.modbus.functions import READ_HOLDING, READ_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.frames import I64, U64, Bool, Index
    from protocols.modbus.exchanges import ExchangeBatch

REGISTERS_MAX: Final = 8192  # watched; those beyond are ignored, and counted
# client 16 | server 16 | unit 8 | table 3 | address 16; without the client: a place.
PLACE_BITS: Final = np.uint64(43)
BLOCK_S: Final = 10
REGISTER_MAX: Final = 0xFFFF
PLACE: Final = np.uint64((1 << 43) - 1)


class Reads:
    """One second of reads: unique registers as somebody saw them, in no order."""

    __slots__ = ("key", "links", "second", "value")

    def __init__(
        self, second: int, key: U64, value: I64, links: dict[int, int]
    ) -> None:
        """Take [N] keys and [N] values (0 .. 65535)."""
        self.second = second
        self.key = key
        self.value = value
        self.links = links  # server -> link


def reads(exchanges: ExchangeBatch) -> Iterator[Reads]:
    """Yield what was answered, second by second."""
    function = exchanges.function
    good: Bool = (function == READ_HOLDING) | (function == READ_INPUT)
    good &= (exchanges.reply_ns > 0) & (exchanges.exception == 0)
    good &= (exchanges.problems == 0) & (exchanges.verdict != int(Verdict.REFUSED))
    for second, rows in by_second(exchanges, np.flatnonzero(good)):
        _, backwards = np.unique(poll_key(exchanges, rows)[::-1], return_index=True)
        last: Index = rows[len(rows) - 1 - backwards]
        key, value = _registers(exchanges, np.sort(last))
        links = dict(
            zip(
                exchanges.server[last].tolist(), exchanges.link[last].tolist(),
                strict=True,
            )
        )  # fmt: skip
        yield Reads(second, key, value, links)


def _registers(exchanges: ExchangeBatch, rows: Index) -> tuple[U64, I64]:
    """Return every register that these rows read, once: the later answer holds."""
    begin = exchanges.read_offset[rows]
    size = exchanges.read_offset[rows + 1] - begin
    inside = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    value = exchanges.read_values[np.repeat(begin, size) + inside].astype(np.int64)
    head = exchanges.client[rows].astype(np.uint64) << PLACE_BITS
    head |= exchanges.server[rows].astype(np.uint64) << np.uint64(27)
    head |= exchanges.unit[rows].astype(np.uint64) << np.uint64(19)
    head |= exchanges.table[rows].astype(np.uint64) << np.uint64(16)
    head |= exchanges.address[rows].astype(np.uint64)
    key = np.repeat(head, size) + inside.astype(np.uint64)
    unique, backwards = np.unique(key[::-1], return_index=True)
    return unique, value[len(key) - 1 - backwards]


class Watch:
    """Numbers registers 0 .. REGISTERS_MAX - 1, first come, first served."""

    def __init__(self) -> None:
        """Begin empty."""
        self.ignored = 0
        self._key: U64 = np.empty(0, np.uint64)  # sorted
        self._slot: Index = np.empty(0, np.intp)

    def find(self, key: U64) -> tuple[Index, Bool, Bool]:
        """Return slots of [N] unique keys, which are watched, and which of them new."""
        at = np.searchsorted(self._key, key)
        inside = np.minimum(at, max(len(self._key) - 1, 0))
        known = self._key[inside] == key if len(self._key) else np.zeros(len(key), bool)
        fresh: Index = np.flatnonzero(~known)
        room = REGISTERS_MAX - len(self._key)
        self.ignored += max(len(fresh) - room, 0)
        fresh = fresh[:room]
        if len(fresh):
            new = np.arange(len(self._key), len(self._key) + len(fresh))
            where = np.searchsorted(self._key, key[fresh])
            self._key = np.insert(self._key, where, key[fresh])
            self._slot = np.insert(self._slot, where, new)
            at = np.searchsorted(self._key, key)
            inside = np.minimum(at, len(self._key) - 1)
        watched = known.copy()
        watched[fresh] = True
        is_new = np.zeros(len(key), np.bool_)
        is_new[fresh] = True
        slot = self._slot[inside] if len(self._key) else np.zeros(len(key), np.intp)
        return slot[watched], watched, is_new[watched]


class Spread:
    """How far a reader's own values of a register lay apart, in 10 to 20 seconds."""

    def __init__(self) -> None:
        """Begin empty."""
        self._watch = Watch()
        # Of the block before and of this one: lowest, highest, how many.
        self._low: I64 = np.zeros((2, REGISTERS_MAX), np.int64)
        self._high: I64 = np.zeros((2, REGISTERS_MAX), np.int64)
        self._count: I64 = np.zeros((2, REGISTERS_MAX), np.int64)
        self._block: I64 = np.zeros(REGISTERS_MAX, np.int64)

    def look(self, seen: Reads) -> tuple[I64, I64]:
        """Take a second of reads; return [N] spreads and [N] numbers of reads.

        What is not watched has a spread of all values, and no reads.
        """
        slot, watched, is_new = self._watch.find(seen.key)
        value, block = seen.value[watched], seen.second // BLOCK_S
        passed = np.where(is_new, 2, block - self._block[slot])
        self._block[slot] = block
        low, high, count = self._low, self._high, self._count
        for rows, source in ((slot[passed == 1], 1), (slot[passed > 1], None)):
            for column, empty in ((low, REGISTER_MAX), (high, 0), (count, 0)):
                column[0, rows] = empty if source is None else column[1, rows]
                column[1, rows] = empty
        low[1, slot] = np.minimum(low[1, slot], value)
        high[1, slot] = np.maximum(high[1, slot], value)
        count[1, slot] += 1
        spread = np.full(len(seen.key), REGISTER_MAX, np.int64)
        spread[watched] = high[:, slot].max(axis=0) - low[:, slot].min(axis=0)
        number = np.zeros(len(seen.key), np.int64)
        number[watched] = count[:, slot].sum(axis=0)
        return spread, number
