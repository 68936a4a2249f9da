"""Cases of trust."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING

from protocols.bundle import encode_bundle
from tests.support.doctor_case import Case
from tests.support.doctor_machine import Clock
from tests.support.fleet_trust import DAY_S, FleetTrust
from tests.support.policy_bench import EVENTS as BENCH_EVENTS
from tests.support.policy_bench import PolicyBench

if TYPE_CHECKING:
    from tests.support.doctor_house import House

TERMS = {"trial_s": 5, "uplink_s": 3}


# --- trust ----------------------------------------------------------------------------


def _bench(house: House) -> PolicyBench:
    """Make the house a device of a fleet whose policies are pushed."""
    house.write("root.json", "")
    bench = PolicyBench(house.folder, FleetTrust(now_s=int(time.time())))
    (house.folder / "root.json").write_bytes(bench.root)
    for name, value in (
        ("fleet", '"north"'), ("state_dir", '"."'), ("policy", '"local.yaml"'),
        ("bindings", '["sim-vehicle.bindings"]'), ("databases", ""),
    ):  # fmt: skip
        house.set(name, value)
    for number in range(3):
        house.set("interface", '"virtual"', f"[[can]] can{number}")
    house.set("root", '"root.json"', "[trust]")
    house.bench = bench
    return bench


def _live(
    house: House, *, online: bool = True, version: int = 2, **more: object
) -> None:
    async def story() -> None:
        bench = house.bench
        async with bench.running():
            await bench.push(version, BENCH_EVENTS, terms=TERMS, **more)
            bench.uplink.online = online
            await bench.pass_time(6)

    asyncio.run(story())


def _trusting(house: House) -> None:
    _bench(house)
    _live(house)


def _reverted(house: House) -> None:
    _live(house, online=False, version=3)


def _again(house: House, *_: str) -> None:
    _live(house, attempt=2, version=3)


def _damaged(house: House) -> None:
    raw = sqlite3.connect(house.folder / "store.db")
    raw.execute("UPDATE documents SET body = x'00' WHERE name = 'policy.active'")
    raw.commit()
    raw.close()


def _published(house: House, *_: str) -> None:
    _live(house, version=3)


def _renewed(house: House, days: int = 7) -> None:
    async def story() -> None:
        bench = house.bench
        bench.fleet.now_s = house.machine.clock.now_ns() // 10**9
        message = bench.fleet.renew(days)
        async with bench.running():
            await bench.send(encode_bundle(message), "timestamp")

    asyncio.run(story())


def _fresh(house: House, *_: str) -> None:
    clock = house.bench.clock
    clock.wall_ns = max(clock.wall_ns, house.machine.clock.now_ns())
    _renewed(house)


def _expired(house: House) -> None:
    house.machine.clock = Clock(house.machine.clock.now_ns() + 8 * DAY_S * 10**9)


SERVE = (r"^run `(sluicectl policy serve)` where the fleet's online keys are$", _fresh)
TRUST = [
    Case(
        "trust.root",
        "absent",
        "bad",
        "root.json",
        lambda house: (house.folder / "root.json").unlink(),
        _bench,
        mend=(
            r"^copy the fleet's first root\.json .* to (\S+root\.json)$",
            lambda house, _: (house.folder / "root.json").write_bytes(house.bench.root),
        ),
    ),
    Case(
        "trust.policy",
        "none yet",
        "notice",
        "none has come yet",
        _bench,
        mend=(SERVE[0], lambda house, _: _live(house)),
    ),
    Case(
        "trust.policy",
        "reverted",
        "warn",
        "reverted: uplink no link",
        _reverted,
        _trusting,
        mend=(r"^mend what the reason names; .* higher `(attempt)`$", _again),
    ),
    Case(
        "trust.kept",
        "damaged",
        "bad",
        "policy.active",
        _damaged,
        _trusting,
        mend=(r"^publish a bundle again: run `(sluicectl policy publish)`", _published),
    ),
    Case(
        "trust.expiry",
        "soon",
        "warn",
        "good until",
        lambda house: _renewed(house, 1),
        _trusting,
        mend=SERVE,
    ),
    Case(
        "trust.expiry",
        "over",
        "bad",
        "nothing new is taken",
        _expired,
        _trusting,
        mend=SERVE,
    ),
]


CASES = TRUST
