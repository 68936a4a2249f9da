"""Decode CAN frames to samples: shift, mask, scale, all in columns.

Agrees bit for bit with cantools, frame by frame (tests/protocols/can): also where
integers leave the 53 bits that float64 holds exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protocols.can.fields import extract, fits
from protocols.can.multiplex import expand, select
from protocols.can.plan import LUT_ROWS, NOT_DATA, UNKNOWN
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CAN_SFF_MASK,
)
from protocols.samples import SampleBatch

if TYPE_CHECKING:
    from protocols.can.plan import DecodePlan
    from protocols.frames import F64, I32, I64, Bool, FrameBatch, Index


@dataclass(frozen=True, slots=True)
class Decoded:
    """The samples of a batch, and what could not become one."""

    samples: SampleBatch  # by frame, then in the plan's order
    message: I32  # [N] row of plan.messages; -1 unknown identifier, -2 not data
    unbound: int  # signals seen that no binding names; an unknown frame counts 1
    short: int  # bound signals that lie behind their frame's end: not decoded
    multiplex_unknown: int  # multiplexers that held a value in no branch


def message_rows(plan: DecodePlan, frames: FrameBatch) -> I32:
    """Return the message row of each frame: int32 [N], -1 unknown, -2 not data.

    11-bit identifiers go through a table of 2,048 per bus, 29-bit ones through a
    binary search over (bus, identifier).
    """
    ident, bus = frames.ident, frames.bus
    if not len(ident):
        return np.empty(0, np.int32)
    bus_max = int(bus.max())
    if bus_max < plan.buses and int(ident.max()) <= CAN_SFF_MASK:
        if not bus_max:
            return plan.lut.take(ident)
        return plan.lut.take(bus * np.intp(LUT_ROWS) + ident)
    row = np.full(len(ident), UNKNOWN, np.int32)
    in_range = bus < plan.buses
    standard = np.flatnonzero(in_range & (ident <= CAN_SFF_MASK))
    row[standard] = plan.lut[bus[standard] * np.intp(LUT_ROWS) + ident[standard]]
    if len(plan.extended_key):
        mark = np.uint32(CAN_EFF_FLAG | CAN_RTR_FLAG | CAN_ERR_FLAG)
        extended = np.flatnonzero(in_range & (ident & mark == CAN_EFF_FLAG))
        key = bus[extended].astype(np.int64) << 32
        key |= ident[extended] & np.uint32(CAN_EFF_MASK)
        at = plan.extended_key.searchsorted(key)
        np.minimum(at, len(plan.extended_key) - 1, out=at)
        hit = plan.extended_key[at] == key
        row[extended] = np.where(hit, plan.extended_row[at], UNKNOWN)
    row[(ident & np.uint32(CAN_RTR_FLAG | CAN_ERR_FLAG)) != 0] = NOT_DATA
    return row


def decode(plan: DecodePlan, frames: FrameBatch) -> Decoded:
    """Return the samples of every bound signal in ``frames``, and the counts.

    FrameBatch [N, 8 or 64] in, SampleBatch [K] out, in the order of the frames. Never
    raises on what frames contain.
    """
    message = message_rows(plan, frames)
    row = message.astype(np.intp)
    unbound = int(plan.unbound.take(row).sum())
    frame, field = expand(plan.end, plan.count, row)
    size = frames.size
    if plan.fields.any_long:  # only then could a size above the width be believed
        size = np.minimum(size, np.uint8(frames.width))
    short = multiplex_unknown = 0
    keep: Bool | None = None
    if plan.multiplex is not None:
        chosen = select(plan.multiplex, frames.payload, size, row, (frame, field))
        multiplex_unknown = chosen.unknown
        inside = fits(plan.fields, size, frame, field)
        short = int((chosen.short | chosen.present & ~inside).sum())
        keep = chosen.present & inside
    elif (size < plan.need.take(row)).any():
        keep = fits(plan.fields, size, frame, field)
        short = len(keep) - int(keep.sum())
    if keep is not None and not keep.all():
        if plan.has_parts:
            keep = _whole_items(plan, field, keep)
        frame, field = frame[keep], field[keep]
    samples = _samples(plan, frames, frame, field)
    return Decoded(samples, message, unbound, short, multiplex_unknown)


def _whole_items(plan: DecodePlan, field: Index, keep: Bool) -> Bool:
    """Drop every part of an item that lacks one: half a sum is no value."""
    starts = np.flatnonzero(plan.is_first[field])
    whole = np.logical_and.reduceat(keep, starts)
    return whole.repeat(np.diff(starts, append=len(field)))


def _samples(
    plan: DecodePlan, frames: FrameBatch, frame: Index, field: Index
) -> SampleBatch:
    raw = extract(plan.fields, frames.payload, frame, field)
    value = raw.astype(np.float64)
    if plan.has_uint64:
        rows = np.flatnonzero(plan.is_uint64[field])
        value[rows] = raw[rows].view(np.uint64)
    # A database may scale a value out of float64's range: infinity, as in cantools.
    with np.errstate(over="ignore", invalid="ignore"):
        if plan.has_ieee:
            _read_floats(plan, field, raw, value)
        value *= plan.scale.take(field)
        value += plan.offset.take(field)
        if plan.wide:
            _scale_exactly(plan, field, raw, value)
        if plan.has_parts:
            value *= plan.factor.take(field)
            starts = np.flatnonzero(plan.is_first.take(field))
            if len(starts):
                value = np.add.reduceat(value, starts)
            frame, field, raw = frame[starts], field[starts], raw[starts]
    if plan.has_float:
        rows = np.flatnonzero(plan.is_float.take(field))
        raw[rows] = value[rows].view(np.int64)
    return SampleBatch(frames.time_ns.take(frame), plan.item.take(field), raw, value)


def _read_floats(plan: DecodePlan, field: Index, raw: I64, value: F64) -> None:
    """Reinterpret the bits of IEEE 754 signals; the integers' values stay."""
    bits = plan.float_bits.take(field)
    for width, integer, real in (
        (16, np.uint16, np.float16),
        (32, np.uint32, np.float32),
        (64, np.uint64, np.float64),
    ):
        rows = np.flatnonzero(bits == width)
        if len(rows):
            value[rows] = raw[rows].astype(integer).view(real)


def _scale_exactly(plan: DecodePlan, field: Index, raw: I64, value: F64) -> None:
    """Scale wide integers as Python integers, rounded once, as cantools does.

    Only fields whose products leave 53 bits: rare, so object arithmetic may serve.
    """
    for number, (scale, offset) in plan.wide.items():
        rows = np.flatnonzero(field == number)
        whole = raw[rows]
        exact = whole.view(np.uint64) if plan.is_uint64[number] else whole
        value[rows] = (exact.astype(object) * scale + offset).astype(np.float64)
