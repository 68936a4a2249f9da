"""A device made of the agent's own pieces, and a collector, for tests of the fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.evidence import Evidence
from agent.protection.sealer import Sealed, Sealer
from agent.records import CounterRow, Eviction, Outcome
from fleet.collector import Collector
from fleet.ledger import Ledger
from protocols.audit import AuditPage, encode_page
from protocols.labels import unpack
from protocols.signed import pack_signed
from protocols.telemetry import (
    CounterLine,
    State,
    Telemetry,
    encode_state,
    encode_telemetry,
)
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint
from protocols.tlog.tree import Growth, leaf_hash
from tests.support import sealing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.records import SpoolRecord
    from fleet.keys import RecipientKeys
    from policies.tables import CompiledPolicy

FLEET = "fleet-1"
LOG = b"log-id-8"
NOW_NS = sealing.NOW_NS
OEM = sealing.keys("oem-2026", 10)
KEEPER = sealing.keys("keeper", 20)


class Gateway:
    """Seals, records evidence and signs as a device does; keeps all in lists."""

    def __init__(
        self,
        device: str = sealing.DEVICE,
        *,
        seed: int = 7,
        policy: CompiledPolicy | None = None,
        log: bytes = LOG,
        run: bytes = b"",
    ) -> None:
        self.signer = sealing.Device(device, seed)
        self.log = log
        self.policy = policy or sealing.policy()
        self.entries: list[bytes] = []
        self.checkpoints: list[tuple[int, bytes, bytes]] = []
        self.records: list[SpoolRecord] = []
        self._pending: dict[tuple[str, str, Outcome], int] = {}
        self.start(run or b"first")

    def start(self, run: bytes, *, last: str = "none") -> None:
        """Begin a boot: new boot id, new epochs."""
        give = sealing.entropy(run + self.signer.device.encode())
        self.boot = give(16)
        self.evidence = Evidence(self.signer.device, self.boot, "test")
        cards = {k.name: k.card() for k in (OEM, KEEPER)}
        self.sealer = Sealer(self.policy, self.signer, give, self.boot, cards)
        key = self.signer.public_key()
        self.entries.append(self.evidence.boot(NOW_NS, key, "high", {"how": last}))
        self.entries.append(
            self.evidence.policy(NOW_NS, self.policy, "active", "start")
        )

    def seal(self, values: Sequence[int] = (1, 2, 3), *, dropped: int = 0) -> Sealed:
        """Read and seal samples of one item; ``dropped`` more are read and dropped."""
        bundle = sealing.bundle(self.policy, [sealing.numbers(sealing.SPEED, values)])
        sealed = self.sealer.seal(self.policy.destinations[0], bundle, NOW_NS)
        for record in sealed.records:
            rows = sealed.rows.get((record.epoch, record.sequence), ())
            told = [(bundle.parts[0].rule.name, n, False) for n in rows if n]
            self.entries.append(self.evidence.record(NOW_NS, record, "CN", told))
        self.records += sealed.records
        self.count("", "", Outcome.READ, len(values) + dropped)
        self.count("oem", "rule-0", Outcome.SENT, len(values))
        self.count("oem", "", Outcome.DROPPED, dropped)
        return sealed

    def count(self, place: str, rule: str, outcome: Outcome, samples: int) -> None:
        key = (place, rule, outcome)
        self._pending[key] = self._pending.get(key, 0) + samples

    def snapshot(self, held: int = 0) -> tuple[CounterRow, ...]:
        """Put the counters into evidence."""
        rows = tuple(
            CounterRow(place, sealing.GENERAL, rule, "", outcome, samples, 0)
            for (place, rule, outcome), samples in self._pending.items()
            if samples
        )
        self._pending.clear()
        self.entries += self.evidence.counters(NOW_NS, NOW_NS + 1, rows, held)
        return rows

    def lose(self, cause: str, lost: Sequence[SpoolRecord]) -> None:
        rows = [
            Eviction(
                r.kind, r.label, 1, len(r.body), r.samples,
                ((r.epoch, r.sequence, r.sequence),), cause,
            )
            for r in lost
        ]  # fmt: skip
        self.entries.append(self.evidence.let_go(NOW_NS, cause, rows))

    def stop(self) -> None:
        self.entries.append(self.evidence.stop(NOW_NS, "test"))

    # --- messages -------------------------------------------------------------------

    def sign(self, size: int | None = None) -> bytes:
        """Return a signed checkpoint of the first ``size`` entries; keep it."""
        size = len(self.entries) if size is None else size
        tree = Growth(0, {})
        tree.append([leaf_hash(entry) for entry in self.entries[:size]])
        origin = f"sluicegate/{FLEET}/{self.signer.device}/{self.log.hex()}"
        note = sign_checkpoint(Checkpoint(origin, size, tree.root()), self.signer)
        self.checkpoints.append((size, tree.root(), note))
        return note

    def page(
        self, start: int = 0, end: int | None = None, *, signed: bool = True
    ) -> bytes:
        end = len(self.entries) if end is None else end
        note = self.sign(end) if signed else b""
        page = AuditPage(self.log, start, tuple(self.entries[start:end]), note)
        return encode_page(page)

    def state(self, number: int = 1, size: int | None = None) -> bytes:
        size = len(self.entries) if size is None else size
        body = encode_state(
            State(
                device=self.signer.device, number=number, time_ns=NOW_NS,
                boot=self.boot.hex(), agent="test", policy_name="test",
                policy_version=1, policy_digest="", policy_state="active",
                clock="high", online=True, autonomy_h=1.0, spool_records=0,
                spool_bytes=0, spool_bytes_max=1, oldest_ns=0, evidence_size=size,
                coverage=1.0,
            )
        )  # fmt: skip
        return pack_signed("state", body, self.signer.sign)

    def telemetry(self, rows: Sequence[CounterRow], index: int, held: int = 0) -> bytes:
        lines = tuple(
            CounterLine(
                r.destination, str(unpack(r.label)), r.rule, r.action,
                r.outcome.name.lower(), r.samples, r.bytes_used,
            )
            for r in rows
        )  # fmt: skip
        body = encode_telemetry(
            Telemetry(
                device=self.signer.device, boot=self.boot.hex(), start_ns=NOW_NS,
                end_ns=NOW_NS + 1, evidence_index=index, rows=lines, held=held,
                losses={}, policy_digest="",
            )
        )  # fmt: skip
        return pack_signed("telemetry", body, self.signer.sign)


class Side:
    """A collector with its ledger; ``again`` is a restart."""

    def __init__(
        self,
        folder: Path,
        devices: dict[str, bytes] | None = None,
        keys: Sequence[RecipientKeys] = (OEM,),
    ) -> None:
        gateway = sealing.Device()
        self.path = folder / "ledger.sqlite"
        self.devices = devices or {gateway.device: gateway.public_key()}
        self.keys = tuple(keys)
        self.ledger = Ledger(self.path)
        self.collector = Collector(FLEET, self.ledger, self.keys, self.devices)

    def take(self, kind: str, *messages: bytes, device: str = sealing.DEVICE) -> None:
        with self.ledger.transaction():
            for message in messages:
                self.collector.take(device, kind, message, NOW_NS)

    def send(self, gateway: Gateway, records: Sequence[SpoolRecord] = ()) -> None:
        for record in records or gateway.records:
            self.take(record.kind, record.body, device=gateway.signer.device)

    def again(self, keys: Sequence[RecipientKeys] = ()) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path)
        self.keys = tuple(keys) or self.keys
        self.collector = Collector(FLEET, self.ledger, self.keys, self.devices)

    def findings(self) -> dict[tuple[object, object], object]:
        rows = self.ledger.query("SELECT rule, reason, count FROM findings")
        return {(rule, reason): count for rule, reason, count in rows}

    def rules(self) -> set[object]:
        return {rule for rule, _ in self.findings()}

    def one(self, statement: str, *values: object) -> object:
        ((value,),) = self.ledger.query(statement, values)
        return value


def changed(record: SpoolRecord, body: bytes) -> SpoolRecord:
    return replace(record, body=body)
