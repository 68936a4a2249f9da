"""What the outside may ask of a running agent: its state, its metrics, its problems.

Functions without arguments from without: nothing comes in through here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from agent.inspection.counts import FindingCounts
from agent.telemetry.findings import finding_families
from agent.telemetry.prometheus import exposition
from agent.telemetry.report import Situation, state_body
from agent.uplink.lifetime import DAY_NS
from agent.vitals import Summary, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent.adapters.buses import Buses
    from agent.adapters.keeper import Keeper
    from agent.adapters.uplink import Uplink
    from agent.assembly import Identity
    from agent.consents import Standing
    from agent.control import Accepted
    from agent.ports import Clock
    from agent.records import VerdictRow
    from agent.sources.losses import Losses
    from agent.telemetry.prometheus import Family
    from agent.telemetry.state import Autonomy
    from protocols.telemetry import LinkState, TapState


@dataclass
class Now:
    """What is so at this moment; written by the runtime only."""

    accepted: Accepted
    confirmed: Accepted | None = None  # what a trial goes back to; None: the same
    candidate: tuple[int, str] = (0, "")  # of a pushed policy: version and state
    clock_level: str = "low"  # until the clock was looked at
    certificate_ns: int = 0  # when that of the uplink ends; 0: it has none
    troubles: dict[str, str] = field(default_factory=dict)  # where -> what is wrong
    closed: dict[str, str] = field(default_factory=dict)  # destination -> why
    findings: FindingCounts = field(default_factory=FindingCounts)  # since the start

    @property
    def policy_state(self) -> str:
        """Return what telemetry says of the policy that decides."""
        on_trial = self.candidate[1] == "trial"
        return "trial" if on_trial else self.accepted.state

    consents: Callable[[], list[Standing]] = list  # every declared one, as it stands


class Links(Protocol):
    """What may be asked of Modbus links."""

    def states(self) -> tuple[LinkState, ...]:
        """Return how every configured link is."""

    def tap_states(self) -> tuple[TapState, ...]:
        """Return how every tap is."""

    def families(self, verdicts: Iterable[VerdictRow]) -> Iterable[Family]:
        """Return what Prometheus is told of them, and of the firewall."""


class Outside:
    """Reads everything, changes nothing but the number of the last state."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        keeper: Keeper,
        uplink: Uplink,
        losses: Losses,
        autonomy: Autonomy,
        now: Now,
        links: Links | None = None,
        buses: Buses | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        """Nothing has been published yet; ``sources``: the names of all."""
        self._sources = tuple(sources)
        self._identity = identity
        self._clock = clock
        self._keeper = keeper
        self._uplink = uplink
        self._losses = losses
        self._autonomy = autonomy
        self._now = now
        self._links = links
        self._buses = buses
        self._number = 0  # of the state that was published last

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong now, in words, without values."""
        now = self._now
        found = [f"{place}: {what}" for place, what in sorted(now.troubles.items())]
        found += [f"{place} closed: {why}" for place, why in sorted(now.closed.items())]
        found += [t for t in (*self._keeper.problems, self._uplink.problem) if t]
        broken = self._keeper.store.broken
        if broken is not None:
            found.append(f"store: was damaged, set aside at start: {broken.why}")
        return tuple(found)

    def sentence(self) -> str:
        """Return one line for who looks at the service."""
        now, policy = self._now, self._now.accepted.compiled.policy
        away = sum(name in now.troubles for name in self._sources)
        return sentence(
            Summary(
                policy.name,
                policy.version,
                now.policy_state,
                len(self._sources) - away,
                len(self._sources),
                self._uplink.state.value,
                self._keeper.store.statistics().bytes_used,
                self.problems(),
            )
        )

    def pages(self) -> Mapping[str, tuple[str, Callable[[], str]]]:
        """Return what the status socket serves: path -> content type, function."""
        return {
            "/status": ("application/json", self.status),
            "/metrics": ("text/plain; version=0.0.4", self.metrics),
        }

    def status(self) -> str:
        """Return the state as JSON, and what only this device's owner may ask."""
        state = self.state(self._number, self._uplink.online)
        consents = msgspec.json.encode(self._now.consents())
        return f'{state[:-1].decode()},"consents":{consents.decode()}}}'

    def state(self, number: int, online: bool) -> bytes:
        """Return the body of the retained state."""
        self._number = number
        store = self._keeper.store.statistics()
        now, totals = self._now, self._keeper.store.totals()
        return state_body(
            self._identity.device,
            self._identity.boot,
            self._identity.version,
            now.accepted.compiled.policy,
            store,
            Situation(
                number,
                self._clock.now_ns(),
                now.policy_state,
                now.accepted.source,
                now.candidate,
                now.clock_level,
                online,
                self._autonomy.hours(store),
                (totals.classified, totals.unclassified),
                self.problems(),
                self._links.states() if self._links is not None else (),
                self._links.tap_states() if self._links is not None else (),
                self._buses.states() if self._buses is not None else (),
                now.certificate_ns,
            ),
        )

    def metrics(self) -> str:
        """Return the Prometheus page."""
        store = self._keeper.store.statistics()
        gauges = {
            "online": float(self._uplink.online),
            "autonomy_hours": self._autonomy.hours(store),
            "problems": float(len(self.problems())),
        }
        if self._now.certificate_ns:
            left_ns = self._now.certificate_ns - self._clock.now_ns()
            gauges["certificate_days_left"] = left_ns / DAY_NS
        totals = self._keeper.counters.totals()
        verdicts = self._keeper.firewall.totals()
        more = self._links.families(verdicts) if self._links is not None else ()
        said = self._now.findings
        found = finding_families(said.said, said.events, said.suppressed)
        buses = self._buses.families() if self._buses is not None else ()
        families = [*more, *found, *buses]
        return exposition(totals, store, gauges, self._losses.totals(), families)
