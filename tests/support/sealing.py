"""A device, its recipients and small policies, for tests of sealing and opening."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.protection.bundles import DATA, Bundle, Part
from agent.records import Released
from fleet.keys import RecipientKeys
from policies.tables import (
    Action,
    Aggregate,
    CompiledDestination,
    CompiledPolicy,
    CompiledRule,
    ItemTable,
)
from protocols.labels import Form, Geo, Label, Pi, Recognition, Tier
from protocols.samples import Kind, SampleBatch, TextBatch, empty_texts, raw_of_floats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEVICE = "gw-1"
NOW_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC
GENERAL = Label(Tier.G2, Pi.NONE, Form.RAW, Geo.NONE, Recognition.NONE).pack()
PERSONAL = Label(Tier.G2, Pi.PERSONAL, Form.RAW, Geo.NONE, Recognition.NONE).pack()
SPEED, COUNTER, LATITUDE, VIN, SERIAL = range(5)
_ITEMS = [  # name, unit, kind, scale, offset
    ("Vehicle.Speed", "km/h", Kind.INT, 0.01, 0.0),
    ("Vehicle.Counter", "", Kind.UINT64, 1.0, 0.0),
    ("Vehicle.CurrentLocation.Latitude", "degrees", Kind.FLOAT, 1.0, 0.0),
    ("Vehicle.VehicleIdentification.VIN", "", Kind.TEXT, 1.0, 0.0),
    ("Vehicle.Serial", "", Kind.INT, 1.0, -40.0),
]


class Device:
    """The signer of a device, from a fixed seed."""

    def __init__(self, device: str = DEVICE, seed: int = 7) -> None:
        self.device = device
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


def entropy(seed: bytes = b"test") -> Callable[[int], bytes]:
    """Return a source that gives the same bytes in every run."""
    count = 0

    def give(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(seed + count.to_bytes(4, "big")).digest(size)

    return give


def keys(name: str, seed: int) -> RecipientKeys:
    """Return the fixed private keys of a recipient."""
    return RecipientKeys(
        name,
        X25519PrivateKey.from_private_bytes(bytes([seed]) * 32),
        MLKEM768PrivateKey.from_seed_bytes(bytes([seed + 1]) * 64),
        X25519PrivateKey.from_private_bytes(bytes([seed + 2]) * 32),
        Ed25519PrivateKey.from_private_bytes(bytes([seed + 3]) * 32),
        dt.date(2026, 1, 1),
        dt.date(2026, 12, 31),
    )


def items(extra: int = 0) -> ItemTable:
    """Return the five items above, and ``extra`` plain ones behind them."""
    rows = [*_ITEMS, *((f"Extra.{i}", "", Kind.INT, 1.0, 0.0) for i in range(extra))]
    count = len(rows)
    return ItemTable(
        name=tuple(row[0] for row in rows),
        category=("driving",) * count,
        unit=tuple(row[1] for row in rows),
        label=np.full(count, GENERAL, np.uint16),
        classified=np.ones(count, np.bool_),
        kind=np.array([row[2] for row in rows], np.uint8),
        scale=np.array([row[3] for row in rows]),
        offset=np.array([row[4] for row in rows]),
        role=np.zeros(count, np.uint8),
        group=np.full(count, -1, np.int32),
        source=("can0",) * count,
    )


def policy(
    *,
    suite: str = "x25519-aes256gcm",
    actions: Sequence[Action] = (Action.ENCRYPT,),
    of: tuple[str, ...] = (),
    label: int = GENERAL,
    extra: int = 0,
) -> CompiledPolicy:
    """Return a policy with one destination and one rule per action for every item."""
    table = items(extra)
    count = len(table)
    category = tuple("driving.fine" if i % 2 else "location" for i in range(count))
    rules = tuple(
        CompiledRule(
            name=f"rule-{number}",
            purpose="test",
            destination=0,
            action=action,
            transforms=(Aggregate(10**9, of),) if of else (),
            conditions=(),
            label_out=np.full(count, label, np.uint16),
            category_out=category,
        )
        for number, action in enumerate(actions)
    )
    chain = np.tile(np.arange(len(rules), dtype=np.int16), (count, 1))
    oem = CompiledDestination("oem", "CN", ("oem-2026",), suite, "receipt", chain)
    return CompiledPolicy(
        name="test",
        version=1,
        digest=hashlib.sha256(b"policy").digest(),
        catalogue_digest=bytes(32),
        items=table,
        destinations=(oem,),
        rules=rules,
        custodian="keeper",
        retention_ns={"driving": 7, "driving.fine": 5},
        retention_default_ns=30,
        telemetry_ns=1,
        checkpoint_ns=1,
    )


def numbers(item: int, values: Sequence[int], start_ns: int = NOW_NS) -> SampleBatch:
    """Return samples of one item, 10 ms apart; ``values`` are raw integers."""
    raw = np.array(values, np.int64)
    time_ns = start_ns + np.arange(len(raw)) * 10_000_000
    return SampleBatch(
        time_ns, np.full(len(raw), item, np.uint32), raw, raw.astype(np.float64)
    )


def floats(item: int, values: Sequence[float], start_ns: int = NOW_NS) -> SampleBatch:
    """Return samples of one item whose raw is float64 bits."""
    value = np.array(values, np.float64)
    return numbers(item, raw_of_floats(value).tolist(), start_ns)


def texts(item: int, *told: bytes) -> TextBatch:
    """Return texts of one item."""
    return TextBatch(
        np.arange(len(told)) + NOW_NS, np.full(len(told), item, np.uint32), told
    )


def bundle(
    policy_: CompiledPolicy,
    samples: Sequence[SampleBatch],
    told: TextBatch | None = None,
    *,
    rule: int = 0,
    is_float: bool = False,
    statistic: str = "",
    kind: str = DATA,
) -> Bundle:
    """Return a bundle with one part per batch; texts go with the first."""
    parts = []
    for number, batch in enumerate(samples):
        mine = told if told is not None and number == 0 else empty_texts()
        released = Released(rule, batch, mine, statistic)
        parts.append(Part(policy_.rules[rule], released, is_float, bool(statistic)))
    found = policy_.rules[rule]
    return Bundle(found.action, int(found.label_out[0]), kind, "", tuple(parts))
