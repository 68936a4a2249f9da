"""What decides at a start: whatever is damaged or has changed, never none."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from agent.activation import STARTS_MAX, State
from agent.adapters.sqlite_check import check_all
from agent.errors import BadInput, Refused
from agent.store.documents import ACTIVE, STANDING, TRIAL, TRUST
from policies.errors import PolicyError
from tests.support.policy_bench import BATTERY, EVENTS, PolicyBench

if TYPE_CHECKING:
    from pathlib import Path

    from agent.control import Accepted
    from policies.trust import SignedPolicy

TERMS = {"trial_s": 5, "uplink_s": 30}


async def confirmed(bench: PolicyBench, *versions: int) -> None:
    for version in versions:
        await bench.push(version, BATTERY + EVENTS, terms=TERMS)
        await bench.pass_time(6)
        assert bench.last.state == "active"


def damage(bench: PolicyBench, *names: str) -> None:
    """Turn one bit in the middle of each document, as a disk would."""
    raw = sqlite3.connect(bench.folder / "store.db")
    for name in names:
        (body,) = raw.execute(
            "SELECT body FROM documents WHERE name = ?", (name,)
        ).fetchone()
        bad = bytearray(body)
        bad[len(bad) // 2] ^= 4
        raw.execute("UPDATE documents SET body = ? WHERE name = ?", (bytes(bad), name))
    raw.commit()
    raw.close()


def test_a_start_without_damage_goes_on_without_any_network(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
        bench.clock.pass_time(400 * 86_400)  # everything has expired meanwhile
        async with bench.running():
            assert bench.deciding == ("pushed", 2)
            assert bench.last.state == "active"
            assert bench.now.troubles.get("policy") is None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("damaged", "decides"),
    [
        # never version 2, nor the local policy: they might let out more (promise 4)
        ((ACTIVE,), ("lockdown", 1)),
        ((TRUST,), ("pushed", 3)),
        ((STANDING,), ("pushed", 3)),
        ((ACTIVE, STANDING), ("lockdown", 1)),
        ((ACTIVE, STANDING, TRUST), ("lockdown", 1)),
    ],
    ids=lambda one: "+".join(map(str, one)),
)
def test_damage_is_told_and_passed_over_and_the_next_bundle_mends_it(
    tmp_path: Path, damaged: tuple[str, ...], decides: tuple[str, int]
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2, 3)
        damage(bench, *damaged)
        problems = check_all(tmp_path / "store.db")
        assert problems == [
            f"document {name} has changed bytes" for name in sorted(damaged)
        ]
        async with bench.running():
            assert bench.deciding == decides
            if decides != ("pushed", 3):
                assert bench.last.rule == "damaged"
                assert bench.steps()[-1] == "fallback:damaged"
            assert bench.now.troubles["policy"]
            bench.steering.reload()  # which brings no local policy back either
            await bench.pass_time(1)
            assert bench.deciding in {decides, ("pushed", 3)}
            await bench.send(bench.fleet.message())
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 3)
            assert bench.last.state == "active"
        assert check_all(tmp_path / "store.db") == []

    asyncio.run(story())


def test_a_damaged_policy_and_a_bad_local_one_leave_lockdown_never_none(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
        damage(bench, ACTIVE)
        (tmp_path / "local.yaml").write_text("schema: wrong\n", encoding="ascii")
        async with bench.running():
            assert bench.deciding[0] == "lockdown"
            assert (bench.last.state, bench.last.rule) == ("lockdown", "damaged")
            await bench.send(bench.fleet.message())
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 2)

    asyncio.run(story())


def test_bindings_that_broke_leave_lockdown_without_them(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
        broken = PolicyBench(tmp_path, bench.fleet, bindings=["broken.yaml"])
        broken.clock = bench.clock
        (tmp_path / "broken.yaml").write_text("nonsense", encoding="ascii")
        async with broken.running():
            assert broken.deciding[0] == "lockdown"
            assert "broken.yaml" in broken.now.troubles["policy"]
        bench._raw_acks.clear()
        bench._seen = 0
        async with bench.running():  # mended
            assert bench.deciding == ("pushed", 2)

    asyncio.run(story())


def test_where_nothing_was_pushed_a_bad_local_policy_is_the_owners_to_mend(
    tmp_path: Path,
) -> None:
    bench = PolicyBench(tmp_path)
    (tmp_path / "local.yaml").write_text("schema: wrong\n", encoding="ascii")
    with pytest.raises((BadInput, PolicyError, Refused)):
        bench.open()
    bench.thread._pool.shutdown()


def test_a_stricter_floor_takes_a_pushed_policy_back_at_the_next_start(
    tmp_path: Path,
) -> None:
    """Promise 8: remote cannot go below the local floor, not even afterwards."""
    floor = (
        "schema: sluicegate/floor/1\nrules:\n"
        "  - {name: mine, match: {category: energy.state}, never_leaves: true}\n"
    )

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
        (tmp_path / "floor.yaml").write_text(floor, encoding="ascii")
        strict = PolicyBench(tmp_path, bench.fleet, floor="floor.yaml")
        strict.clock = bench.clock
        async with strict.running():
            assert strict.deciding[0] == "lockdown"
            assert "floor" in strict.now.troubles["policy"]

    asyncio.run(story())


def test_too_many_starts_in_a_trial_take_the_policy_back(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, terms={"trial_s": 600, "restarts_max": 2})
            assert bench.last.state == "trial"
        for _ in range(2):
            async with bench.running():
                assert (bench.last.state, bench.deciding[1]) == ("trial", 2)
        async with bench.running():
            assert (bench.last.state, bench.last.rule) == ("reverted", "restarts")
            assert bench.deciding == ("local", 1)
            assert bench.steps()[-1] == "reverted:restarts"
            await bench.send(bench.fleet.message())  # not again by itself
            await bench.pass_time(5)
            assert bench.deciding == ("local", 1)
            assert bench.last.state == "reverted"
            bench.fleet.roll_out(2, attempt=2)
            await bench.send(bench.fleet.message())
            assert bench.last.state == "trial"

    asyncio.run(story())


def test_a_damaged_candidate_is_taken_back_at_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
            await bench.push(3, EVENTS, terms={"trial_s": 600})
            assert bench.deciding == ("pushed", 3)
        damage(bench, TRIAL)
        async with bench.running():
            assert bench.deciding == ("pushed", 2)
            assert (bench.last.state, bench.last.rule) == ("reverted", "damaged")

    asyncio.run(story())


def test_salvage_keeps_the_documents_that_are_whole(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2, 3)
        damage(bench, STANDING)
        raw = sqlite3.connect(tmp_path / "store.db")
        raw.execute("UPDATE state SET spool_bytes = 12345")  # met by every open
        raw.commit()
        raw.close()
        async with bench.running():
            assert bench.store.broken is not None
            assert bench.deciding == ("pushed", 3)
            assert bench.store.document(TRUST) is not None
            assert bench.last.state == "active"
            assert bench.publisher.boots == 2  # acks go on to rise

    asyncio.run(story())


def test_a_candidate_that_ends_the_process_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the compiler must not become a gateway that starts for ever."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
            bench.listed(3, EVENTS, terms=TERMS)
            bench.fleet.roll_out(3)
        message, good = bench.fleet.message(), bench._load

        def broken(signed: SignedPolicy) -> Accepted:
            if signed.version == 3:
                raise ZeroDivisionError
            return good(signed)

        monkeypatch.setattr(bench, "_load", broken)
        lives = 0
        while bench.recorder.standing.state is not State.REFUSED:
            lives += 1
            assert lives < 9
            with contextlib.suppress(ExceptionGroup):
                async with bench.running():
                    assert bench.deciding == ("pushed", 2)
                    await bench.send(message)
        assert lives == STARTS_MAX + 2
        assert (bench.last.state, bench.last.rule) == ("refused", "restarts")

    asyncio.run(story())


def test_a_floor_above_what_is_active_takes_nothing_from_who_waits(
    tmp_path: Path,
) -> None:
    """Whose turn it is not keeps what it confirmed, looser local files or not."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2, 3)
            await bench.push(4, min_version=4, upto=0)
            assert (bench.last.state, bench.deciding) == ("waiting", ("pushed", 3))
        async with bench.running():
            assert bench.deciding == ("pushed", 3)
            assert bench.now.troubles.get("policy") is None
        damage(bench, ACTIVE)  # and no other one comes back in its place
        async with bench.running():
            assert bench.deciding == ("lockdown", 1)

    asyncio.run(story())
