"""The newest of each kind waits; everything that came is acknowledged in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from agent.adapters.policy.inbox import (
    BUNDLE,
    BYTES_MAX,
    COMMANDS_WAITING_MAX,
    TIMESTAMP,
    PolicyInbox,
)
from agent.errors import Refused, Unavailable
from agent.records import Incoming
from tests.support.policy_parts import Wire

if TYPE_CHECKING:
    from agent.ports import Link

TOPIC = "sg/1/north/policy/bundle"
COMMAND = "sg/1/north/gw-1/command"


def message(topic: str, body: bytes, number: int = 1) -> Incoming:
    return Incoming(topic, body, False, 1, number)


async def taken(inbox: PolicyInbox, wire: Wire, *messages: Incoming) -> None:
    for one in messages:
        await inbox.take(cast("Link", wire), one)


def test_topics_are_the_fleets_and_our_own() -> None:
    inbox = PolicyInbox("north", "gw-1")
    assert inbox.topics == (TOPIC, "sg/1/north/policy/timestamp", COMMAND)


def test_the_newest_waits_and_the_older_is_acknowledged_unread() -> None:
    async def story() -> None:
        inbox, wire = PolicyInbox("north", "gw-1"), Wire()
        bodies = [b"%d" % number for number in range(5)]
        await taken(inbox, wire, *(message(TOPIC, body) for body in bodies))
        assert [one.body for one in wire.acknowledged] == bodies[:4]
        assert inbox.superseded == 4
        assert await inbox.wait(0)
        letter = inbox.newest(BUNDLE)
        assert letter is not None
        assert letter.body == bodies[4]
        assert inbox.newest(BUNDLE) is inbox.newest(TIMESTAMP) is None
        assert len(wire.acknowledged) == 4
        await letter.dealt_with()
        assert len(wire.acknowledged) == 5
        assert not await inbox.wait(0)

    asyncio.run(story())


def test_commands_wait_in_order_and_their_number_is_bounded() -> None:
    async def story() -> None:
        inbox, wire = PolicyInbox("north", "gw-1"), Wire()
        many = COMMANDS_WAITING_MAX + 3
        await taken(inbox, wire, *(message(COMMAND, b"%d" % n) for n in range(many)))
        assert [one.body for one in inbox.commands()] == [
            b"%d" % n for n in range(3, many)
        ]
        assert len(wire.acknowledged) == 3

    asyncio.run(story())


def test_size_is_looked_at_topic_by_topic() -> None:
    async def story() -> None:
        inbox, wire = PolicyInbox("north", "gw-1"), Wire()
        size = BYTES_MAX["command"]
        for body, good in ((bytes(size), True), (bytes(size + 1), False)):
            await taken(inbox, wire, message(COMMAND, body), message(TOPIC, body))
            (letter,) = inbox.commands()
            if good:
                letter.check_size()
            else:
                with pytest.raises(Refused, match="size") as caught:
                    letter.check_size()
                assert COMMAND in caught.value.reason
            bundle = inbox.newest(BUNDLE)
            assert bundle is not None
            bundle.check_size()

    asyncio.run(story())


def test_a_link_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(_: object) -> None:
        raise Unavailable("mqtt", "lost")

    async def story() -> None:
        inbox, wire = PolicyInbox("north", "gw-1"), Wire()
        monkeypatch.setattr(wire, "acknowledge", gone)
        await taken(inbox, wire, message(TOPIC, b"1"), message(TOPIC, b"2"))
        letter = inbox.newest(BUNDLE)
        assert letter is not None
        await letter.dealt_with()  # it comes again with the next connection

    asyncio.run(story())
