"""Whose turn it is: cohorts, windows, pauses, aborts, attempts, and what supersedes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.errors import Refused
from policies.rollout import slot
from protocols.bundle import encode_bundle
from tests.support.policy_bench import BATTERY, DEVICE, EVENTS, PolicyBench

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from agent.control import Accepted
    from policies.trust import SignedPolicy

TERMS = {"trial_s": 10, "uplink_s": 5}
SLOT = slot("00" * 8, DEVICE)


def told(
    folder: Path, story: Callable[[PolicyBench], Coroutine[object, object, None]]
) -> None:
    async def run() -> None:
        bench = PolicyBench(folder)
        async with bench.running():
            await story(bench)

    asyncio.run(run())


async def rolled_out(bench: PolicyBench, candidate: int, **fields: object) -> None:
    """Sign only the rollout anew, and let the device look at it."""
    bench.fleet.roll_out(candidate, **fields)  # type: ignore[arg-type]  # fields by name
    await bench.send(encode_bundle(bench.fleet.publish(targets=False)))


async def confirmed(bench: PolicyBench, version: int, rules: str = EVENTS) -> None:
    await bench.push(version, rules, terms=TERMS)
    await bench.pass_time(11)
    assert bench.deciding == ("pushed", version)


def test_widening_reaches_the_device_at_its_slot(tmp_path: Path) -> None:
    async def story(bench: PolicyBench) -> None:
        await bench.push(2, terms=TERMS, upto=SLOT)
        last = bench.last
        assert (last.state, last.reason) == ("waiting", "not in the cohort")
        assert (last.slot, last.candidate_version, last.policy_version) == (SLOT, 2, 1)
        assert bench.steps() == ["metadata"]  # newer metadata are kept, with evidence
        await bench.pass_time(5)
        assert bench.states.count("waiting") == 1  # told once
        await rolled_out(bench, 2, upto=SLOT + 1)
        assert bench.last.state == "trial"

    told(tmp_path, story)


def test_groups_and_names_decide_too(tmp_path: Path) -> None:
    async def story(bench: PolicyBench) -> None:
        await bench.push(2, terms=TERMS, groups=["west"])
        assert bench.last.state == "waiting"
        await rolled_out(bench, 2, groups=["east", "west"])
        assert bench.last.state == "trial"

    told(tmp_path, story)


def test_a_window_opens_by_itself(tmp_path: Path) -> None:
    """It is ten o'clock; nothing more needs to come for eleven."""

    async def story(bench: PolicyBench) -> None:
        await bench.push(2, terms=TERMS, window="11:00-12:00 +00:00")
        assert bench.last.state == "waiting"
        assert "outside" in bench.last.reason
        await bench.pass_time(3590, step_s=60)
        assert bench.last.state == "waiting"
        await bench.pass_time(11, step_s=11)
        assert bench.last.state == "trial"

    told(tmp_path, story)


def test_a_window_opens_by_itself_after_a_restart_without_a_bundle(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, terms=TERMS, window="11:00-12:00 +00:00")
        bench.clock.pass_time(3700)
        async with bench.running():
            await bench.pass_time(1)
            assert bench.last.state == "trial"

    asyncio.run(run())


def test_a_pause_stops_who_has_not_begun_and_nobody_else(tmp_path: Path) -> None:
    async def story(bench: PolicyBench) -> None:
        await bench.push(2, terms=TERMS)
        assert bench.last.state == "trial"
        await rolled_out(bench, 2, state="paused")
        await bench.pass_time(11)
        assert bench.last.state == "active"
        bench.listed(3, BATTERY, terms=TERMS)
        bench.fleet.roll_out(3, state="paused")
        await bench.send(bench.fleet.message())
        assert (bench.last.state, bench.last.reason) == ("waiting", "paused")
        assert bench.deciding == ("pushed", 2)

    told(tmp_path, story)


def test_an_abort_takes_a_candidate_on_trial_back(tmp_path: Path) -> None:
    async def story(bench: PolicyBench) -> None:
        await confirmed(bench, 2)
        await bench.push(3, BATTERY, terms=TERMS)
        assert bench.deciding == ("pushed", 3)
        await rolled_out(bench, 3, state="aborted")
        assert (bench.last.state, bench.last.rule) == ("reverted", "aborted")
        assert bench.deciding == ("pushed", 2)
        await bench.pass_time(5)
        assert (bench.last.state, bench.last.candidate_version) == ("reverted", 3)

    told(tmp_path, story)


