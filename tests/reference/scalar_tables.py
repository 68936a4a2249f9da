"""Small compiled tables, and streams of both shapes, for tests of the data path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from policies.tables import (
    NO_RULE,
    Action,
    CompiledDestination,
    CompiledPolicy,
    CompiledRule,
    ItemTable,
    Role,
)
from protocols.samples import Kind, SampleBatch, TextBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.records import Released
    from policies.tables import Condition, Transform
    from tests.reference.scalar_world import Datum

LAT, LON, SPEED, ALT, TEMP, FLAG, VIN, SERIAL, FIX, LAT2, LON2, ODD = range(12)
_ROWS = [  # name, category, kind, role, group
    ("V.Latitude", "location.precise", Kind.FLOAT, Role.LATITUDE, 0),
    ("V.Longitude", "location.precise", Kind.FLOAT, Role.LONGITUDE, 0),
    ("V.Speed", "driving", Kind.FLOAT, Role.SPEED, 0),
    ("V.Altitude", "location.precise", Kind.FLOAT, Role.ALTITUDE, 0),
    ("P.Temperature", "process", Kind.INT, Role.NONE, -1),
    ("V.Crash", "safety", Kind.INT, Role.NONE, -1),
    ("V.VIN", "identity.vin", Kind.TEXT, Role.NONE, -1),
    ("V.Serial", "identity.serial", Kind.UINT64, Role.NONE, -1),
    ("V.Fix", "location.quality", Kind.INT, Role.FIX, 1),
    ("W.Latitude", "location.precise", Kind.FLOAT, Role.LATITUDE, 1),
    ("W.Longitude", "location.precise", Kind.FLOAT, Role.LONGITUDE, 1),
    ("V.Unknown", "", Kind.FLOAT, Role.NONE, -1),
]


def items() -> ItemTable:
    n = len(_ROWS)
    return ItemTable(
        name=tuple(row[0] for row in _ROWS),
        category=tuple(row[1] for row in _ROWS),
        unit=("",) * n,
        label=np.arange(100, 100 + n, dtype=np.uint16),
        classified=np.array([bool(row[1]) for row in _ROWS]),
        kind=np.array([int(row[2]) for row in _ROWS], np.uint8),
        scale=np.ones(n),
        offset=np.zeros(n),
        role=np.array([int(row[3]) for row in _ROWS], np.uint8),
        group=np.array([row[4] for row in _ROWS], np.int32),
    )


def rule(
    *transforms: Transform,
    when: Sequence[Condition] = (),
    action: Action = Action.ENCRYPT,
    destination: int = 0,
) -> CompiledRule:
    n = len(_ROWS)
    return CompiledRule(
        name="rule",
        purpose="test",
        destination=destination,
        action=action,
        transforms=tuple(transforms),
        conditions=tuple(when),
        label_out=(np.arange(n) % 3).astype(np.uint16),
        category_out=("out",) * n,
    )


def policy(
    rules: Sequence[CompiledRule],
    chains: dict[int, list[int]],
    custodian: str = "custodian",
) -> CompiledPolicy:
    """Return a policy of one destination; ``chains``: item to its rules in order."""
    depth = max([len(chain) for chain in chains.values()], default=1)
    chain = np.full((len(_ROWS), depth), NO_RULE, np.int16)
    for item, numbers in chains.items():
        chain[item, : len(numbers)] = numbers
    destination = CompiledDestination(
        "oem", "CN", ("oem",), "x25519-aes256gcm", "receipt", chain
    )
    return CompiledPolicy(
        name="test",
        version=1,
        digest=bytes(32),
        catalogue_digest=bytes(32),
        items=items(),
        destinations=(destination,),
        rules=tuple(rules),
        custodian=custodian,
        retention_ns={},
        retention_default_ns=0,
        telemetry_ns=1,
        checkpoint_ns=1,
    )


def columns(data: Sequence[Datum]) -> tuple[SampleBatch, TextBatch]:
    numbers = [d for d in data if d.text is None]
    texts = [d for d in data if d.text is not None]
    return (
        SampleBatch(
            np.array([d.time_ns for d in numbers], np.int64),
            np.array([d.item for d in numbers], np.uint32),
            np.array([d.raw for d in numbers], np.int64),
            np.array([d.value for d in numbers], np.float64),
        ),
        TextBatch(
            np.array([d.time_ns for d in texts], np.int64),
            np.array([d.item for d in texts], np.uint32),
            tuple(d.text or b"" for d in texts),
        ),
    )


def cut(data: Sequence[Datum], cuts: Sequence[int]) -> Iterator[list[Datum]]:
    """Yield the stream in pieces; samples of one moment stay together."""
    marks = sorted({c % (len(data) + 1) for c in cuts} | {0, len(data)})
    begin = 0
    for mark in marks:
        end = mark
        while 0 < end < len(data) and data[end].time_ns == data[end - 1].time_ns:
            end += 1
        if end >= begin:
            yield list(data[begin:end])
            begin = end


# statistic, item, time, text, value
Row: TypeAlias = "tuple[str, int, int, bytes, float]"


def by_key(row: Row) -> Row:
    """Sort by the keys, then by value; NaN last."""
    return (*row[:4], math.inf if math.isnan(row[4]) else row[4])


def released_rows(parts: Sequence[Released]) -> list[Row]:
    """Return every released row as (statistic, item, time, text, value), sorted."""
    rows: list[Row] = []
    for part in parts:
        s, t = part.samples, part.texts
        rows += [
            (part.statistic, item, time, b"", value)
            for item, time, value in zip(
                s.item.tolist(), s.time_ns.tolist(), s.value.tolist(), strict=True
            )
        ]
        rows += [
            (part.statistic, item, time, text, 0.0)
            for item, time, text in zip(
                t.item.tolist(), t.time_ns.tolist(), t.text, strict=True
            )
        ]
    return sorted(rows, key=by_key)


def datum_rows(data: Sequence[Datum]) -> list[Row]:
    """Return scalar data in the same form as ``released_rows``."""
    return sorted(
        ((d.statistic, d.item, d.time_ns, d.text or b"", d.value) for d in data),
        key=by_key,
    )
