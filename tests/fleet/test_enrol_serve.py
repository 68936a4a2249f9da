"""`enrol serve`: what is wrong with one device's files ends nobody else's renewals."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from fleet.enrol import serve
from fleet.enrol.serve import Server
from fleet.errors import BadInput
from fleet.link import BrokerOptions

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator

    import pytest

    from fleet.enrol.desk import Desk
    from protocols.enrolment import Answer


class Damaged:
    def renewed(self, device: str, message: bytes, now: dt.datetime) -> Answer:
        del message, now
        raise BadInput(f"devices/{device}.issued.json", "", "is damaged")


class Link:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged = 0

    async def subscribe(self, _: list[str]) -> None:
        pass

    async def messages(self) -> AsyncIterator[object]:
        for device in ("gw-1", "gw-2"):
            topic = SimpleNamespace(value=f"sg/1/north/{device}/enrol")
            yield SimpleNamespace(topic=topic, payload=b"request")
        self.server.stop()

    def acknowledge(self, _: object) -> None:
        self.acknowledged += 1

    async def close(self) -> None:
        pass


def test_a_damaged_file_of_one_device_is_told_and_the_next_one_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    options = BrokerOptions("127.0.0.1", 1, "enrol", "", "", "")
    desk = cast("Desk", Damaged())
    server = Server("north", desk, options, lambda what, why: said.append(what + why))
    link = Link(server)

    async def connect(_: BrokerOptions) -> Link:
        return link

    monkeypatch.setattr(serve, "connect", connect)
    asyncio.run(server.run())
    assert link.acknowledged == server.refused == 2  # else the broker brings it again
    assert [one.startswith("refused") for one in said[1:3]] == [True, True]
    assert "gw-1.issued.json: is damaged" in said[1]
