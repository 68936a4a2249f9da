"""Evidence pages and states on a link in memory: order, rate, numbers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.publisher import Publisher
from agent.adapters.store_thread import StoreThread
from agent.records import Commit
from protocols.audit import parse_page
from protocols.signed import open_signed
from protocols.tlog.checkpoint import open_checkpoint
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from agent.records import Incoming, Outgoing


class Quick(SystemClock):
    """A clock whose sleeps are over at once; adds them up."""

    slept = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


class Link:
    """Answers every publish with ``code``; ends the test after ``many``."""

    window = 64

    def __init__(self, code: int, many: int) -> None:
        self.sent: list[Outgoing] = []
        self.full = asyncio.Event()
        self._code, self._many = code, many

    async def publish(self, message: Outgoing) -> int:
        await asyncio.sleep(0)
        self.sent.append(message)
        if len(self.of("audit")) >= self._many:
            self.full.set()
        return self._code

    def wait_for(self, many: int) -> None:
        self._many = many
        self.full.clear()

    def of(self, kind: str) -> list[Outgoing]:
        return [one for one in self.sent if one.topic.endswith(kind)]

    async def subscribe(self, topics: Sequence[str]) -> None:
        raise NotImplementedError

    def messages(self) -> AsyncIterator[Incoming]:
        raise NotImplementedError

    async def acknowledge(self, message: Incoming) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def state(number: int, online: bool) -> bytes:
    return json.dumps([number, online]).encode()


async def published(folder: Path, code: int, many: int) -> tuple[Link, Quick]:
    store = opened(folder / "store.db")
    store.commit(Commit(evidence=tuple(b"entry %d" % n for n in range(1200))))
    signer = load_or_create(folder / "device.key", "gw-1")
    clock, link = Quick(), Link(code, many)
    publisher = Publisher(("test", "gw-1"), signer, clock, state, 10**15)
    publisher.will()
    with StoreThread().working() as thread, pytest.MonkeyPatch.context() as patch:
        # The turns in between, which no clock that is given times.
        patch.setattr("agent.adapters.publisher.PAGE_EVERY_S", 0.01)
        running = asyncio.create_task(publisher.run(link, store, thread))
        async with asyncio.timeout(20):
            await link.full.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    page = parse_page(link.of("audit")[0].body)
    origin = f"sluicegate/test/gw-1/{store.log_id.hex()}"
    note = open_checkpoint(page.checkpoint, origin, signer.public_key())
    assert (note.size, note.root) == (512, store.root_at(512))
    last = store.last_checkpoint()
    assert last is not None
    assert last[2] == page.checkpoint  # stored before it was published
    body = open_signed("state", link.of("state")[0].body, signer.public_key())
    assert json.loads(body)[1] is True
    store.close()
    return link, clock


def test_pages_go_out_in_order_and_only_the_first_is_signed(tmp_path: Path) -> None:
    link, _ = asyncio.run(published(tmp_path, 0, 3))
    pages = [parse_page(one.body) for one in link.of("audit")]
    assert [(p.start, len(p.entries)) for p in pages] == [
        (0, 512),
        (512, 512),
        (1024, 176),
    ]
    assert [bool(p.checkpoint) for p in pages] == [True, False, False]
    assert all(one.retain for one in link.of("state"))


def test_without_a_listener_the_same_page_is_tried_ever_more_seldom(
    tmp_path: Path,
) -> None:
    link, clock = asyncio.run(published(tmp_path, 0x10, 3))
    starts = [parse_page(one.body).start for one in link.of("audit")]
    assert starts == [0, 0, 0]
    assert clock.slept >= 1 + 2


def test_a_collector_that_lost_its_archive_gets_what_is_left(tmp_path: Path) -> None:
    """Its receipt names fewer entries than are pruned: nothing is damaged by it."""

    async def story() -> list[tuple[int, int]]:
        store = opened(tmp_path / "store.db")
        store.commit(Commit(evidence=tuple(b"entry %d" % n for n in range(600))))
        store.add_checkpoint(500, store.root_at(500), b"note")
        assert store.evidence_receipted(*store.root())
        assert store.prune(500, 1000, lambda _gone: b"pruned") is not None
        signer = load_or_create(tmp_path / "device.key", "gw-1")
        link = Link(0, 1)
        publisher = Publisher(("test", "gw-1"), signer, Quick(), state, 10**15)
        publisher.will()
        with StoreThread().working() as thread:
            running = asyncio.create_task(publisher.run(link, store, thread))
            async with asyncio.timeout(20):
                await link.full.wait()
                assert await thread.run(store.evidence_receipted, 10, bytes(32))
                link.wait_for(2)
                publisher.receipted(10)
                await link.full.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        store.close()
        pages = [parse_page(one.body) for one in link.of("audit")]
        return [(page.start, len(page.entries)) for page in pages]

    assert asyncio.run(story()) == [(600, 1), (500, 101)]
