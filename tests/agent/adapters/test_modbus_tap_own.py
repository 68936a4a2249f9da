"""Whose exchanges a tap leaves out: this gateway's own, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from agent.adapters.modbus import tap as taps
from agent.adapters.modbus.tap import NetworkTap
from agent.adapters.modbus.tap_places import Known
from agent.config import Modbus, Tap
from protocols.modbus.peers import OTHERS, PEERS_MAX, Peers
from tests.support.tapped import SECOND, Talk, batch

PLC, OURS, STRANGER = "10.0.0.20", "10.0.0.1", "10.0.0.66"


class Clock:
    def now_ns(self) -> int:
        return 1_700_000_000 * SECOND


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is opened, and our address is known."""
    known = Known({(PLC, 502): 0}, frozenset({OURS}))
    monkeypatch.setattr(taps, "known_places", lambda *_: known)
    monkeypatch.setattr(taps, "TapSocket", lambda *_: None)


def heard(peers: Peers) -> list[tuple[str, str]]:
    """Return who asked whom, of one poll of ours and one of a stranger."""
    clock: Any = Clock()
    tap = NetworkTap(
        Tap(name="cell", interface="eth1"), [Modbus(name="plc1", host=PLC)], peers,
        clock,
    )  # fmt: skip
    tap.open()
    talks = [Talk((client, 4000)).open() for client in (OURS, STRANGER)]
    for talk in talks:
        talk.poll(1)
    assert tap._streams is not None
    pairs = tap._streams.feed(batch([row for talk in talks for row in talk.rows]))
    told = tap._others(pairs)
    assert tap.own + len(told) == 2
    return sorted(
        (peers.name(int(told.client[row])), peers.name(int(told.server[row])))
        for row in range(len(told))
    )


def test_what_we_ask_ourselves_is_left_out() -> None:
    assert heard(Peers()) == [(STRANGER, PLC)]


def test_whoever_fills_the_table_of_peers_hides_nobody() -> None:
    peers = Peers()
    for number in range(PEERS_MAX):
        peers.number(f"10.9.{number >> 8}.{number & 255}")
    assert peers.number(OURS) == OTHERS
    others = (peers.name(OTHERS), peers.name(OTHERS))
    assert heard(peers) == [others, others]
