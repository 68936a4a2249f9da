"""The netlink socket: this machine's kernel answers; what it tells is applied."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from pathlib import Path

import pytest

from agent.adapters.can_watch import CanWatch
from agent.errors import Unavailable
from protocols.can.netlink import Answer

VECTORS = Path(__file__).parents[2] / "protocols" / "can" / "netlink-links.jsonl"


def test_the_kernel_says_that_there_is_no_such_interface() -> None:
    async def story() -> None:
        heard = asyncio.Event()
        watch = CanWatch(["sgnone9"], heard.set)
        watch.open()
        following = asyncio.ensure_future(watch.follow())
        async with asyncio.timeout(20):
            while "sgnone9" not in watch.known:
                heard.clear()
                await heard.wait()
        assert not watch.table.named("sgnone9").exists
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        watch.close()

    asyncio.run(story())


def test_what_was_recorded_is_applied() -> None:
    rows = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    looks: list[str] = []
    watch = CanWatch(
        ["can0"], lambda: looks.append(watch.table.named("can0").condition)
    )
    for row in rows:
        watch._take(bytes.fromhex(row["hex"]))
        watch._tell()
    assert watch.known == {"can0"}
    told = [now for before, now in itertools.pairwise(looks) if now != before]
    assert told == [
        "down", "error-active", "error-warning", "error-passive", "bus-off",
        "error-active", "down",
    ]  # fmt: skip
    watch._apply(Answer(19, 1))  # ENODEV
    assert not watch.table.named("can0").exists


def test_bytes_that_are_no_netlink_end_the_watch() -> None:
    watch = CanWatch(["can0"], lambda: None)
    with pytest.raises(Unavailable, match="rtnetlink"):
        watch._take(b"\1\2\3")
