"""The product's flow over the same frames, and its envelopes opened again."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cantools
import msgpack
import numpy as np

from agent.assembly import Identity, assemble
from agent.evidence import Evidence
from agent.protection.keyring import KeyRing
from agent.records import Arrival, Outcome
from fleet.keys import generate
from fleet.opener import Opener
from policies.compile import compile_policy
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.can.database import parse_database
from protocols.envelope import parse_envelope
from protocols.frames import FrameBatch
from tests.protocols.can.oracle import Oracle
from tests.reference.whole_path import EXTENDED, Bound, Frame
from tests.support.sealing import DEVICE, Device, entropy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.classification.volumes import Volumes
    from agent.flow import Flow
    from agent.records import Commit
    from fleet.keys import RecipientKeys
    from policies.compile import Compiled
    from tests.reference.whole_path import Cell, Key

S = 1_000_000_000
T0 = 1_764_000_000 * S
MASTER = bytes(range(32))
BOOT = bytes(range(16))

DBC = f"""VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 CHASSIS: 6 ECU
 SG_ SPEED : 0|16@1+ (0.01,0) [0|0] "km/h" ECU
 SG_ ANGLE : 23|12@0- (0.5,-3) [0|0] "deg" ECU
 SG_ FRACTION : 32|8@1- (0.1,0) [0|0] "deg" ECU
 SG_ NOT_BOUND : 40|8@1+ (1,0) [0|0] "" ECU
BO_ 257 BATTERY: 4 ECU
 SG_ SWITCH M : 7|8@0+ (1,0) [0|0] "" ECU
 SG_ TEMPERATURE m0 : 8|8@1- (1,0) [0|0] "" ECU
 SG_ VOLTAGE m1 : 15|16@0+ (0.1,0) [0|0] "" ECU
BO_ {0x18FEF100 | EXTENDED} POSITION: 8 ECU
 SG_ LAT : 0|32@1- (0.0000001,0) [0|0] "deg" ECU
 SG_ LON : 32|32@1- (0.0000001,0) [0|0] "deg" ECU
BO_ 258 SAFETY: 1 ECU
 SG_ CRASH : 0|1@1+ (1,0) [0|0] "" ECU
BO_ 259 MISCELLANEOUS: 8 ECU
 SG_ SINGLE : 0|32@1- (1,0) [0|0] "" ECU
 SG_ ODD : 39|8@0+ (1,0) [0|0] "" ECU
