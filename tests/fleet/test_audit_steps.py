"""Steps of pushed policies as an auditor reads them; the device's own log holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from agent.activation import NEXT, State
from fleet.audit.entries import Change, decode_entry
from fleet.audit.sources import verify_store
from fleet.audit.steps import FOLLOWS, Steps
from tests.support.policy_bench import BATTERY, EVENTS, PolicyBench

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = b"o" * 32, b"n" * 32


@dataclass
class Log:
    steps: Steps
    before: bytes = OLD

    def say(self, step: str, policy: bytes, **more: object) -> list[str]:
        told = {"digest": NEW, "version": 3, "before": self.before} | more
        self.before = policy
        entry = Change(
            v=1,
            ts=0,
            boot=b"",
            n=0,
            policy=policy,
            step=step,
            name="p",
            **told,  # type: ignore[arg-type]  # fields by name
        )
        return self.steps.take(entry)


@pytest.fixture
def log() -> Log:
    return new_log()


def new_log() -> Log:
    found = Log(Steps())
    found.steps.take(
        Change(v=1, ts=0, boot=b"", n=0, policy=OLD, step="active", name="local")
    )
    return found


def test_the_way_to_confirmed_and_the_way_back_hold(log: Log) -> None:
    for step, policy in [
        ("metadata", OLD), ("verified", OLD), ("staged", OLD), ("trial", NEW),
        ("fresh", NEW), ("trial", NEW), ("active", NEW),
    ]:  # fmt: skip
        assert log.say(step, policy) == [], step
    back = new_log()
    for step, policy in [
        ("verified", OLD), ("staged", OLD), ("trial", NEW), ("reverted", OLD),
        ("verified", OLD), ("refused", OLD),
    ]:  # fmt: skip
        assert back.say(step, policy) == [], step


@pytest.mark.parametrize(
    ("way", "problem"),
    [
        ([("trial", NEW)], "'trial' after 'nothing'"),
        ([("verified", OLD), ("trial", NEW)], "'trial' after 'verified'"),
        ([("verified", OLD), ("staged", NEW)], "changed who decides"),
        ([("verified", OLD), ("staged", OLD), ("active", NEW)], "'active' after 'sta"),
        ([("verified", OLD), ("staged", OLD), ("trial", OLD)], "another decides"),
        ([("verified", OLD), ("reverted", OLD)], "'reverted' after 'verified'"),
        ([("crowned", NEW)], "is no step"),
    ],
)
def test_a_step_left_out_is_told(
    log: Log, way: list[tuple[str, bytes]], problem: str
) -> None:
    found = [text for step, policy in way for text in log.say(step, policy)]
    assert any(problem in text for text in found), found


def test_another_candidate_may_not_take_the_place_of_what_was_staged(log: Log) -> None:
    log.say("verified", OLD)
    log.say("staged", OLD)
    found = log.say("trial", b"x" * 32, digest=b"x" * 32)
    assert found == ["policy 3: 'trial' after 'staged'"]


def test_a_weakening_names_two_people_or_is_a_problem(log: Log) -> None:
    log.say("verified", OLD)
    log.say("staged", OLD)
    alone = log.say("trial", NEW, weakens=2, approvers=("alice", "alice"))
    assert alone == [
        "policy 3: weakens 2 important or core items, approved by 1 of two people"
    ]
    assert log.say("trial", NEW, weakens=2, approvers=("bob", "alice")) == []
    assert log.steps.notes == [
        "policy 3 weakens 2 important or core items, approved by alice, bob"
    ]


def test_both_tables_say_the_same() -> None:
    """The agent's and the auditor's were written apart."""
    ours = {
        to.value: {frm.value for (frm, _), told in NEXT.items() if told is to}
        for to in (State.STAGED, State.REFUSED, State.TRIAL, State.REVERTED)
    }
    theirs = {step: FOLLOWS[step] - {step} for step in ours}
    assert ours == theirs


def test_the_log_of_a_device_holds(tmp_path: Path) -> None:
    terms = {"trial_s": 5, "uplink_s": 3}

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, EVENTS, terms=terms)
            await bench.pass_time(6)
            await bench.push(3, BATTERY, terms=terms)
            bench.uplink.online = False
            await bench.pass_time(5)
            bench.uplink.online = True
            await bench.push(4, BATTERY + EVENTS, terms=terms)
        async with bench.running():
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 4)
            steps = Steps()
            for body in bench.store.evidence_since(0, 1000):
                entry = decode_entry(body)
                if isinstance(entry, Change):
                    assert steps.take(entry) == []

    asyncio.run(story())
    report = verify_store(tmp_path / "store.db", bytes(32))
    assert not [text for text in report.problems if "policy" in text]
