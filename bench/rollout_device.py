"""A simulated gateway that takes rollouts: real keys, real verification, short trials.

What is real: each device's Ed25519 key and its own trusted metadata, ``trust.offer``
over every bundle that it gets, ``rollout.decide``, signed acks. What is shared by the
devices of one process: the judgement of a policy's text (parsed, compiled, linted and
held against the floor once for each text and floor), and equal bytes in memory. Not
there: a store and evidence, buses, freshness questions.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policies.errors import PolicyError
from policies.files import load_text
from policies.rollout import decide, slot
from policies.trust import TrustError, begin, offer, open_bundle
from protocols.acks import Ack, pack_ack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from policies.rollout import Rollout
    from policies.trust import Offer, SignedPolicy, Trusted

SHARES: Final = 10_000
BINDINGS: Final = "sim-vehicle"


def private_key(device: str) -> Ed25519PrivateKey:
    """Return the key of a simulated device: always the same one."""
    return Ed25519PrivateKey.from_private_bytes(
        sha256(f"{device}|key".encode()).digest()
    )


def draw(what: str, device: str) -> int:
    """Return a number below 10,000 that has nothing to do with the device's slot."""
    return int.from_bytes(sha256(f"{what}|{device}".encode()).digest()[:8]) % SHARES


@dataclass
class Settings:
    """What all devices of a process share."""

    fleet: str
    root: bytes
    databases: Path  # the folder of the bindings' CAN database
    floors: dict[str, Path] = field(default_factory=dict)  # policy texts they refuse
    refusing: dict[str, int] = field(default_factory=dict)  # floor -> share with it
    reverting: int = 0  # share whose uplink dies of any new policy
    groups: tuple[str, ...] = ("sim",)


@dataclass
class Books:
    """What the devices of a process did; times are ``time.monotonic``."""

    counts: Counter[str] = field(default_factory=Counter)
    first_message_s: float = 0.0
    last_message_s: float = 0.0  # taken: verified and decided
    last_ack_s: float = 0.0  # the broker has it

    def mark(self) -> None:
        """Begin a new step: forget times and counts."""
        self.counts.clear()
        self.first_message_s = self.last_message_s = self.last_ack_s = 0.0


class World:
    """The process around its devices."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; the pinned root is opened once."""
        self.settings = settings
        self.books = Books()
        self.trusted = begin(settings.root, settings.fleet)
        self._shared: dict[bytes, Trusted] = {}
        self._judged: dict[tuple[bytes, str], str] = {}

    def shared(self, trusted: Trusted) -> Trusted:
        """Return an equal record that is in memory already, if there is one."""
        known = self._shared.setdefault(trusted.timestamp, trusted)
        return known if known == trusted else trusted

    def judge(self, policy: SignedPolicy, floor: str) -> str:
        """Return the rule that refuses a policy, "" where none does."""
        key = (policy.digest, floor)
        if key not in self._judged:
            self._judged[key] = self._judgement(policy, floor)
        return self._judged[key]

    def _judgement(self, policy: SignedPolicy, floor: str) -> str:
        file = self.settings.floors.get(floor)
        folder = self.settings.databases
        try:
            loaded = load_text(policy.text, "policy", [BINDINGS], file, folder)
            model = loaded.compiled.document.model
            policy.check_text(model.name, model.version, model.min_version)
        except PolicyError:
            return "parse"
        except TrustError as error:
            return error.rule
        if loaded.errors:
            return "lint"
        return "floor" if loaded.violations else ""


