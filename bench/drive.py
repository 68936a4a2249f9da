"""The real drive, repeated, and the product's own path put together for it."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.adapters.captures import open_capture
from agent.adapters.device_key import load_or_create
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.assembly import Identity, assemble
from agent.evidence import Evidence
from agent.limits import BATCH_FRAMES_MAX
from agent.merging import CommitGroup
from agent.protection.keyring import KeyRing
from agent.records import Arrival
from policies.files import load
from protocols.can.database import load_database
from protocols.frames import FrameBatch, concat_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.adapters.sqlite_store import SqliteStore
    from agent.flow import Flow
    from agent.records import Commit
    from policies.compile import Compiled
    from protocols.recipients import RecipientCard

FOLDER = "can-comma2k19-rav4"
FLEET = "passenger-fleet"
RAV4 = "toyota-rav4-2017"
PASSES = 16  # in one transaction, as `scan` has it
STORE_BYTES = 1 << 30

# Everything that a catalogue knows leaves, sealed and whole: the most that the path can
# have to do. Not a policy that lint or a floor would let pass on a vehicle.
EVERYTHING = """\
schema: sluicegate/policy/1
name: bench-everything
version: 1
catalogues: [cn-auto]
home_region: CN
destinations:
  oem: {region: CN, recipients: [oem-2026], suite: x25519-aes256gcm}
rules:
  - name: everything
    match: {item: "**"}
    to: oem
    purpose: benchmark
    do: [encrypt]
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A flow with its store, as a recording meets them."""

    flow: Flow
    store: SqliteStore


def data_folder() -> Path:
    """Return where the real captures are."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SLUICEGATE_DATA", beside))


def drive(data: Path, copies: int) -> tuple[FrameBatch, list[str]]:
    """Return 8,233 real frames ``copies`` times, times rising, and the bus names."""
    with open_capture(data / FOLDER / "rav4_5s.candump.log") as capture:
        once = concat_frames(list(capture.batches()))
    span = int(once.time_ns[-1] - once.time_ns[0]) + 1_000_000
    many = concat_frames([once] * copies)
    copy = np.repeat(np.arange(copies, dtype=np.int64), len(once))
    return FrameBatch(
        many.time_ns + copy * span, many.bus, many.ident, many.size, many.flags,
        many.payload,
    ), capture.buses  # fmt: skip


def renumbered(
    batch: FrameBatch, buses: list[str], known: tuple[str, ...]
) -> FrameBatch:
    """Return the batch with the policy's bus numbers, as `scan` gives them."""
    table = [known.index(name) if name in known else len(known) for name in buses]
    bus = np.array(table, np.uint8)[batch.bus]
    return FrameBatch(
        batch.time_ns, bus, batch.ident, batch.size, batch.flags, batch.payload
    )


def batches(frames: FrameBatch, size: int = BATCH_FRAMES_MAX) -> list[FrameBatch]:
    """Return the frames in batches."""
    return [frames.take(slice(at, at + size)) for at in range(0, len(frames), size)]


def policy_file(name: str, folder: Path) -> str:
    """Return what ``load`` takes: the shipped policy, or our file of everything."""
    if name == FLEET:
        return name
    path = folder / "everything.yaml"
    path.write_text(EVERYTHING)
    return str(path)


def compiled(databases: Path, policy: str, bindings: str = RAV4) -> Compiled:
    """Return a policy compiled with bindings and the databases of a folder."""
    return load(policy, (bindings,), None, databases).compiled


def bind_all(dbc: Path, folder: Path) -> str:
    """Return the file of bindings that name every signal of a database on can0."""
    lines = [
        "schema: sluicegate/bindings/1", "name: bench-all", "can:",
        f"  - bus: can0\n    database: {dbc.name}\n    signals:",
    ]  # fmt: skip
    lines += [
        f"      {message.name}.{signal.name}:"
        f" Vehicle.Chassis.Bench.{message.name}.{signal.name}"
        for message in load_database(dbc).messages
        for signal in message.signals
    ]
    path = folder / f"{dbc.stem}.bindings.yaml"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def put_together(
    policy: Compiled, folder: Path, cards: Mapping[str, RecipientCard] | None = None
) -> Line:
    """Return a new flow and a new store; without cards sealed to nobody."""
    boot = secrets.token_bytes(16)
    evidence = Evidence("bench", boot, "bench")
    options = StoreOptions(
        STORE_BYTES,
        STORE_BYTES,
        lambda cause, lost: evidence.let_go(time.time_ns(), cause, lost),
        lambda found: evidence.broken(time.time_ns(), found),
    )
    name = secrets.token_hex(8)
    identity = Identity(
        "bench", boot, "bench", load_or_create(folder / f"{name}.key", "bench"),
        secrets.token_bytes, KeyRing(secrets.token_bytes(32), secrets.token_bytes),
    )  # fmt: skip
    flow = assemble(policy, identity, cards, evidence)
    return Line(flow, open_store(folder / f"{name}.store", options))


def run(line: Line, source: Iterable[FrameBatch]) -> int:
    """Move every batch through the flow and commit in groups; return the frames."""
    group = CommitGroup(PASSES)
    frames, last_ns = 0, 0
    for batch in source:
        frames += len(batch)
        last_ns = int(batch.time_ns[-1])
        _commit(line, group.add(line.flow.process(Arrival(last_ns, batch))))
    _commit(line, group.add(line.flow.finish(last_ns, "end"), last=True))
    return frames


def _commit(line: Line, ready: Commit | None) -> None:
    if ready is not None:
        line.store.commit(ready)
