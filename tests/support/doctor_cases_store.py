"""Cases of store and clock."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.records import Commit
from tests.support.doctor_case import Act, Case
from tests.support.store_cases import opened, spool_record

if TYPE_CHECKING:
    from tests.support.doctor_house import House

MIB = 2**20
DAY_NS = 86_400 * 10**9
AS_ROOT = os.geteuid() == 0


def _machine(**changes: object) -> Act:
    def seed(house: House) -> None:
        for name, value in changes.items():
            setattr(house.machine, name, value)

    return seed


def _file(name: str, body: bytes, mode: int = 0o600) -> Act:
    def seed(house: House) -> None:
        file = house.state / name
        file.write_bytes(body)
        file.chmod(mode)

    return seed


# --- store ----------------------------------------------------------------------------


def _damage(house: House) -> None:
    file = house.state / "store.db"
    body = bytearray(file.read_bytes())
    body[8192 * 2 : 8192 * 2 + 64] = bytes(range(64))
    file.write_bytes(body)


def _restarted(house: House, *commands: str) -> None:
    """Do what is said; a restart of the agent opens the store, and sends from it."""
    assert commands[-1] == "systemctl restart sluicegate"
    for command in commands[:-1]:
        house.run(command)
    store = opened(house.state / "store.db")
    store.next_to_send(64, 64)
    store.close()


def _spooled(house: House, created_ns: int = 0) -> None:
    store = opened(house.state / "store.db")
    now_ns = created_ns or house.machine.clock.now_ns()
    record = replace(spool_record(1, size=1000), created_ns=now_ns)
    store.commit(Commit(records=(record,)))
    store.close()


def _raw(house: House, statement: str, *values: object) -> None:
    raw = sqlite3.connect(house.state / "store.db")
    raw.execute(statement, values)
    raw.commit()
    raw.close()


def _newer(house: House) -> None:
    _raw(house, "CREATE TABLE more (a)")
    _raw(house, "PRAGMA user_version = 99")


def _log(house: House) -> None:
    with (house.state / "store.db-wal").open("wb") as file:
        file.truncate(65 * MIB)


def _old(house: House) -> None:
    _spooled(house, house.machine.clock.now_ns() - 3 * DAY_NS)


def _received(house: House, _: str) -> None:
    store = opened(house.state / "store.db")
    store.confirm_rows([one.row for one in store.next_to_send(64, 64)])
    store.close()


def _store(house: House) -> None:
    house.store()


RESTART = r"run `(systemctl restart sluicegate)`"
STORE = [
    Case(
        "store.schema",
        "newer",
        "bad",
        "schema 99",
        _newer,
        _store,
        mend=(r"or run `(mv [^`]+)`", lambda house, command: house.run(command)),
    ),
    Case(
        "store.damage",
        "page",
        "bad",
        "store.db",
        _damage,
        _store,
        mend=(r"run `(touch [^`]+)`, then " + RESTART, _restarted),
    ),
    Case(
        "store.records",
        "spool",
        "warn",
        "1 spooled messages have changed",
        lambda house: _raw(house, "UPDATE spool SET body = zeroblob(size)"),
        _spooled,
        mend=(RESTART, _restarted),
    ),
    Case(
        "store.log", "large", "warn", "65 MiB", _log, _store, mend=(RESTART, _restarted)
    ),
    Case(
        "store.aside",
        "one",
        "notice",
        "1 files of damaged",
        _file("store.db.damaged-1", b"x"),
    ),
    Case(
        "store.backlog",
        "old",
        "warn",
        "data have waited since",
        _old,
        _store,
        mend=(
            r"let a collector of this fleet receive them: run `(sluicectl collect)",
            _received,
        ),
    ),
    Case(
        "store.spool",
        "full",
        "warn",
        "soon data are shed",
        lambda house: _raw(house, "UPDATE state SET spool_bytes = 4000000"),
        _spooled,
    ),
]


# --- clock ----------------------------------------------------------------------------


def _clock(**changes: object) -> Act:
    return lambda house: setattr(
        house.machine, "clock", replace(house.machine.clock, **changes)
    )


def _seen(house: House) -> None:
    house.store()
    _raw(house, "UPDATE state SET clock_floor_ns = ?", house.machine.clock.now_ns())


CLOCK = [
    Case("clock.floor", "1970", "bad", "1970-01-01", _clock(wall_ns=0)),
    Case("clock.sync", "none", "warn", "no time service", _clock(synchronised=False)),
    Case(
        "clock.history",
        "behind",
        "bad",
        "which the agent has seen",
        _clock(wall_ns=time.time_ns() - 30 * DAY_NS),
        _seen,
    ),
    Case(
        "clock.history",
        "ahead",
        "warn",
        "more than a year",
        _clock(wall_ns=time.time_ns() + 500 * DAY_NS, synchronised=False),
        _seen,
        also=("clock.sync",),
    ),
    Case(
        "clock.zone",
        "Shanghai",
        "notice",
        "Asia/Shanghai",
        _machine(zone_name="Asia/Shanghai"),
    ),
    Case("clock.rtc", "none", "notice", "no clock runs", _machine(has_rtc=False)),
]
CASES = [*STORE, *CLOCK]