SIG_VALTYPE_ 259 SINGLE : 1;
"""
POSITION = 0x18FEF100 | EXTENDED
SIGNALS: dict[
    str, tuple[int, dict[str, float]]
] = {  # item: (identifier, signals), in the order of the item table
    "Vehicle.Speed": (256, {"SPEED": 1}),
    "Vehicle.Powertrain.TractionBattery.Temperature.Average": (257, {"TEMPERATURE": 1}),
    "Vehicle.Powertrain.TractionBattery.CurrentVoltage": (257, {"VOLTAGE": 1}),
    "Vehicle.CurrentLocation.Latitude": (POSITION, {"LAT": 1}),
    "Vehicle.CurrentLocation.Longitude": (POSITION, {"LON": 1}),
    "Vehicle.Safety.CrashDetected": (258, {"CRASH": 1}),
    "Vehicle.Exterior.AirTemperature": (259, {"SINGLE": 1}),
    "Nobody.Knows.This": (259, {"ODD": 1}),
    "Vehicle.Chassis.SteeringWheel.Angle": (256, {"ANGLE": 1, "FRACTION": 0.5}),
}
MESSAGES = {256: "CHASSIS", 257: "BATTERY", POSITION: "POSITION", 258: "SAFETY",
            259: "MISCELLANEOUS"}  # fmt: skip
VINS = {
    "obd:09.02": "Vehicle.VehicleIdentification.VIN",
    "uds:F190": "Vehicle.ECU.SerialNumber",
}


def bindings() -> bytes:
    plain: dict[str, Any] = {}
    combined = []
    for item, (ident, parts) in SIGNALS.items():
        if len(parts) == 1:
            plain[f"{MESSAGES[ident]}.{next(iter(parts))}"] = item
        else:
            entry = {"item": item, "message": MESSAGES[ident], "parts": parts}
            combined.append(entry)
    can = {"bus": "can0", "database": "small.dbc", "signals": plain,
           "combined": combined}  # fmt: skip
    heard = [
        {"bus": "can0", "obd": "09.02", "item": VINS["obd:09.02"]},
        {"bus": "can0", "did": 0xF190, "item": VINS["uds:F190"],
         "category": "identity.serial"},
    ]  # fmt: skip
    return json.dumps(
        {"schema": "sluicegate/bindings/1", "name": "b", "can": [can],
         "diagnostics": heard}
    ).encode()  # fmt: skip


_CATALOGUES = [parse_catalogue(shipped_text("catalogues", "cn-auto"), "cn-auto")]
_DATABASE = parse_database(DBC.encode(), "dbc", "small.dbc")
_PARSED = cantools.database.load_string(DBC, "dbc")
assert isinstance(_PARSED, cantools.database.can.Database)
ORACLE = Oracle(_PARSED)
_DAYS = (dt.date(2020, 1, 1), dt.date(2040, 1, 1))
KEYS: dict[str, RecipientKeys] = {
    name: generate(name, *_DAYS) for name in ("oem-key", "de-key", "keeper")
}


def compiled_of(policy: bytes) -> Compiled:
    return compile_policy(
        parse_policy(policy, "t.yaml"),
        _CATALOGUES,
        [parse_bindings(bindings(), "b.yaml")],
        {"small.dbc": _DATABASE},
        ("can0",),
        (),
    )


def bounds_of(compiled: Compiled) -> list[Bound]:
    row = compiled.policy.items.name.index
    return [
        Bound(row(item), ident, tuple(parts.items()))
        for item, (ident, parts) in SIGNALS.items()
    ]


def flow_of(compiled: Compiled, volumes: Volumes | None = None) -> Flow:
    identity = Identity(
        DEVICE, BOOT, "test", Device(), entropy(), KeyRing(MASTER, entropy(b"noise"))
    )
    cards = {name: keys.card() for name, keys in KEYS.items()}
    evidence = Evidence(DEVICE, BOOT, "test")
    return assemble(compiled, identity, cards, evidence, volumes=volumes)


def batch_of(frames: Sequence[Frame]) -> FrameBatch:
    payload = np.zeros((len(frames), 8), np.uint8)
    for row, frame in enumerate(frames):
        payload[row, : len(frame.data)] = np.frombuffer(frame.data, np.uint8)
    return FrameBatch(
        np.array([frame.time_ns for frame in frames], np.int64),
        np.zeros(len(frames), np.uint8),
        np.array([frame.ident for frame in frames], np.uint32),
        np.array([len(frame.data) for frame in frames], np.uint8),
        np.zeros(len(frames), np.uint8),
        payload,
    )


def cut_frames(frames: Sequence[Frame], at: Sequence[int]) -> Iterator[list[Frame]]:
    """Yield the frames in pieces; those of one moment stay together."""
    marks = sorted({c % (len(frames) + 1) for c in at} | {0, len(frames)})
    begin = 0
    for mark in marks:
        end = mark
        while 0 < end < len(frames) and frames[end].time_ns == frames[end - 1].time_ns:
            end += 1
        if end > begin:
            yield list(frames[begin:end])
            begin = end


@dataclass
class Seen:
    """All that came out of a flow, read back by who may read it."""

    rows: list[tuple[Key, float]] = field(default_factory=list)
    cells: Counter[Cell] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)  # bytes booked, by destination
    sizes: Counter[str] = field(default_factory=Counter)  # bytes made, by destination
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)  # evidence
    told: Counter[str] = field(default_factory=Counter)  # evidence entries, by type
    held: int = 0
    commits: list[Commit] = field(default_factory=list)


class Reader:
    """Takes commits one by one and opens them with every recipient's keys."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._opener = Opener(list(KEYS.values()), {DEVICE: Device().public_key()})

    def take(self, commit: Commit) -> Seen:
        seen = self.seen
        seen.held = commit.held
        seen.commits.append(commit)
        proofs: set[bytes] = set()
        for entry in commit.evidence:
            facts = msgpack.unpackb(entry)
            seen.told[facts["type"]] += 1
            if "sha256" not in facts:
                continue
            proofs.add(facts["sha256"])
            for rule, rows, _ in facts["rules"]:
                seen.by_rule[facts["dest"], rule] += rows
        for record in commit.records:
            seen.sizes[record.destination] += len(record.body)
            assert hashlib.sha256(record.body).digest() in proofs
            if record.kind == "key":
                self._opener.announce(DEVICE, record.body)
            else:
                self._open(record.destination, record.label, record.body)
        for kept in commit.retained:
            seen.sizes["keeper"] += len(kept.body)
            assert hashlib.sha256(kept.body).digest() in proofs
            if kept.sequence == 0:  # the epoch's announcement stays with what it opens
                self._opener.announce(DEVICE, kept.body)
            else:
                self._open("keeper", kept.label, kept.body)
        for row in commit.counters:
            cell = (row.destination, row.label, row.rule, row.action, row.outcome.name)
            if row.samples:
                seen.cells[cell] += row.samples
            if row.outcome is not Outcome.READ:
                seen.used[row.destination] += row.bytes_used
        return seen

    def _open(self, destination: str, label: int, body: bytes) -> None:
        header = parse_envelope(body).header
        assert (header.destination, header.label) == (destination, label)
        for column in self._opener.open(DEVICE, body):
            said = (column.item, column.definition.source, column.statistic)
            self.seen.rows += [
                ((destination, label, *said, time_ns, text or b""), value or 0.0)
                for time_ns, value, text in column.rows()
            ]


def run_flow(compiled: Compiled, pieces: Sequence[list[Frame]]) -> Seen:
    """Return all that a flow makes of the pieces, its end included."""
    flow, reader = flow_of(compiled), Reader()
    now_ns = T0
    for piece in pieces:
        now_ns = max(now_ns, piece[-1].time_ns)
        reader.take(flow.process(Arrival(now_ns, batch_of(piece))))
    return reader.take(flow.finish(now_ns, "shutdown"))
