"""What the collector does with a message: verify, open, deduplicate, store, receipt.

Pure of the network: ``Collector.take`` is given a topic's parts and bytes and writes to
the ledger; ``fleet/collect.py`` moves messages. Nothing is used before its signature or
its AEAD tag holds; what is refused becomes a finding with its rule, never with a value.

A receipt names only what one of our keys opened and the ledger keeps; it is made after
the ledger's transaction and signed by each key whose owner the batch was sealed to.
Batches are told apart by (device, epoch, sequence): the kind stands in the topic alone,
and a batch that comes again under another topic is a replay too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fleet.errors import Refused
from fleet.ledger import digest
from fleet.ledger_schema import Batch
from fleet.logs import Logs
from fleet.opener import Opener
from protocols.announcement import ANNOUNCEMENT, open_announcement
from protocols.audit import parse_page
from protocols.envelope import OPEN
from protocols.errors import WireError
from protocols.receipts import Receipt, encode_receipt, ranges
from protocols.signed import open_signed
from protocols.telemetry import decode_state, decode_telemetry
from protocols.topics import parse_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fleet.keys import RecipientKeys
    from fleet.ledger import Ledger
    from fleet.opener import Column
    from protocols.envelope import Header
    from protocols.receipts import Ranges

UNOPENED_BYTES_MAX: Final = 256 * 1024 * 1024  # of one device
EPOCHS_HELD: Final = 4096  # in memory; the ledger has all of them
WORDS_HELD: Final = 300_000  # definitions of these: 100 MiB
RANGES_A_RECEIPT: Final = 2048  # below what protocols/receipts.py takes
_I64: Final = range(-(2**63), 2**63)


@dataclass(slots=True)
class Seen:
    """What came from one device since start."""

    batches: int = 0
    samples: int = 0
    bytes_used: int = 0
    entries: int = 0
    refused: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class Totals:
    """What the live table shows. Since start."""

    batches: int = 0
    samples: int = 0
    bytes_used: int = 0
    sealed: int = 0  # kept without being opened: for others, or before their key
    replays: int = 0
    refused: int = 0
    events: int = 0
    entries: int = 0
    by_destination: dict[str, int] = field(default_factory=dict)
    devices: dict[str, Seen] = field(default_factory=dict)


@dataclass(slots=True)
class _Owed:
    """What the next receipts of a device will say."""

    sequences: dict[bytes, set[int]] = field(default_factory=dict)
    logs: set[bytes] = field(default_factory=set)


class Collector:
    """One fleet's receiving end."""

    def __init__(
        self,
        fleet: str,
        ledger: Ledger,
        keys: Sequence[RecipientKeys],
        devices: Mapping[str, bytes],
    ) -> None:
        """Take the ledger, our private keys and the enrolled devices' public keys.

        What the ledger holds sealed and a new key of ours opens is opened now.
        """
        self._fleet = fleet
        self._ledger = ledger
        self._keys = tuple(keys)
        self._opener = Opener(keys, devices)
        self._devices = devices
        self._logs = Logs(fleet, ledger, self._keys)
        self._readers: dict[tuple[str, bytes], tuple[int, ...]] = {}
        self._owed: dict[str, _Owed] = {}
        self._unopened: dict[str, int] = {}
        self.totals = Totals()
        with ledger.transaction():
            ledger.enrol(devices)
            self._reopen()

    def _reopen(self) -> None:
        for device, epoch in self._ledger.foreign():
            try:
                if device in self._devices and self._epoch(device, epoch):
                    self._ledger.own_epoch(device, epoch)
                    self._open_waiting(device, epoch, 0)
            except (Refused, WireError):
                continue  # of a device that has another key now

    # --- what comes -----------------------------------------------------------------

    def take_topic(self, topic: str, message: bytes, now_ns: int) -> None:
        """Handle one MQTT message; see ``take``."""
        try:
            fleet, device, kind = parse_up(topic)
        except WireError as error:
            self._find("", "topic", error.reason, now_ns)
            return
        if fleet == self._fleet:
            self.take(device, kind, message, now_ns)
        else:
            self._find("", "topic", "of another fleet", now_ns)

    def take(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        """Handle one message within the caller's transaction.

        ``now_ns``: wall clock. Never raises for what the bytes are: a refusal is
        stored as a finding.
        """
        try:
            self._take(device, kind, message, now_ns)
        except Refused as error:
            self._find(device, error.rule, error.reason, now_ns)
        except WireError as error:
            self._find(device, error.what, error.reason, now_ns)
        else:
            self._seen(device).last_ns = now_ns

    def _take(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        if device not in self._devices:
            raise Refused("device", "is not enrolled")
        match kind:
            case "key":
                self._announcement(device, message, now_ns)
            case "data" | "event":
                self._batch(device, kind, message, now_ns)
            case "audit":
                self._audit(device, message, now_ns)
            case "state" | "telemetry":
                self._signed(device, kind, message, now_ns)
            case _:
                raise Refused("topic", "no such kind of message")

    def _find(self, device: str, rule: str, reason: str, now_ns: int) -> None:
        self.totals.refused += 1
        if device in self._devices:
            self._seen(device).refused += 1
        self._ledger.find(device, rule, reason, now_ns)

    def _seen(self, device: str) -> Seen:
        return self.totals.devices.setdefault(device, Seen())

    # --- keys and data --------------------------------------------------------------

    def _announcement(self, device: str, message: bytes, now_ns: int) -> None:
        epoch = self._learn(device, message)
        said = self._opener.announce(device, message)
        place = (said.destination, said.label, said.suite)
        new = self._ledger.add_epoch(device, epoch, place, message, said.is_ours)
        if said.is_ours:
            self._owe(device, epoch, 0)
        if not new:
            self.totals.replays += 1
            return
        self._open_waiting(device, epoch, now_ns)

    def _learn(self, device: str, message: bytes) -> bytes:
        """Take an announcement in, new or from the ledger; return its epoch."""
        said = open_announcement(message, self._devices[device])
        known = self._ledger.announcement(device, said.epoch)
        if known is not None and known != message:
            raise Refused(ANNOUNCEMENT, "the epoch was announced before, differently")
        self._opener.announce(device, message)
        wrapped = {wrap.key_id for wrap in said.wraps}
        self._readers[device, said.epoch] = tuple(
            number
            for number, keys in enumerate(self._keys)
            if said.suite == OPEN or keys.card().key_id(said.suite) in wrapped
        )
        self._let_go()
        return said.epoch

    def _let_go(self) -> None:
        """Hold no more than there is room for: what was not used longest goes."""
        held = sum(self._opener.words(*place) for place in self._readers)
        while len(self._readers) > 1 and (
            len(self._readers) > EPOCHS_HELD or held > WORDS_HELD
        ):
            eldest = next(iter(self._readers))
            held -= self._opener.words(*eldest)
            del self._readers[eldest]
            self._opener.forget(*eldest)

    def _epoch(self, device: str, epoch: bytes) -> tuple[int, ...] | None:
        """Return which of our keys open an epoch; None where it is not announced."""
        if (device, epoch) not in self._readers:
            body = self._ledger.announcement(device, epoch)
            if body is None:
                return None
            self._learn(device, body)
        readers = self._readers.pop((device, epoch))
        self._readers[device, epoch] = readers  # used last: goes last
        return readers

    def _batch(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        header = self._opener.header(message)
        if header.device != device:
            raise Refused("batch", "names another device than its topic")
        sha256 = digest(message)
        known = self._ledger.batch_digest(device, header.epoch, header.sequence)
        readers = self._epoch(device, header.epoch)
        if known == sha256:
            self.totals.replays += 1
            self._owe(device, header.epoch, header.sequence)
            return
        batch = _batch_of(header, kind, sha256, len(message), now_ns)
        if not readers:
            status = "waiting" if readers is None else "sealed"
            self._keep_sealed(batch, status, message)
            return
        columns = self._opener.open(device, message)
        if known is not None:
            raise Refused("nonce", "an epoch's sequence was used for two batches")
        self._store(batch, columns)

    def _keep_sealed(self, batch: Batch, status: str, message: bytes) -> None:
        device = batch.device
        if device not in self._unopened:
            self._unopened[device] = self._ledger.unopened_bytes(device)
        if self._unopened[device] + len(message) > UNOPENED_BYTES_MAX:
            raise Refused("unopened", "too much waits for its key")
        if self._ledger.add_unopened(batch, status, message):
            self._unopened[device] += len(message)
            self.totals.sealed += 1
        else:
            self.totals.replays += 1

    def _open_waiting(self, device: str, epoch: bytes, now_ns: int) -> None:
        """Open what came before its key; what does not open was forged."""
        if not self._readers[device, epoch]:
            self._ledger.seal(device, epoch)
            return
        for one in self._ledger.unopened(device, epoch):
            message = self._ledger.take_unopened(one)
            self._unopened.pop(device, None)
            try:
                self._batch(device, one.kind, message, one.received_ns)
            except Refused as error:
                self._find(device, error.rule, error.reason, now_ns)
            except WireError as error:
                self._find(device, error.what, error.reason, now_ns)

    def _store(self, batch: Batch, columns: Sequence[Column]) -> None:
        rows = self._ledger.add_batch(batch, columns)
        self._owe(batch.device, batch.epoch, batch.sequence)
        totals, seen = self.totals, self._seen(batch.device)
        totals.batches += 1
        totals.samples += rows
        totals.bytes_used += batch.size
        totals.events += rows if batch.kind == "event" else 0
        places = totals.by_destination
        places[batch.destination] = places.get(batch.destination, 0) + rows
        seen.batches += 1
        seen.samples += rows
        seen.bytes_used += batch.size

    # --- evidence, state, telemetry -------------------------------------------------

    def _audit(self, device: str, message: bytes, now_ns: int) -> None:
        page = parse_page(message)
        if page.start + len(page.entries) not in _I64:
            raise Refused("audit page", "start out of range")
        # Owed even where the page is refused: the receipt says where to go on.
        self._owed.setdefault(device, _Owed()).logs.add(page.log)
        new = self._logs.take(device, self._devices[device], page, now_ns)
        self.totals.entries += new
        self._seen(device).entries += new

    def _signed(self, device: str, kind: str, message: bytes, now_ns: int) -> None:
        body = open_signed(kind, message, self._devices[device])
        if kind == "state":
            state = decode_state(body)
            self._check_named(kind, device, state.device, state.number)
            new = self._ledger.keep_state(device, state.number, now_ns, message)
        else:
            told = decode_telemetry(body)
            self._check_named(kind, device, told.device, told.evidence_index)
            place = (told.boot[:64], told.evidence_index)
            new = self._ledger.keep_telemetry(device, place, now_ns, message)
            if not new and self._ledger.telemetry_body(device, place) != message:
                raise Refused(kind, "two different ones for one evidence entry")
        self.totals.replays += not new

    @staticmethod
    def _check_named(kind: str, device: str, named: str, number: int) -> None:
        if named != device:
            raise Refused(kind, "names another device than its topic")
        if number not in _I64:
            raise Refused(kind, "a number out of range")

    # --- receipts -------------------------------------------------------------------

    @property
    def is_owing(self) -> bool:
        """Tell whether receipts are to be made."""
        return bool(self._owed)

    def _owe(self, device: str, epoch: bytes, sequence: int) -> None:
        owed = self._owed.setdefault(device, _Owed())
        owed.sequences.setdefault(epoch, set()).add(sequence)

    def receipts(self, now_ns: int) -> list[tuple[str, bytes]]:
        """Return (device, signed receipt) of what is owed.

        Call it after the transaction ended: a receipt is a promise. One per key and
        device, more where there is more to say than one may hold.
        """
        owed, self._owed = self._owed, {}
        made: list[tuple[str, bytes]] = []
        for device, what in owed.items():
            heads = [(log, *self._logs.head(device, log)) for log in sorted(what.logs)]
            for number, keys in enumerate(self._keys):
                spans = {
                    epoch: ranges(sequences)
                    for epoch, sequences in sorted(what.sequences.items())
                    if number in (self._epoch(device, epoch) or ())
                }
                parts = list(_parts(spans))
                for place in range(max(len(parts), len(heads))):
                    epochs = parts[place] if place < len(parts) else ()
                    head = heads[place] if place < len(heads) else (b"", 0, b"")
                    receipt = Receipt(device, now_ns, epochs, *head)
                    made.append((device, encode_receipt(receipt, keys.sign)))
        return made


def _batch_of(
    header: Header, kind: str, sha256: bytes, size: int, now_ns: int
) -> Batch:
    return Batch(
        header.device, header.epoch, header.sequence, kind, header.destination,
        header.label, header.policy, header.created_ns, sha256, size, now_ns,
    )  # fmt: skip


def _parts(
    spans: Mapping[bytes, Ranges],
) -> Iterator[tuple[tuple[bytes, Ranges], ...]]:
    """Yield what one receipt each may say, RANGES_A_RECEIPT ranges at most."""
    part: list[tuple[bytes, Ranges]] = []
    room = RANGES_A_RECEIPT
    for epoch, every in spans.items():
        start = 0
        while start < len(every):
            some = every[start : start + room]
            part.append((epoch, some))
            start += len(some)
            room -= len(some)
            if not room:
                yield tuple(part)
                part, room = [], RANGES_A_RECEIPT
    if part:
        yield tuple(part)
