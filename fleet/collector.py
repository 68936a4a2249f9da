"""What the collector does with a message: verify, open, deduplicate, store, receipt.

Pure of the network: ``Collector.take`` is given a topic and bytes and writes to the
ledger; ``fleet/collect.py`` moves messages. Nothing is used before its signature or its
AEAD tag holds; what is refused becomes a finding with its rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from protocols.receipts import Receipt, ranges
from protocols.signed import open_signed
from protocols.tlog.checkpoint import CheckpointError, open_checkpoint
from protocols.tlog.tree import Growth, leaf_hash

from fleet.errors import Refused
from fleet.ledger import Batch, Row, digest
from protocols.audit import parse_page
from protocols.errors import WireError
from protocols.telemetry import decode_state, decode_telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleet.ledger import Ledger
    from fleet.opener import Opener

Log: TypeAlias = tuple[str, bytes]
KINDS: Final = ("key", "data", "event", "audit", "state", "telemetry")


@dataclass(slots=True)
class Totals:
    """What the live table shows. Since start."""

    batches: int = 0
    samples: int = 0
    bytes_used: int = 0
    replays: int = 0
    refused: int = 0
    events: int = 0
    entries: int = 0
    by_destination: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Owed:
    """What the next receipt of a device will say."""

    sequences: dict[bytes, set[int]] = field(default_factory=dict)
    evidence: bool = False


class Collector:
    """One fleet's receiving end."""

    def __init__(
        self, fleet: str, ledger: Ledger, opener: Opener, devices: Mapping[str, bytes]
    ) -> None:
        """Take the ledger, the private keys' opener and the enrolled device keys."""
        self._fleet = fleet
        self._ledger = ledger
        self._opener = opener
        self._devices = devices
        self._owed: dict[str, _Owed] = {}
        self._trees: dict[Log, Growth] = {}
        self._log: dict[str, bytes] = {}
        self.totals = Totals()
        for device, body in ledger.announcements():
            opener.announce(device, body)
        for device, log in ledger.logs():
            self._tree(device, log)
            self._log[device] = log

    def take(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        """Handle one message; a refusal is stored as a finding."""
        try:
            if device not in self._devices:
                raise Refused("device", "is not enrolled")
            match kind:
                case "key":
                    self._announcement(device, message, now_ns)
                case "data" | "event":
                    self._batch(device, kind, message, now_ns)
                case "audit":
                    self._audit(device, message)
                case "state" | "telemetry":
                    self._signed(device, kind, message, now_ns)
                case _:
                    raise Refused("topic", "no such kind of message")
        except (Refused, WireError) as error:
            self.totals.refused += 1
            rule = error.rule if isinstance(error, Refused) else error.what
            self._ledger.find(device, rule, error.reason, now_ns)

    # --- keys and data --------------------------------------------------------------

    def _announcement(self, device: str, message: bytes, now_ns: int) -> None:
        said = self._opener.announce(device, message)
        new = self._ledger.add_epoch(
            device, said.epoch, (said.destination, said.label), message, said.is_ours
        )
        self._owe(device).sequences.setdefault(said.epoch, set()).add(0)
        if not new:
            self.totals.replays += 1
            return
        for batch in self._ledger.waiting(device, said.epoch):
            self._open(batch)
        del now_ns

    def _batch(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        header = self._opener.header(message)
        if header.device != device:
            raise Refused("header", "names another device than the topic")
        batch = Batch(
            device, header.epoch, header.sequence, kind, header.destination,
            header.label, header.policy, digest(message), len(message), 0, now_ns,
            "waiting", message,
        )  # fmt: skip
        if not self._ledger.add_batch(batch):
            self.totals.replays += 1
        else:
            self.totals.batches += 1
            self.totals.bytes_used += len(message)
            self._open(batch)
        self._owe(device).sequences.setdefault(header.epoch, set()).add(header.sequence)

    def _open(self, batch: Batch) -> None:
        """Open a batch whose key is known; what is not ours stays sealed, kept."""
        knows = self._opener.knows(batch.device, batch.epoch)
        if knows is None:
            return  # its announcement has not come yet
        if not knows:
            self._ledger.settle(replace(batch, status="sealed"))
            return
        try:
            columns = self._opener.open(batch.device, batch.body)
        except WireError as error:
            self._ledger.settle(replace(batch, status="refused"))
            raise Refused("batch", error.reason) from None
        count = 0
        for column in columns:
            rows = [
                Row(
                    column.item, column.statistic, column.unit, time_ns, value, text,
                    batch.label, batch.destination,
                )
                for time_ns, value, text in column.rows()
            ]  # fmt: skip
            self._ledger.add_rows(batch.device, rows)
            count += len(rows)
        self._ledger.settle(replace(batch, status="opened", samples=count, body=b""))
        totals = self.totals
        totals.samples += count
        totals.events += count if batch.kind == "event" else 0
        places = totals.by_destination
        places[batch.destination] = places.get(batch.destination, 0) + count

    # --- evidence -------------------------------------------------------------------

    def _audit(self, device: str, message: bytes) -> None:
        page = parse_page(message)
        origin = f"sluicegate/{self._fleet}/{device}/{page.log.hex()}"
        tree = self._tree(device, page.log)
        self._log[device] = page.log
        self._owe(device).evidence = True
        if page.start > tree.size:
            return  # a gap: the receipt tells the device where to go on
        fresh = page.entries[tree.size - page.start :]
        grown = tree.copy()
        grown.append([leaf_hash(entry) for entry in fresh])
        if page.checkpoint:
            try:
                note = open_checkpoint(page.checkpoint, origin, self._devices[device])
            except CheckpointError as error:
                raise Refused("checkpoint", str(error)) from None
            if note.size == grown.size and note.root != grown.root():
                raise Refused("evidence", "the log was rewritten: another root")
            if note.size == grown.size:
                self._ledger.add_checkpoint(
                    device, page.log, note.size, note.root, page.checkpoint
                )
        if fresh:
            self._ledger.add_entries(device, page.log, tree.size, fresh)
            self.totals.entries += len(fresh)
            self._trees[device, page.log] = grown

    def _tree(self, device: str, log: bytes) -> Growth:
        tree = self._trees.get((device, log))
        if tree is None:
            tree = Growth(0, {})
            tree.append([leaf_hash(e) for e in self._ledger.entries(device, log)])
            self._trees[device, log] = tree
        return tree

    # --- the rest -------------------------------------------------------------------

    def _signed(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        body = open_signed(kind, message, self._devices[device])
        if kind == "state":
            state = decode_state(body)
            number, named = state.number, state.device
        else:
            told = decode_telemetry(body)
            number, named = told.evidence_index, told.device
        if named != device:
            raise Refused(kind, "names another device than the topic")
        if not self._ledger.add_message(device, kind, number, now_ns, body):
            self.totals.replays += 1

    def _owe(self, device: str) -> _Owed:
        return self._owed.setdefault(device, _Owed())

    def receipts(self, now_ns: int) -> list[Receipt]:
        """Return what is to be receipted; call after the ledger's transaction ended."""
        made = []
        for device, owed in self._owed.items():
            log = self._log.get(device, b"")
            tree = self._trees.get((device, log))
            made.append(
                Receipt(
                    device=device,
                    time_ns=now_ns,
                    epochs=tuple(
                        (epoch, ranges(sequences))
                        for epoch, sequences in sorted(owed.sequences.items())
                    ),
                    log=log,
                    evidence_size=tree.size if tree is not None else 0,
                    evidence_root=tree.root() if tree is not None else b"",
                )
            )
        self._owed.clear()
        return made
