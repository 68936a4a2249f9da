"""One device's policy path in this process: real store, real trust, no broker.

    bench = PolicyBench(tmp_path)
    async def story() -> None:
        async with bench.running():            # as a process: boot, flow, policies
            bench.push(2)                      # signed, rolled out, on its topic
            await bench.look()
    asyncio.run(story())

Time moves only by ``bench.pass_time``. What a process would lose is lost between two
``running`` blocks; ``bench.cut`` ends one as a power cut would.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import msgpack

from agent.adapters.buses import Buses
from agent.adapters.clock import ClockConfidence
from agent.adapters.counting import volumes_of
from agent.adapters.device_key import load_or_create
from agent.adapters.journal import Journal
from agent.adapters.keeper import Keeper
from agent.adapters.modbus.between import Between
from agent.adapters.outside import Now
from agent.adapters.policy.feed import PolicyFeed
from agent.adapters.policy.floors import newest_entries
from agent.adapters.policy.inbox import PolicyInbox
from agent.adapters.policy.loader import Paths, accept_again, accept_signed
from agent.adapters.policy.recorder import PolicyRecorder
from agent.adapters.policy.shelf import restore
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.adapters.steering import Desk, Steering
from agent.adapters.store_thread import StoreThread
from agent.adapters.watch import ClockWatch
from agent.assembly import Identity
from agent.config import Can, Config, Trust
from agent.evidence import Evidence
from agent.protection.keyring import KeyRing
from agent.records import Incoming
from agent.sources.losses import Losses
from agent.steps import Speaker
from agent.store.documents import STANDING
from agent.telemetry.state import Autonomy
from fleet.keys import generate
from protocols.acks import open_ack
from protocols.bundle import encode_bundle
from protocols.recipients import encode_card
from protocols.topics import down_topic, policy_topic
from tests.support.fleet_trust import NS, FleetTrust
from tests.support.policy_parts import NoUplink, Timeline, Told, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from agent.adapters.uplink import Uplink
    from agent.control import Accepted
    from agent.ports import FrameSource, Link
    from fleet.keys import RecipientKeys
    from policies.trust import SignedPolicy
    from protocols.acks import Ack


def _no_bus(number: int) -> FrameSource:
    raise AssertionError(number)


DEVICE, FLEET = "gw-1", "north"
MIB = 1024 * 1024
KEYS = generate("oem-2026", dt.date(2026, 1, 1), dt.date(2030, 1, 1))
POLICY = """\
schema: sluicegate/policy/1
name: {name}
version: {version}
min_version: {min_version}
catalogues: [cn-auto]
home_region: CN
destinations:
  oem: {{region: CN, recipients: [oem-2026], suite: x25519-aes256gcm}}
rules:
{rules}
"""
BATTERY = """\
  - {name: battery, match: {category: energy.state}, to: oem, purpose: safety,
     do: [encrypt]}
"""
EVENTS = """\
  - {name: events, match: {category: security.event}, to: oem, purpose: watching,
     do: [encrypt]}
"""
WHERE = """\
  - {name: where, match: {category: location.precise}, to: oem, purpose: rescue,
     do: [encrypt]}
