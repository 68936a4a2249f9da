"""Registers read -> samples of items, in columns.

Points are grouped by (type, order, length); each group is decoded at once for all
transactions of a batch. The only loops are over groups, and over texts (low rate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from protocols.modbus.values import (
    TYPES,
    Point,
    bits,
    check_point,
    numbers,
    patterns,
    texts,
)
from protocols.samples import (
    Kind,
    SampleBatch,
    TextBatch,
    empty_samples,
    empty_texts,
    raw_of_floats,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocols.frames import F64, I32, I64, U16, U32, U64, Bool
    from protocols.samples import TransactionBatch

Signature: TypeAlias = tuple[str, str, int]  # type, order, registers

NO_FACTOR: Final = -1
UNKNOWN: Final = -(2**15)  # sunssf "not implemented" (0x8000), also: not read yet
FACTOR_MAX: Final = 10  # sunssf ranges over -10..10 (SunSpec model specification)
_POWERS: Final = 10.0 ** np.arange(FACTOR_MAX + 1)


@dataclass(frozen=True, slots=True)
class ModbusPlan:
    """P rows sorted by place: the points, and one row per scale factor register."""

    points: tuple[Point, ...]  # as given
    groups: tuple[Signature, ...]
    key: I64  # [P] place of the first register: see _keys
    length: I64  # [P] registers, or bits in tables 0 and 1
    group: I32  # [P] index into groups
    item: U32  # [P]
    bit: I64  # [P] 0 where the type has none
    scale: F64  # [P]
    offset: F64  # [P]
    invalid: U64  # [P] pattern that means "not implemented"
    has_invalid: Bool  # [P]
    factor: I64  # [P] which scale factor scales the row, NO_FACTOR none
    provides: I64  # [P] which scale factor the row is, NO_FACTOR: it is a point
    # [F] last value of each scale factor, for points whose factor came with another
    # read. Written by ``decode`` only, which therefore takes batches in order.
    remembered: I64


@dataclass(frozen=True, slots=True)
class DecodedRegisters:
    """What a batch of transactions held."""

    samples: SampleBatch  # sorted by transaction, then address
    texts: TextBatch
    unmapped: int  # registers and bits read that no point covers
    exceptions: int  # transactions answered with an exception: nothing decoded
    invalid: int  # values not implemented, NaN, infinite, no BCD, without scale factor

    @property
    def errors(self) -> int:
        """Return exceptions and invalid values together."""
        return self.exceptions + self.invalid


def _keys(link: I64, unit: I64, table: I64, address: I64) -> I64:
    """Return one sortable integer per place; ``address`` may be 65536 (an end)."""
    return ((link << 11) | (unit << 3) | table) << 17 | address


def compile_points(points: Iterable[Point]) -> ModbusPlan:
    """Return the tables that ``decode`` reads; ValueError where a point is wrong."""
    given = tuple(points)
    for point in given:
        check_point(point)
    places = sorted(
        {
            (p.link, p.unit, p.table, p.scale_factor)
            for p in given
            if p.scale_factor is not None
        }
    )
    number = {place: index for index, place in enumerate(places)}
    rows = [(p, NO_FACTOR) for p in given]
    for (link, unit, table, address), index in number.items():
        rows.append((Point(0, link, unit, table, address, "sunssf"), index))
    rows.sort(key=lambda row: (_place(row[0]), row[0].item))
    signatures = [(p.type, p.order, p.registers) for p, _ in rows]
    groups = tuple(sorted(set(signatures)))
    columns = np.array([_place(p) for p, _ in rows], np.int64).reshape(-1, 4)
    return ModbusPlan(
        points=given,
        groups=groups,
        key=_keys(*columns.T),
        length=np.array([p.registers for p, _ in rows], np.int64),
        group=np.array([groups.index(s) for s in signatures], np.int32),
        item=np.array([p.item for p, _ in rows], np.uint32),
        bit=np.array([p.bit or 0 for p, _ in rows], np.int64),
        scale=np.array([p.scale for p, _ in rows], np.float64),
        offset=np.array([p.offset for p, _ in rows], np.float64),
        invalid=np.array([p.invalid or 0 for p, _ in rows], np.uint64),
        has_invalid=np.array([p.invalid is not None for p, _ in rows], np.bool_),
        factor=np.array(
            [
                NO_FACTOR
                if p.scale_factor is None
                else number[p.link, p.unit, p.table, p.scale_factor]
                for p, _ in rows
            ],
            np.int64,
        ),
        provides=np.array([index for _, index in rows], np.int64),
        remembered=np.full(len(places), UNKNOWN, np.int64),
    )


def _place(point: Point) -> tuple[int, int, int, int]:
    return point.link, point.unit, point.table, point.address


@dataclass(frozen=True, slots=True)
class _Pairs:
    """M (transaction, plan row) pairs: every point that a transaction holds whole."""

    transaction: I64  # [M]
    row: I64  # [M]
    start: I64  # [M] index of the point's first register in the batch's values


def _pairs(plan: ModbusPlan, batch: TransactionBatch) -> _Pairs:
    """Find the plan rows inside each transaction that carries a read's values."""
    read = np.flatnonzero((batch.exception == 0) & ~batch.is_write)
    address = batch.address[read].astype(np.int64)
    first = _keys(
        batch.link[read].astype(np.int64),
        batch.unit[read].astype(np.int64),
        batch.table[read].astype(np.int64),
        address,
    )
    # What came back, not what was asked for: a short reply must not be read across.
    end = first + np.diff(batch.offset)[read]
    low = np.searchsorted(plan.key, first)
    count = np.searchsorted(plan.key, end) - low
    owner = np.repeat(np.arange(len(read)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    row = low[owner] + within
    whole = plan.key[row] + plan.length[row] <= end[owner]
    owner, row = owner[whole], row[whole]
    start = batch.offset[read][owner] + plan.key[row] - first[owner]
    return _Pairs(read[owner], row, start)


def decode(plan: ModbusPlan, batch: TransactionBatch) -> DecodedRegisters:
    """Decode every point that the batch's transactions hold whole.

    Transactions are in order of time, and batches come in order: a scale factor holds
    until the next one is read. Exceptions decode nothing and are counted; written
    values are no readings and are left alone. A sample's kind is its point's ``kind``.
    """
    exceptions = int(np.count_nonzero(batch.exception))
    pairs = _pairs(plan, batch)
    carried = np.repeat((batch.exception == 0) & ~batch.is_write, np.diff(batch.offset))
    if not len(pairs.row):
        unmapped = int(np.count_nonzero(carried))
        return DecodedRegisters(empty_samples(), empty_texts(), unmapped, exceptions, 0)
    raw = np.zeros(len(pairs.row), np.int64)
    number = np.zeros(len(pairs.row), np.float64)
    valid = np.zeros(len(pairs.row), np.bool_)
    text = np.zeros(len(pairs.row), np.bool_)
    strings: dict[int, bytes] = {}
    group = plan.group[pairs.row]
    for index in np.unique(group).tolist():
        name, order, length = plan.groups[index]
        mine = np.flatnonzero(group == index)
        where = pairs.start[mine, None] + np.arange(length)
        carried[where] = False
        registers = batch.values[where]
        if TYPES[name].kind == Kind.TEXT:
            text[mine] = True
            found = texts(name, registers, order)
            strings.update(zip(mine.tolist(), found, strict=True))
        else:
            raw[mine], number[mine], valid[mine] = _column(
                plan, pairs.row[mine], name, order, registers
            )
    is_point = plan.provides[pairs.row] == NO_FACTOR
    _scale(plan, pairs, raw, number, valid)
    kept = np.flatnonzero(valid & is_point)
    time_ns = batch.time_ns[pairs.transaction]
    item = plan.item[pairs.row]
    full = [i for i, string in strings.items() if string]
    full.sort()
    told = np.array(full, np.intp)
    wrong = int(np.count_nonzero(~valid & is_point & ~text))
    return DecodedRegisters(
        SampleBatch(time_ns[kept], item[kept], raw[kept], number[kept]),
        TextBatch(time_ns[told], item[told], tuple(strings[i] for i in full)),
        int(np.count_nonzero(carried)),
        exceptions,
        wrong + len(strings) - len(full),
    )


def _column(
    plan: ModbusPlan, rows: I64, name: str, order: str, registers: U16
) -> tuple[I64, F64, Bool]:
    """Return (raw, number before scaling, valid) of one group's registers [N, L]."""
    shape = TYPES[name].shape
    if shape == "coil":
        state = (registers[:, 0] != 0).astype(np.int64)
        return state, state.astype(np.float64), np.ones(len(rows), np.bool_)
    if shape == "bit":
        raw = bits(registers, order, plan.bit[rows])
        number, valid = raw.astype(np.float64), np.ones(len(rows), np.bool_)
    else:
        raw, number, valid = numbers(name, registers, order)
    missing = plan.has_invalid[rows] & (
        patterns(registers, order) == plan.invalid[rows]
    )
    return raw, number, valid & ~missing


def _scale(plan: ModbusPlan, pairs: _Pairs, raw: I64, number: F64, valid: Bool) -> None:
    """Turn numbers into physical values, in place; raw too where the kind is FLOAT."""
    factors = plan.factor[pairs.row]
    scaled = np.flatnonzero(factors != NO_FACTOR)
    if len(plan.remembered):
        exponent = _exponents(plan, pairs, raw, scaled)
        good = np.abs(exponent) <= FACTOR_MAX
        power = _POWERS[np.where(good, np.abs(exponent), 0)]
        column = number[scaled]
        # Dividing by a power of ten rounds once, multiplying by 0.1 twice.
        number[scaled] = np.where(exponent < 0, column / power, column * power)
        valid[scaled] &= good
    with np.errstate(over="ignore", invalid="ignore"):
        number *= plan.scale[pairs.row]
        number += plan.offset[pairs.row]
    float_group = np.array([TYPES[g[0]].kind == Kind.FLOAT for g in plan.groups])
    floats = float_group[plan.group[pairs.row]] | (factors != NO_FACTOR)
    raw[floats] = raw_of_floats(number[floats])
    valid &= np.isfinite(number)


def _exponents(plan: ModbusPlan, pairs: _Pairs, raw: I64, scaled: I64) -> I64:
    """Return the scale factor of each pair in ``scaled``; UNKNOWN where none is known.

    The last one read up to and including the same transaction; else the one remembered
    from earlier batches; else the next one of this batch.
    """
    provides = plan.provides[pairs.row]
    read = np.flatnonzero(provides != NO_FACTOR)
    span = int(pairs.transaction[-1]) + 1
    wanted = plan.factor[pairs.row[scaled]]
    exponent = plan.remembered[wanted]
    if len(read):
        moment = provides[read] * span + pairs.transaction[read]
        order = np.argsort(moment, kind="stable")
        moment, value, which = moment[order], raw[read][order], provides[read][order]
        asked = wanted * span + pairs.transaction[scaled]
        after = np.searchsorted(moment, asked, side="right")
        before, after = np.maximum(after - 1, 0), np.minimum(after, len(read) - 1)
        has_before = (which[before] == wanted) & (moment[before] <= asked)
        has_after = (which[after] == wanted) & (exponent == UNKNOWN)
        exponent = np.where(has_after, value[after], exponent)
        exponent = np.where(has_before, value[before], exponent)
        plan.remembered[which] = value  # sorted by time: the last one stays
    return exponent