class SimDevice:
    """One gateway: what it trusts, what decides, and what it said."""

    def __init__(self, name: str, world: World, say: Callable[[bytes], None]) -> None:
        """Begin with the pinned root and no pushed policy; ``say`` publishes an ack."""
        self.name = name
        self._world = world
        self._say_bytes = say
        self._key = private_key(name)
        self._trusted = world.trusted
        self._offer: Offer | None = None
        self._number = 0
        self.active = 0
        self._trial: asyncio.TimerHandle | None = None
        self._candidate = 0
        self._ended: dict[tuple[int, int], tuple[str, str]] = {}
        settings = world.settings
        drawn, self._floor = draw("floor", name), ""
        for floor, share in settings.refusing.items():
            if 0 <= drawn < share and not self._floor:
                self._floor = floor
            drawn -= share
        self._reverts = draw("uplink", name) < settings.reverting

    @property
    def is_on_trial(self) -> bool:
        """Tell whether a policy is being watched."""
        return self._trial is not None

    def take(self, message: bytes) -> None:
        """Verify a bundle and do what the signed rollout wants of this device."""
        books = self._world.books
        books.first_message_s = books.first_message_s or time.monotonic()
        try:
            trusted, offered = offer(
                self._trusted, open_bundle(message), time.time_ns()
            )
        except TrustError as error:
            books.counts[f"untrusted {error.rule}"] += 1
            return
        books.counts["bundles"] += 1
        self._trusted, self._offer = self._world.shared(trusted), offered
        if offered.rollout is not None:
            self._follow(offered.rollout)
        books.last_message_s = time.monotonic()

    def _follow(self, rollout: Rollout) -> None:
        groups = self._world.settings.groups
        wanted, _ = decide(rollout, self.name, groups, time.time_ns(), clock_ok=True)
        if self._trial is not None and wanted not in {None, self._candidate}:
            self._trial.cancel()
            self._trial = None
        if wanted is None and self._trial is not None:
            return  # paused: who has begun goes on
        ended = self._ended.get((wanted or 0, rollout.attempt))
        if wanted is None or wanted == self.active:
            state = "active" if self.active == rollout.candidate else "waiting"
            self._say(rollout, state)
        elif ended is not None:
            self._say(rollout, *ended)
        elif self._trial is None:
            self._begin(rollout, wanted)

    def _begin(self, rollout: Rollout, wanted: int) -> None:
        assert self._offer is not None
        try:
            policy = self._offer.policy(wanted, self.name)
        except TrustError as error:
            self._end(rollout, wanted, "refused", error.rule)
            return
        self._say(rollout, "verified")
        rule = self._world.judge(policy, self._floor)
        if rule:
            self._end(rollout, wanted, "refused", rule)
            return
        self._say(rollout, "staged")
        before, self.active, self._candidate = self.active, wanted, wanted
        self._say(rollout, "trial")
        loop = asyncio.get_running_loop()
        self._trial = loop.call_later(
            policy.terms.trial_s, self._confirm, rollout, wanted, before
        )

    def _confirm(self, rollout: Rollout, wanted: int, before: int) -> None:
        self._trial = None
        if self._reverts:
            self.active = before
            self._end(rollout, wanted, "reverted", "uplink")
        else:
            self._say(rollout, "active")

    def _end(self, rollout: Rollout, wanted: int, state: str, rule: str) -> None:
        self._ended[wanted, rollout.attempt] = (state, rule)
        self._say(rollout, state, rule)

    def _say(self, rollout: Rollout, state: str, rule: str = "") -> None:
        assert self._offer is not None
        self._number += 1
        self._world.books.counts[f"ack {state}"] += 1
        now_ns = time.time_ns()
        ack = Ack(
            device=self.name, number=self._number, time_ns=now_ns, boot="sim",
            clock="good", root_version=self._offer.root_version,
            timestamp_version=self._offer.timestamp_version,
            targets_version=self._offer.targets_version, policy_name="sim",
            policy_version=self.active, candidate_version=rollout.candidate,
            attempt=rollout.attempt, state=state,  # type: ignore[arg-type]  # checked when encoded
            rule=rule, slot=_slot(rollout.salt, self.name),
            groups=self._world.settings.groups, since_ns=now_ns,
        )  # fmt: skip
        self._say_bytes(pack_ack(ack, self._key.sign))


@cache
def _slot(salt: str, device: str) -> int:
    return slot(salt, device)