"""
_ROLLOUT = ("stable", "attempt", "state", "upto", "devices", "window", "groups")


def policy_text(
    version: int, rules: str = BATTERY, *, min_version: int = 1, name: str = "pushed"
) -> bytes:
    return POLICY.format(
        name=name, version=version, min_version=min_version, rules=rules
    ).encode()


class PolicyBench:
    """Files and clock of a device, its fleet, and what a process holds."""

    def __init__(
        self, folder: Path, fleet: FleetTrust | None = None, **config: object
    ) -> None:
        self.folder = folder
        self.fleet = fleet or FleetTrust(name=FLEET)
        self.root = self.fleet.roots[0]
        self.clock = Timeline(self.fleet.now_s * NS)
        self.between = Between([], self.clock)
        self.wire = Wire()
        self.acks: list[Ack] = []
        self.loads = 0
        self._raw_acks: list[bytes] = []
        self._seen = 0
        self._cards = folder / "cards"
        self._cards.mkdir(exist_ok=True)
        (self._cards / "oem-2026.card.json").write_bytes(encode_card(KEYS.card()))
        (folder / "local.yaml").write_bytes(policy_text(1, EVENTS, name="local"))
        told: dict[str, object] = {
            "device": DEVICE,
            "fleet": FLEET,
            "state_dir": ".",
            "policy": "local.yaml",
            "bindings": ["sim-vehicle.bindings"],
            "recipients": "cards",
            "can": [Can(name=f"can{number}") for number in range(3)],
            "trust": Trust(root="root.json", groups=["east"]),
        } | config
        self.paths = Paths(str(folder / "gw.toml"), Config(**told))  # type: ignore[arg-type]  # fields by name
        self.signer = load_or_create(folder / "device.key", DEVICE)
        self._cache: dict[tuple[bytes, bytes], Accepted] = {}

    # --- a process --------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[PolicyBench]:
        """Boot, and let a flow task swap; ends as if it were killed.

        What the flow task raises ends the block, as the runtime's task group does.
        """
        self.open()
        try:
            await self.boot()
            async with asyncio.TaskGroup() as tasks:
                flow = tasks.create_task(self._swap())
                yield self
                flow.cancel()
        finally:
            self.close()

    def open(self) -> None:
        """Open the store and put a process together."""
        boot = secrets.token_bytes(16)
        evidence = Evidence(DEVICE, boot, "test")
        self.journal = Journal(evidence, self.clock)
        options = StoreOptions(
            64 * MIB, 64 * MIB, self.journal.witness, self.journal.broken
        )
        self.store = open_store(self.folder / "store.db", options)
        self.journal.attach(self.store)
        self.thread = StoreThread()
        self.before = self.store.document(STANDING)
        log = newest_entries(self.store)
        self.restored = restore(self.paths, self.store, self.root, log)
        self.now = Now(self.restored.accepted)
        self.now.confirmed = self.restored.confirmed
        self.uplink = NoUplink()
        self.publisher = Told(
            (FLEET, DEVICE), self.signer, self.clock, lambda *_: b"", 10**9
        )
        self.publisher.acks = self._raw_acks
        self.publisher.boots = int(self.store.document("boots") or b"0") + 1
        self.store.keep_document("boots", str(self.publisher.boots).encode())
        self.keeper = Keeper(
            self.store, self.thread, self.journal, evidence, self.signer, boot,
            self.clock, Autonomy(), lambda: None,
        )  # fmt: skip
        self.desk = Desk(
            now=self.now,
            identity=Identity(
                DEVICE, boot, "test", self.signer, secrets.token_bytes,
                KeyRing(bytes(32), secrets.token_bytes),
            ),
            evidence=evidence,
            clock=self.clock,
            watch=ClockWatch(
                self.clock, ClockConfidence(self.store.clock_floor_ns), self.store
            ),
            keeper=self.keeper,
            uplink=cast("Uplink", self.uplink),
            publisher=self.publisher,
            losses=Losses(),
            volumes=volumes_of(self.store),
            between=self.between,
            buses=Buses((), _no_bus, Losses(), {}, self.clock),
            load=lambda now: accept_again(self.paths, now),
            adopt=lambda _: None,
        )  # fmt: skip
        self.inbox = PolicyInbox(FLEET, DEVICE)
        speaker = Speaker(DEVICE, boot, ("east",), self.signer.sign)
        self.recorder = PolicyRecorder(self.desk, speaker, self.restored.standing)
        self.feed = PolicyFeed(
            self.desk, self.inbox, self.recorder, self.restored, ("east",), self._load
        )
        self._turned = asyncio.Event()
        self.steering = Steering(self.desk, self._snapshot, self._turned.set)

    def close(self) -> None:
        """End the process: what is not durable is gone."""
        self.thread._pool.shutdown(wait=True)
        self.store.close()
        self._read_acks()

    async def boot(self) -> None:
        """Do what the runtime does before its tasks run."""
        self.desk.watch.look(self.now)
        await self.feed.begin(self.steering)
        await self.steering.activated("start")
        self.flow = self.steering.assembled(self.now.accepted)

    async def _swap(self) -> None:
        while True:
            await self._turned.wait()
            self._turned.clear()
            while self.steering.waiting:
                self.flow = await self.steering.swap(self.flow)

    async def _snapshot(self) -> None:
        return None

    def _load(self, signed: SignedPolicy) -> Accepted:
        """Compile once a text: the same every time, and the dearest of all steps."""
        self.loads += 1
        key = (signed.text, repr(signed.terms).encode())
        if key not in self._cache:
            self._cache[key] = accept_signed(self.paths, signed)
        return replace(self._cache[key], signed=signed)

    # --- the fleet's side -------------------------------------------------------------

    def listed(self, version: int, rules: str = BATTERY, **more: object) -> bytes:
        """Add a policy to what is signed next; return its text."""
        least = int(str(more.pop("min_version", 1)))
        name = str(more.pop("name", "pushed"))
        text = more.pop("text", None) or policy_text(
            version, rules, min_version=least, name=name
        )
        keys = cast("tuple[RecipientKeys, ...]", more.pop("keys", (KEYS,)))
        cards = {one.name: encode_card(one.card()) for one in keys}
        terms = cast("Mapping[str, int]", more.pop("terms", {"trial_s": 60}))
        return self.fleet.add_policy(
            version, text=cast("bytes", text), min_version=least, name=name,
            cards=cards, terms=terms, **more,  # type: ignore[arg-type]  # fields by name
        )  # fmt: skip

    def message(self, version: int, rules: str = BATTERY, **more: object) -> bytes:
        """Return a bundle that lists a policy and rolls it out to everybody."""
        rollout = {name: more.pop(name) for name in _ROLLOUT if name in more}
        self.listed(version, rules, **more)
        self.fleet.roll_out(version, **rollout)  # type: ignore[arg-type]  # fields by name
        return self.fleet.message()

    async def push(self, version: int, rules: str = BATTERY, **more: object) -> bytes:
        """Send such a bundle, and let the device look at it."""
        message = self.message(version, rules, **more)
        await self.send(message)
        return message

    async def send(self, body: bytes, topic: str = "bundle") -> None:
        """Let a message come, and the device look at it."""
        await self.deliver(body, topic)
        await self.feed.look()

    async def deliver(self, body: bytes, topic: str = "bundle") -> None:
        """Let a message come; nobody looks yet."""
        where = (
            down_topic(FLEET, DEVICE, topic)
            if topic == "command"
            else policy_topic(FLEET, topic)
        )
        number = len(self.wire.acknowledged) + 1
        message = Incoming(where, body, True, 1, number)
        await self.inbox.take(cast("Link", self.wire), message)

    async def renew(self) -> None:
        await self.send(encode_bundle(self.fleet.renew()), "timestamp")

    async def answer(self, **more: object) -> None:
        """Answer the nonce that is asked for."""
        answer = self.fleet.answer(self.recorder.nonce, DEVICE, **more)  # type: ignore[arg-type]  # fields by name
        await self.send(answer, "command")

    async def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass; the device looks every ``step_s``."""
        left = seconds
        while left > 0:
            self.clock.pass_time(min(step_s, left))
            self.desk.watch.look(self.now)
            await self.feed.look()
            left -= step_s

    # --- what is seen -----------------------------------------------------------------

    def _read_acks(self) -> None:
        public = self.signer.public_key()
        for raw in self._raw_acks[self._seen :]:
            self.acks.append(open_ack(raw, public, DEVICE))
        self._seen = len(self._raw_acks)

    @property
    def last(self) -> Ack:
        """Return the newest ack: what is retained."""
        self._read_acks()
        return self.acks[-1]

    @property
    def all(self) -> list[Ack]:
        """Return every ack, oldest first."""
        self._read_acks()
        return self.acks

    @property
    def refusal(self) -> str:
        """Return the rule of the newest ack that refuses a message; "" for none."""
        found = [ack.rule for ack in self.all if ack.state == "refused"]
        return found[-1] if found else ""

    @property
    def states(self) -> list[str]:
        self._read_acks()
        return [ack.state for ack in self.acks]

    @property
    def deciding(self) -> tuple[str, int]:
        """Return name and version of what decides now."""
        policy = self.now.accepted.compiled.policy
        return policy.name, policy.version

    def entries(self, kind: str = "cfg.change") -> list[dict[str, object]]:
        found = self.store.evidence_since(0, 10_000)
        return [e for one in found if (e := msgpack.unpackb(one))["type"] == kind]

    def steps(self) -> list[str]:
        """Return the steps of pushed policies in the log, with their rule."""
        return [
            f"{one['step']}:{one['rule']}" if one.get("rule") else str(one["step"])
            for one in self.entries()
            if "digest" in one or one["step"] == "refused"
        ]
