"""Masters are what gives way where few files may be open."""

from __future__ import annotations

import resource

import pytest

from agent.adapters.open_files import allowed
from agent.config import Can, Config, Modbus
from agent.descriptors import BASE, OF_A_SOURCE, STATUS_MAX, fitted, wanted

OURS = BASE + STATUS_MAX + 4 * OF_A_SOURCE


def config() -> Config:
    links = [
        Modbus(name="polled"),
        Modbus(name="small", mode="proxy", masters=10),
        Modbus(name="large", mode="proxy", masters=90),
    ]
    return Config(
        device="gw", fleet="f", state_dir="s", can=[Can(name="can0")], modbus=links
    )


def test_all_masters_have_room_where_the_limit_is_high() -> None:
    assert wanted(config()) == OURS + 100
    assert fitted(config(), wanted(config())) == (config(), "")


def test_masters_share_what_is_left() -> None:
    found, told = fitted(config(), OURS + 50)
    assert [link.masters for link in found.modbus] == [64, 5, 45]
    assert told.startswith(f"{OURS + 50} may be open and 100 masters may come")
    found, _ = fitted(config(), 10)
    assert [link.masters for link in found.modbus] == [64, 1, 1]


@pytest.mark.parametrize(
    ("limits", "asked", "then"),
    [
        ((256, 4096), 300, 300),
        ((256, 4096), 9000, 4096),
        ((1024, 4096), 300, 1024),
        ((256, resource.RLIM_INFINITY), 300, 300),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 300, 300),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], asked: int, then: int
) -> None:
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[0])
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: now.__setitem__(0, to))
    assert allowed(asked) == then