def test_an_abort_takes_a_confirmed_candidate_back_to_the_stable_one(
    tmp_path: Path,
) -> None:
    async def story(bench: PolicyBench) -> None:
        await confirmed(bench, 2)
        await confirmed(bench, 3, BATTERY)
        await rolled_out(bench, 3, stable=2, state="aborted")
        assert (bench.last.state, bench.last.candidate_version) == ("trial", 2)
        await bench.pass_time(5)
        assert bench.last.state == "trial"  # the abort is no end of this trial
        await bench.pass_time(11)
        assert bench.deciding == ("pushed", 2)
        assert bench.last.state == "active"

    told(tmp_path, story)


def test_a_newer_candidate_supersedes_the_one_on_trial(tmp_path: Path) -> None:
    async def story(bench: PolicyBench) -> None:
        await confirmed(bench, 2)
        await bench.push(3, BATTERY, terms=TERMS)
        await bench.push(4, BATTERY + EVENTS, terms=TERMS)
        assert bench.deciding == ("pushed", 4)
        assert bench.steps()[-4:] == [
            "reverted:superseded", "verified", "staged", "trial",
        ]  # fmt: skip
        assert bench.steering.confirmed.compiled.policy.version == 2

    told(tmp_path, story)


@pytest.mark.parametrize("how", ["refused", "reverted"])
def test_what_failed_here_is_tried_again_only_when_somebody_asks(
    tmp_path: Path, how: str
) -> None:
    async def story(bench: PolicyBench) -> None:
        text = None
        if how == "refused":  # parses, and lint refuses it: nobody may see no purpose
            text = b"schema: sluicegate/policy/1\nname: pushed\nversion: 2\n"
        await bench.push(2, terms=TERMS, text=text)
        if how == "reverted":
            bench.uplink.online = False
            await bench.pass_time(7)
            bench.uplink.online = True
        assert bench.last.state == how
        tried = bench.steps().count("verified")
        await bench.pass_time(5)
        await rolled_out(bench, 2, upto=9999)  # a newer signature, the same attempt
        assert bench.last.state == how
        assert bench.steps().count("verified") == tried
        await rolled_out(bench, 2, attempt=2)
        assert bench.steps().count("verified") == tried + 1

    told(tmp_path, story)


def test_what_decides_already_is_told_as_active(tmp_path: Path) -> None:
    async def story(bench: PolicyBench) -> None:
        await confirmed(bench, 2)
        steps = bench.steps()
        await rolled_out(bench, 2, attempt=7)
        assert (bench.last.state, bench.last.attempt) == ("active", 7)
        assert bench.steps() == [*steps, "metadata"]

    told(tmp_path, story)


def test_metadata_without_a_rollout_change_nothing_that_decides(
    tmp_path: Path,
) -> None:
    async def story(bench: PolicyBench) -> None:
        bench.listed(2)
        await bench.send(bench.fleet.message())
        assert (bench.last.state, bench.last.reason) == ("waiting", "no rollout")
        assert bench.deciding == ("local", 1)

    told(tmp_path, story)


def test_a_policy_that_every_start_would_wait_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(bench: PolicyBench) -> None:
        load = bench.feed._load

        def slow(signed: SignedPolicy) -> Accepted:
            bench.clock.pass_time(31)
            return load(signed)

        monkeypatch.setattr(bench.feed, "_load", slow)
        await bench.push(2)
        assert (bench.last.state, bench.last.rule) == ("refused", "slow")
        assert bench.deciding == ("local", 1)

    told(tmp_path, story)


def test_a_reload_while_a_candidate_is_weighed_weighs_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner has made the floor stricter: the candidate meets the new one."""

    async def story(bench: PolicyBench) -> None:
        load, loads = bench.feed._load, 0

        def changed(signed: SignedPolicy) -> Accepted:
            nonlocal loads
            loads += 1
            if loads == 1:
                bench.steering.reloads += 1  # as a signal would, on the loop
                return load(signed)
            raise Refused("floor", "mine: never leaves this device")

        monkeypatch.setattr(bench.feed, "_load", changed)
        await bench.push(2)
        assert (bench.last.state, bench.last.rule) == ("refused", "floor")
        assert "trial" not in bench.states

    told(tmp_path, story)


def test_an_answer_from_before_our_news_is_asked_for_again_soon(
    tmp_path: Path,
) -> None:
    """Each nonce is answered once: a desk that was behind must not cost an hour."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            nonce = bench.recorder.nonce
            await bench.push(2)
            behind = bench.fleet.answer(nonce, DEVICE)
            await bench.renew()
            await bench.send(behind, "command")
            assert bench.refusal == "rollback"
            await bench.pass_time(5)
            assert bench.recorder.nonce == nonce
            await bench.pass_time(10)
            assert bench.recorder.nonce not in {"", nonce}
            await bench.answer()
            assert not bench.recorder.nonce

    asyncio.run(story())
