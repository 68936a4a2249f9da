"""What the outside is told of links: states for people, numbers for Prometheus.

Names of links, outcomes and reasons; never an address that a master asked for, never a
value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.telemetry.prometheus import Family
from protocols.modbus.exchanges import Reason
from protocols.telemetry import LinkState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.adapters.modbus.proxy_counts import Counts, LinkStatistics
    from agent.adapters.modbus.tap import NetworkTap
    from agent.adapters.modbus.tap_line import LineTap
    from agent.config import Modbus
    from agent.records import VerdictRow

OUTCOMES: Final = (
    "answered", "refused", "busy", "stale", "unreachable", "unanswered", "abandoned",
)  # fmt: skip
CLOSED: Final = {
    "limit": "masters_refused", "tls": "tls_refused", "framing": "framing_lost",
    "partial": "partial", "idle": "idle",
}  # fmt: skip


def link_states(
    links: Sequence[Modbus], proxied: Iterable[LinkStatistics]
) -> tuple[LinkState, ...]:
    """Return how every configured link is, in the order of the configuration."""
    known = {one.name: one for one in proxied}
    return tuple(_state(link, known.get(link.name)) for link in links)


def _state(link: Modbus, seen: LinkStatistics | None) -> LinkState:
    if seen is None:
        return LinkState(name=link.name, mode=link.mode)
    counts = seen.counts
    last = Reason(counts.last_reason).name.lower() if counts.last_reason else ""
    return LinkState(
        name=link.name,
        mode=link.mode,
        listening=seen.listening,
        connected=seen.connected,
        masters=seen.clients,
        forwarded=counts.sent,
        refused=counts.refused,
        last_reason=last,
    )


def families(
    proxied: Sequence[LinkStatistics], verdicts: Iterable[VerdictRow]
) -> Iterator[Family]:
    """Return what Prometheus is told of proxied links, and of the firewall."""
    yield Family(
        "firewall_exchanges_total", "counter",
        "Modbus requests by link, rule, verdict, reason; since the start.",
        [
            (
                {"link": r.link, "rule": r.rule, "verdict": r.verdict,
                 "reason": r.reason},
                r.count,
            )
            for r in verdicts
        ],
    )  # fmt: skip
    if not proxied:
        return
    yield Family(
        "modbus_requests_total", "counter", "Masters' requests by what became of them.",
        [
            ({"link": one.name, "outcome": outcome}, getattr(one.counts, outcome))
            for one in proxied
            for outcome in OUTCOMES
        ],
    )  # fmt: skip
    yield Family(
        "modbus_closed_total", "counter", "Masters' connections that we closed.",
        [
            ({"link": one.name, "cause": cause}, getattr(one.counts, field))
            for one in proxied
            for cause, field in CLOSED.items()
        ],
    )  # fmt: skip
    yield Family(
        "modbus_round_trip_seconds_total", "counter",
        "Time of all round trips, and what of it was the device's.",
        [
            ({"link": one.name, "part": part}, seconds)
            for one in proxied
            for part, seconds in _round_trips(one.counts)
        ],
    )  # fmt: skip
    for name, kind, told in (
        ("modbus_round_trips_total", "counter", lambda one: one.counts.round_trips),
        ("modbus_judge_faults_total", "counter", lambda one: one.counts.judge_faults),
        ("modbus_masters", "gauge", lambda one: one.clients),
        ("modbus_listening", "gauge", lambda one: int(one.listening)),
        ("modbus_device_connected", "gauge", lambda one: int(one.connected)),
    ):
        yield Family(
            name, kind, "", [({"link": one.name}, told(one)) for one in proxied]
        )


def tap_families(taps: Sequence[NetworkTap | LineTap]) -> Iterator[Family]:
    """Return what Prometheus is told of taps; losses are ``sluicegate_lost_total``."""
    if not taps:
        return
    yield Family(
        "modbus_tap_exchanges_total", "counter",
        "Exchanges that taps saw; own: the gateway's, left out.",
        [
            ({"tap": one.name, "whose": whose}, count)
            for one in taps
            for whose, count in (("others", one.exchanges), ("own", one.own))
        ],
    )  # fmt: skip
    open_ = [({"tap": one.name}, int(one.is_open)) for one in taps]
    yield Family("modbus_tap_open", "gauge", "", open_)


def _round_trips(counts: Counts) -> tuple[tuple[str, float], ...]:
    return ("device", counts.device_ns / 1e9), ("total", counts.total_ns / 1e9)
