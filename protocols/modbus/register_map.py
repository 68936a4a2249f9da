"""Which registers were read and written, and what their values look like; columns.

A register is a key: server << 32 | unit << 24 | table << 16 | address. All that is
known of it is sums, least and greatest values, so batches merge in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus.exchanges import Verdict
from protocols.modbus.functions import (
    READ_COILS,
    READ_INPUT,
    READ_WRITE,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_REGISTER,
    WRITE_REGISTERS,
)
from protocols.modbus.ragged import offsets
from protocols.modbus.values import BIT_TABLES, ORDERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from protocols.frames import I64, U16, Bool
    from protocols.modbus.exchanges import ExchangeBatch

REGISTERS_MAX: Final = 1 << 20  # of all devices; what comes beyond is counted
TEXT_REGISTERS_MIN: Final = 4  # fewer may be printable by chance
# Biased exponents of IEEE 754: about 1e-4 to 1e8, what a plant measures. A number of
# another type read as a float is mostly denormal, huge or no number.
_EXPONENT_LEAST, _EXPONENT_MOST = 114, 153
_EXPONENTS: Final = 255
_READS: Final = (*range(READ_COILS, READ_INPUT + 1), READ_WRITE)
_WRITES: Final = (WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, READ_WRITE)
_SPACE, _TILDE = 0x20, 0x7E


@dataclass(frozen=True, slots=True)
class Registers:
    """K registers, by key. ``float_*``: of the register with the one behind it."""

    key: I64  # [K] ascending
    reads: I64  # [K] how often it was read
    writes: I64  # [K] how often a write of it was confirmed
    low: I64  # [K] least value, read or written
    high: I64  # [K]
    printable: I64  # [K] how often its bytes were ASCII (or NUL) when read
    blank: I64  # [K] how often both bytes were NUL when read
    float_least: I64  # [K, 4] least exponent, read as a float, by ORDERS; 255 never
    float_most: I64  # [K, 4] greatest exponent; 0 never. Where both are 0: not read

    def __len__(self) -> int:
        """Return the number of registers."""
        return len(self.key)

    def take(self, rows: Bool | I64 | slice) -> Registers:
        """Return the registers that ``rows`` selects."""
        return Registers(*(getattr(self, name)[rows] for name in _NAMES))


_SUMS: Final = ("reads", "writes", "printable", "blank")
_NAMES: Final = (
    "key", "reads", "writes", "low", "high", "printable", "blank", "float_least",
    "float_most",
)  # fmt: skip


def no_registers() -> Registers:
    """Return the map of nothing."""
    none = np.empty(0, np.int64)
    exponents = np.empty((0, len(ORDERS)), np.int64)
    return Registers(none, none, none, none, none, none, none, exponents, exponents)


def registers_of(exchanges: ExchangeBatch) -> Registers:
    """Return what a batch tells: answered reads and confirmed writes without faults."""
    good = (exchanges.problems == 0) & (exchanges.exception == 0)
    good &= (exchanges.reply_ns > 0) & (exchanges.verdict != Verdict.REFUSED)
    read = _values(
        exchanges, good & np.isin(exchanges.function, _READS),
        exchanges.address, exchanges.read_offset, exchanges.read_values,
    )  # fmt: skip
    written = _values(
        exchanges, good & np.isin(exchanges.function, _WRITES),
        exchanges.write_address, exchanges.write_offset, exchanges.write_values,
    )  # fmt: skip
    return merged([_of_reads(*read), _of_writes(*written)])


def _values(
    exchanges: ExchangeBatch, rows: Bool, first: U16, offset: I64, values: U16
) -> tuple[I64, U16, Bool]:
    """Return (key, value, whether the one behind is the next register) of all values.

    Values come in the order of ``offset``: [V], row by row.
    """
    counts = np.where(rows, np.diff(offset), 0)
    table = exchanges.table.astype(np.int64)
    base = exchanges.server.astype(np.int64) << 32
    base |= exchanges.unit.astype(np.int64) << 24
    base |= (table << 16) + first
    begin = offsets(counts)
    total = int(begin[-1])
    place = np.arange(total) - np.repeat(begin[:-1], counts)
    has_next = place + 1 < np.repeat(counts, counts)
    taken = values[np.repeat(offset[:-1], counts) + place]
    return np.repeat(base, counts) + place, taken, has_next


def _of_reads(key: I64, value: U16, has_next: Bool) -> Registers:
    is_register = ~np.isin((key >> 16) & 0xFF, BIT_TABLES)
    behind = np.append(value[1:], np.uint16(0)) if len(value) else value
    paired = is_register & has_next & ((value != 0) | (behind != 0))
    exponent = np.stack([_exponent(value, behind, order) for order in ORDERS], axis=1)
    least = np.where(paired[:, None], exponent, _EXPONENTS)
    most = np.where(paired[:, None], exponent, 0)
    whole = value.astype(np.int64)
    ascii_ = _is_ascii(whole >> 8) & _is_ascii(whole & 0xFF) & is_register
    return _reduced(Registers(
        key, np.ones_like(whole), np.zeros_like(whole), whole, whole,
        ascii_.astype(np.int64), (value == 0).astype(np.int64), least, most,
    ))  # fmt: skip


def _of_writes(key: I64, value: U16, _: Bool) -> Registers:
    whole = value.astype(np.int64)
    zero = np.zeros_like(whole)
    never = np.zeros((len(key), len(ORDERS)), np.int64)
    return _reduced(
        Registers(key, zero, zero + 1, whole, whole, zero, zero, never + 255, never)
    )


def _is_ascii(byte: I64) -> Bool:
    return np.asarray(((byte >= _SPACE) & (byte <= _TILDE)) | (byte == 0))


def _exponent(first: U16, second: U16, order: str) -> I64:
    """Return the biased exponent of two registers read as one 32-bit float."""
    upper = second if order in {"CDAB", "DCBA"} else first
    upper = upper.byteswap() if order in {"BADC", "DCBA"} else upper
    return (upper.astype(np.int64) >> 7) & _EXPONENTS


def merged(parts: list[Registers]) -> Registers:
    """Return all that several maps tell, each register once."""
    columns: dict[str, NDArray[np.int64]] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _NAMES
    }
    return _reduced(Registers(**columns))


def _reduced(told: Registers) -> Registers:
    if not len(told):
        return told
    order = np.argsort(told.key, kind="stable")
    key = told.key[order]
    begin = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    columns = {
        name: np.add.reduceat(getattr(told, name)[order], begin, axis=0)
        for name in _SUMS
    }
    columns["key"] = key[begin]
    for name in ("low", "float_least"):
        columns[name] = np.minimum.reduceat(getattr(told, name)[order], begin)
    for name in ("high", "float_most"):
        columns[name] = np.maximum.reduceat(getattr(told, name)[order], begin)
    return Registers(**columns)


# --- What a register may be -----------------------------------------------------------


def runs(key: I64) -> list[tuple[int, int]]:
    """Return (begin, end) of each run of neighbouring registers of one table."""
    if not len(key):
        return []
    edges = np.flatnonzero((np.diff(key) != 1) | (np.diff(key >> 16) != 0)) + 1
    ends = [*edges.tolist(), len(key)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def hints(registers: Registers) -> dict[int, str]:
    """Return what a register may begin, by its row: ``f32 CDAB``, ``string 8``.

    A guess for a person: a float where every reading of the pair was a plausible one,
    a string where at least TEXT_REGISTERS_MIN neighbours only ever held ASCII.
    """
    found: dict[int, str] = {}
    order = _orders(registers)
    text = ((registers.printable == registers.reads) & (registers.reads > 0)).tolist()
    empty = (registers.blank == registers.reads).tolist()
    both = (registers.high[:-1] > 0) & (registers.high[1:] > 0)
    filled = [*both.tolist(), False]
    for begin, end in runs(registers.key):
        at = edge = begin
        while at < end:
            size = _text_length(text, empty, at, end)
            if size >= TEXT_REGISTERS_MIN:
                found |= _floats(order, filled, edge, at)
                found[at] = f"string {size}"
                edge = at + size
            at += max(size, 1) if size >= TEXT_REGISTERS_MIN else 1
        found |= _floats(order, filled, edge, end)
    return found


def _orders(registers: Registers) -> list[int]:
    """Return which of ORDERS makes floats of a register and the next, -1 none.

    Where several do, the one whose exponent moves least: a wrong order has a part of
    the mantissa there.
    """
    least, most = registers.float_least, registers.float_most
    fits = (least >= _EXPONENT_LEAST) & (most <= _EXPONENT_MOST) & (least <= most)
    moves = np.where(fits, most - least, _EXPONENTS + 1)
    best = np.where(fits.any(axis=1), moves.argmin(axis=1), -1)
    chosen: list[int] = best.tolist()
    return chosen


def _floats(
    order: list[int], filled: list[bool], begin: int, end: int
) -> dict[int, str]:
    """Choose pairs that do not overlap: as many as can be, then the fullest ones."""
    best = [0] * (end - begin + 2)
    takes = [False] * (end - begin)
    for at in range(end - 2, begin - 1, -1):
        place = at - begin
        taken = 100 + filled[at] + best[place + 2] if order[at] >= 0 else 0
        takes[place] = taken > 0 and taken >= best[place + 1]
        best[place] = max(best[place + 1], taken)
    found = {}
    at = begin
    while at < end:
        if takes[at - begin]:
            found[at] = f"f32 {ORDERS[order[at]]}"
        at += 2 if takes[at - begin] else 1
    return found


def _text_length(text: list[bool], empty: list[bool], at: int, end: int) -> int:
    """Return how many registers from ``at`` on may be one string, padding included."""
    size, padded = 0, False
    while at + size < end and text[at + size]:
        blank = empty[at + size]
        if padded and not blank:
            break  # behind the padding something else begins
        padded = padded or blank
        size += 1
    filled = size > 1 and not empty[at] and not empty[at + 1]
    return size if filled else 0
