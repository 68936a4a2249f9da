"""A collector in memory, written apart from fleet/: it believes nobody and forgets
nothing, so that the promises are checked by a second pair of eyes.

It keeps every digest that came for an (epoch, sequence), replays included: a nonce that
was used twice cannot hide behind a deduplication. `problems` holds what came against
what the evidence log names, as RFC 6962 and docs/formats/evidence-log.md define it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

import msgpack
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from protocols.acks import open_ack
from protocols.announcement import open_announcement
from protocols.audit import parse_page
from protocols.envelope import parse_envelope
from protocols.receipts import Receipt, encode_receipt, ranges
from protocols.signed import open_signed
from protocols.telemetry import decode_state, decode_telemetry
from protocols.tlog.checkpoint import open_checkpoint
from protocols.tlog.tree import Growth, leaf_hash
from protocols.topics import down_topic, parse_up, up_filters, up_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.keys import RecipientKeys
    from protocols.acks import Ack
    from protocols.telemetry import State, Telemetry

Place: TypeAlias = tuple[bytes, int]  # epoch, sequence; 0: the announcement
Entry: TypeAlias = dict[str, object]


@dataclass
class Log:
    """One evidence log as its pages told it."""

    entries: list[bytes] = field(default_factory=list)
    tree: Growth = field(default_factory=lambda: Growth(0, {}))
    roots: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))


class Receiver:
    """The fleet's end for one device. ``mute``: takes everything, receipts nothing."""

    def __init__(
        self, fleet: str, device: str, public_key: bytes, keys: Sequence[RecipientKeys]
    ) -> None:
        self.digests: dict[Place, set[bytes]] = defaultdict(set)
        self.order: list[
            tuple[str, Place, int]
        ] = []  # kind, place, created: as it came
        self.boots: dict[bytes, bytes] = {}  # epoch -> boot
        self.logs: dict[bytes, Log] = defaultdict(Log)
        self.states: list[State] = []
        self.acks: list[Ack] = []
        self.wills: list[bytes] = []
        self.telemetry: dict[int, Telemetry] = {}
        self.counts: dict[str, int] = defaultdict(int)
        self.mute = False
        self._fleet, self._device = fleet, device
        self._public, self._keys = public_key, keys
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "collector", protocol=paho.MQTTv5
        )
        self._client.on_connect = self._connected
        self._client.on_message = self._came
        # seconds; paho sleeps through the end of what it waits for
        self._client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]  # told as whole ones

    def start(self, port: int) -> None:
        """Connect in the background, and again whenever the broker is back."""
        self._client.connect_async("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def stop(self) -> None:
        """End; everything that came is here."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: object) -> None:
        acks = up_topic(self._fleet, self._device, "ack")
        client.subscribe([(one, 1) for one in [*up_filters(self._fleet), acks]])

    # --- what comes (paho's thread) -------------------------------------------------

    def _came(self, _: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        del data
        _fleet, device, kind = parse_up(message.topic)
        assert device == self._device
        self.counts[kind] += 1
        owed = self._take(kind, bytes(message.payload))
        if owed is not None and not self.mute:
            for keys in self._keys:
                body = encode_receipt(owed, keys.sign)
                topic = down_topic(self._fleet, device, "receipt")
                self._client.publish(topic, body, qos=1)

    def _take(self, kind: str, body: bytes) -> Receipt | None:
        match kind:
            case "data" | "event":
                header = parse_envelope(body).header
                place = (header.epoch, header.sequence)
                return self._envelope(kind, place, header.created_ns, body)
            case "key":
                said = open_announcement(body, self._public)
                self.boots[said.epoch] = said.boot
                return self._envelope(kind, (said.epoch, 0), said.created_ns, body)
            case "audit":
                return self._audit(body)
            case "state":
                told = decode_state(open_signed(kind, body, self._public))
                self.states.append(told)
            case "ack":
                self.acks.append(open_ack(body, self._public, self._device))
            case "telemetry":
                counted = decode_telemetry(open_signed(kind, body, self._public))
                self.telemetry[counted.evidence_index] = counted
        return None

    def _envelope(
        self, kind: str, place: Place, created_ns: int, body: bytes
    ) -> Receipt:
        self.digests[place].add(sha256(body).digest())
        self.order.append((kind, place, created_ns))
        return self._receipt(((place[0], ranges([place[1]])),))

    def _audit(self, body: bytes) -> Receipt:
        page = parse_page(body)
        log = self.logs[page.log]
        if page.start <= log.tree.size:
            fresh = page.entries[log.tree.size - page.start :]
            log.tree.append([leaf_hash(entry) for entry in fresh])
            log.entries += fresh
        if page.checkpoint:
            origin = f"sluicegate/{self._fleet}/{self._device}/{page.log.hex()}"
            note = open_checkpoint(page.checkpoint, origin, self._public)
            log.roots[note.size].add(note.root)
        told = (page.log, log.tree.size, log.tree.root())
        return self._receipt((), told)

    def _receipt(
        self,
        epochs: tuple[tuple[bytes, tuple[tuple[int, int], ...]], ...],
        evidence: tuple[bytes, int, bytes] = (b"", 0, b""),
    ) -> Receipt:
        return Receipt(self._device, time.time_ns(), epochs, *evidence)

    # --- afterwards -----------------------------------------------------------------

    def entries(self, kind: str = "") -> list[Entry]:
        """Return the decoded entries of all logs, of one kind where it is given."""
        found = [
            msgpack.unpackb(entry)
            for log in list(self.logs.values())
            for entry in list(log.entries)
        ]
        return [one for one in found if not kind or one["type"] == kind]

    def lost(self) -> set[Place]:
        """Return what the log says was lost or destroyed, by place."""
        found: set[Place] = set()
        for entry in [*self.entries("loss.rec"), *self.entries("destroy.rec")]:
            rows = entry.get("rows", [])
            assert isinstance(rows, list)
            for row in rows:
                for epoch, first, last in row[5]:
                    found |= {(epoch, number) for number in range(first, last + 1)}
        return found

    def problems(self) -> list[str]:
        """Return every way in which what came is not what was promised."""
        found = [
            f"nonce used twice: {epoch.hex()}/{number}"
            for (epoch, number), digests in self.digests.items()
            if len(digests) > 1
        ]
        for log in self.logs.values():
            found += _history(log)
        named = self._named(found)
        here = {place: min(digests) for place, digests in self.digests.items()}
        lost = self.lost()
        for place in named.keys() - here.keys() - lost:
            found.append(f"not received: {place[0].hex()}/{place[1]}")
        for place, digest in here.items():
            if place not in named:
                found.append(f"not in the evidence: {place[0].hex()}/{place[1]}")
            elif named[place] != digest:
                found.append(f"another digest: {place[0].hex()}/{place[1]}")
        return found + self._gaps()

    def _named(self, found: list[str]) -> dict[Place, bytes]:
        """Return what the evidence names; twice the same is a problem."""
        named: dict[Place, bytes] = {}
        for entry in [*self.entries("flow.out"), *self.entries("key.life")]:
            epoch, number, digest = entry["epoch"], entry["seq"], entry["sha256"]
            assert isinstance(epoch, bytes)
            assert isinstance(number, int)
            assert isinstance(digest, bytes)
            place = (epoch, 0 if entry["type"] == "key.life" else number)
            if place in named:
                found.append(f"named twice: {epoch.hex()}/{number}")
            named[place] = digest
        return named

    def _gaps(self) -> list[str]:
        """Return gaps of sequences (all that were sealed), and epochs of two boots."""
        numbers: dict[bytes, list[int]] = defaultdict(list)
        boots: dict[bytes, set[bytes]] = defaultdict(set)
        for entry in self.entries("flow.out"):
            epoch, number, boot = entry["epoch"], entry["seq"], entry["boot"]
            assert isinstance(epoch, bytes)
            assert isinstance(number, int)
            assert isinstance(boot, bytes)
            numbers[epoch].append(number)
            boots[epoch].add(boot)
        found = [
            f"epoch {epoch.hex()} has a gap"
            for epoch, some in numbers.items()
            if some != list(range(1, len(some) + 1))
        ]
        found += [
            f"epoch {e.hex()} of two boots"
            for e, all_ in boots.items()
            if len(all_) > 1
        ]
        return found


def _history(log: Log) -> list[str]:
    """Return why a log is not one history: roots, and entry numbers within a boot."""
    found = []
    grown, numbers = Growth(0, {}), dict[bytes, int]()
    for index, entry in enumerate(log.entries):
        grown.append([leaf_hash(entry)])
        told = msgpack.unpackb(entry)
        boot, number = told["boot"], told["n"]
        if number != numbers.get(boot, 0):
            found.append(f"entry {index}: number {number} of its boot")
        numbers[boot] = number + 1
        if log.roots.get(grown.size, {grown.root()}) != {grown.root()}:
            found.append(f"checkpoint of {grown.size} has another root")
    if log.roots and max(log.roots) > grown.size:
        found.append(f"checkpoint of {max(log.roots)}, but {grown.size} entries")
    return found
