"""Every attack of the ground truth is found; an ordinary hour raises no alarm."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.inspection.eve import EveLines
from agent.inspection.ocsf import event
from firmware_sim.network.attacks import lasts_ns
from firmware_sim.schema import nanoseconds
from tests.support.exchange_rows import seen
from tests.support.network_detected import GRACE_S, NS, Detected, about, detected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.inspection.findings import Finding
    from protocols.modbus.exchanges import ExchangeBatch

CLEAN = [
    "plant-network-short",
    pytest.param("plant-network", marks=pytest.mark.slow),
]
ATTACKED = [
    "plant-attacks-short",
    pytest.param("plant-attacks", marks=pytest.mark.slow),
]
# What only a rule can tell: without a firewall nobody knows what may be written.
BY_RULES = {"M2", "M3"}


@lru_cache(4)
def of(name: str, *, with_rules: bool = True) -> Detected:
    """With rules, through a capture and the tap; without, as the simulation has it."""
    return detected(name, with_rules=with_rules, tapped=with_rules)


@pytest.mark.parametrize("name", CLEAN)
def test_what_belongs_there_raises_no_alarm(name: str) -> None:
    found = of(name)
    assert found.events == []
    assert found.alerts == 0


@pytest.mark.parametrize("name", ATTACKED)
def test_every_attack_is_found_by_the_detectors_that_must_speak(name: str) -> None:
    found = of(name)
    missed = {
        attack.name: set(attack.expected) - said
        for attack in found.truth.scenario.attacks
        if not set(attack.expected)
        <= (said := {one.detector for one in about(found, attack)})
    }
    assert missed == {}


@pytest.mark.parametrize("name", ATTACKED)
def test_outside_of_attacks_there_is_no_alarm(name: str) -> None:
    found = of(name)
    assert stray(found) == []


def stray(found: Detected) -> list[Finding]:
    spans = [
        span(found, attack.at, lasts_ns(attack))
        for attack in found.truth.scenario.attacks
    ]
    return [one for one in found.events if not within(one, spans)]


@pytest.mark.slow
def test_a_device_that_restarts_is_missed_and_nothing_else_is_said() -> None:
    found = of("plant-network-fault")
    reboots = [one for one in found.truth.scenario.faults if one.kind == "reboot"]
    spans = [span(found, one.at, nanoseconds(one.lasts)) for one in reboots]
    assert reboots
    assert {one.detector for one in found.events} == {"M9"}
    assert [one for one in found.events if not within(one, spans)] == []


def span(found: Detected, at: str, lasts: int) -> tuple[int, int]:
    begin = found.truth.base_ns + nanoseconds(at)
    return begin, begin + lasts + GRACE_S * NS


def within(finding: Finding, spans: list[tuple[int, int]]) -> bool:
    return any(
        begin <= finding.last_ns and finding.first_ns <= end for begin, end in spans
    )


@pytest.mark.slow
def test_without_a_firewall_the_others_still_speak() -> None:
    found = of("plant-attacks", with_rules=False)
    for attack in found.truth.scenario.attacks:
        said = {one.detector for one in about(found, attack)}
        assert set(attack.expected) - BY_RULES <= said, attack.name
    assert stray(found) == []


# --- Promise 6 ------------------------------------------------------------------------

CANARIES = range(50_000, 60_000)  # no address, count or number of the scenario


def canaried(exchanges: ExchangeBatch) -> ExchangeBatch:
    """Return the same exchanges with canaries for values; they move as values did."""
    size = len(CANARIES) - 27  # a prime would do; neighbours stay neighbours
    return replace(
        exchanges,
        read_values=(CANARIES.start + exchanges.read_values % size).astype(np.uint16),
        write_values=(CANARIES.start + exchanges.write_values % size).astype(np.uint16),
    )


def numbers(part: object) -> Iterator[int]:
    """Yield every number in a record, and in its texts, but times and hashes."""
    if isinstance(part, dict):
        for name, one in part.items():
            if name not in HASHES:
                yield from numbers(one)
    elif isinstance(part, list):
        for one in part:
            yield from numbers(one)
    elif isinstance(part, str):
        yield from map(int, re.findall(r"[0-9]+", part))
    elif isinstance(part, int | float):
        yield int(part)


HASHES = {
    "timestamp", "end", "time", "start_time", "end_time", "time_ns", "uid", "policy",
    "flow_id", "transaction_id",
}  # fmt: skip


@pytest.mark.slow
def test_no_register_value_is_in_an_event_or_an_eve_line() -> None:
    found = detected("plant-attacks", alter=canaried)
    assert {one.detector for one in found.events} >= {"M1", "M2", "M3", "M7"}
    said = [json.loads(event(one, found.context, 0)) for one in found.events]
    eve = EveLines()
    eve.alerts(found.events, found.context)
    view = replace(seen([]), exchanges=found.exchanges, names=found.truth.peers.names)
    for _ in range(3):
        eve.seen(view)
    said += [json.loads(line) for line in eve.take()]
    assert any(one.get("event_type") == "modbus" for one in said)
    told = {number for one in said for number in numbers(one)}
    assert not told & set(CANARIES)
