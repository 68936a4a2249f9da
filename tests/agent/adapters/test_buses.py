"""Buses that come, go, change their names and end: read at once, counted, told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from agent.adapters import buses as module
from agent.adapters.buses import BusReader
from agent.adapters.can_watch import CanWatch
from agent.adapters.socketcan import SocketCanSource
from agent.config import Can
from agent.errors import Unavailable
from agent.sources.losses import Losses
from agent.telemetry.buses import bus_families, bus_states
from protocols.can.netlink import CanLink, LinkTold

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.datagrams import DatagramReceiver
    from agent.ports import FrameSource
    from protocols.frames import FrameBatch


def frame(number: int) -> bytes:
    return struct.pack("=IB3x8s", number & 0x7FF, 4, number.to_bytes(4, "big"))


def link(index: int, *, name: str = "can0", up: bool = True) -> LinkTold:
    told = CanLink(name=name, index=index, is_can=True, kind="vcan", up=up)
    return LinkTold(told, False, 0)


@dataclass
class World:
    """Interfaces of a kernel that are socket pairs here."""

    interfaces: dict[str, int] = field(default_factory=dict)  # name -> index
    ends: dict[int, socket.socket] = field(default_factory=dict)
    opened: list[SocketCanSource] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    troubles: dict[str, str] = field(default_factory=dict)
    taken: list[FrameBatch] = field(default_factory=list)
    watch: CanWatch = field(default_factory=lambda: CanWatch(["can0"], lambda: None))

    def reader(self, **more: str) -> BusReader:
        can = Can(name="body", channel="can0", **more)  # type: ignore[arg-type]  # texts only
        return BusReader(can, self.open, self.losses, self.troubles)

    def open(self) -> FrameSource:
        if "can0" not in self.interfaces:
            raise Unavailable("can0", "no such CAN interface")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        source = SocketCanSource(ours, "can0", batch_frames=64, pause_s=0)
        source.index = self.interfaces["can0"]
        self.ends[source.index] = theirs
        self.opened.append(source)
        return source

    def tell(self, reader: BusReader, *told: LinkTold) -> None:
        """Let the kernel tell this."""
        for one in told:
            self.watch._apply(one)
        reader.look(self.watch, 1)

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not so():  # noqa: ASYNC110  a turn of the loop, and no clock
                await asyncio.sleep(0)

    def run(self, story: Callable[[BusReader], object], **more: str) -> BusReader:
        async def all_of_it() -> None:
            reading = asyncio.ensure_future(reader.run(self.taken.append))
            try:
                await cast("asyncio.Future[None]", story(reader))
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading

        reader = self.reader(**more)
        asyncio.run(all_of_it())
        for end in self.ends.values():
            end.close()
        return reader

    def count(self) -> int:
        return sum(map(len, self.taken))


def test_an_interface_that_appears_is_opened_when_the_kernel_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REOPEN_S", 1e6)  # only netlink can be the reason
    world = World()

    async def story(reader: BusReader) -> None:
        await world.until(lambda: "body" in world.troubles)
        assert world.troubles["body"] == "no such CAN interface"
        world.interfaces["can0"] = 5
        world.tell(reader, link(5))
        await world.until(lambda: bool(world.opened))
        world.ends[5].send(frame(1))
        await world.until(lambda: world.count() == 1)
        assert world.troubles == {}

    reader = world.run(story)
    assert reader.book.frames == 1


def test_a_renamed_interface_is_left_and_its_successor_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REOPEN_S", 1e6)
    world = World({"can0": 5})

    async def story(reader: BusReader) -> None:
        await world.until(lambda: bool(world.opened))
        world.tell(reader, link(5))
        world.ends[5].send(frame(1))
        await world.until(lambda: world.count() == 1)
        world.ends[5].send(frame(2))  # waits in the socket when the name goes
        del world.interfaces["can0"]
        world.tell(reader, link(5, name="diag"))
        world.tell(reader, link(9, name="other"))
        assert world.troubles["body"] == "its interface is called diag now"
        await world.until(lambda: world.opened[0]._socket.fileno() < 0)
        assert world.count() == 2
        world.interfaces["can0"] = 6
        world.tell(reader, link(6))
        await world.until(lambda: len(world.opened) == 2)
        world.ends[6].send(frame(3))
        await world.until(lambda: world.count() == 3)
        assert world.troubles == {}

    world.run(story)


def test_a_socket_that_knows_more_than_netlink_is_not_left() -> None:
    world = World({"can0": 5})

    async def story(reader: BusReader) -> None:
        await world.until(lambda: bool(world.opened))
        reader.look(world.watch, 1)  # nothing was told of can0 yet
        world.tell(reader, link(4, name="other"))
        world.ends[5].send(frame(1))
        await world.until(lambda: world.count() == 1)
        assert world.opened[0]._socket.fileno() >= 0

    world.run(story)


def test_down_is_told_and_the_socket_stays() -> None:
    world = World({"can0": 5})

    async def story(reader: BusReader) -> None:
        await world.until(lambda: bool(world.opened))
        world.tell(reader, link(5))
        world.tell(reader, link(5, up=False))
        assert "interface is down" in world.troubles["body"]
        world.opened[0].is_down = True
        world.tell(reader, link(5))
        assert world.troubles == {}
        world.ends[5].send(frame(1))
        await world.until(lambda: world.count() == 1)
        assert len(world.opened) == 1

    world.run(story)


class Failing:
    """A receiver whose socket has errors to tell, one before the frames that wait."""

    def __init__(self, real: DatagramReceiver, *errors: int) -> None:
        self._real = real
        self._errors = list(errors)

    def receive(self) -> int:
        if self._errors:
            raise OSError(self._errors.pop(0), "x")
        return self._real.receive()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_what_waits_is_read_before_the_end_of_an_interface() -> None:
    world = World({"can0": 5})
    source = cast("SocketCanSource", world.open())
    for number in range(3):
        world.ends[5].send(frame(number))
    source._receiver = cast(
        "DatagramReceiver", Failing(source._receiver, errno.ENETDOWN)
    )
    frames = source.read()
    assert frames is not None
    assert (len(frames), source.is_down) == (3, False)
    assert source.read() is None  # down only: the socket stays
    world.ends[5].send(frame(4))
    source._receiver = cast("DatagramReceiver", Failing(source._receiver, errno.ENODEV))
    frames = source.read()
    assert frames is not None
    assert len(frames) == 1
    with pytest.raises(Unavailable, match="no such CAN interface"):
        source.read()
    source.close()
    world.ends[5].close()


def test_every_loss_has_a_cause_and_openings_add_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What ends the first opening says nothing of a second: it is tried again by time.
    monkeypatch.setattr(module, "REOPEN_S", 0.01)
    world = World({"can0": 5})

    async def story(reader: BusReader) -> None:
        for index in (5, 6):
            world.interfaces["can0"] = index
            world.tell(reader, link(index))
            await world.until(lambda index=index: index in world.ends)
            end = world.ends[index]
            end.send(b"short")
            end.send(bytes(4) + b"\x80" + bytes(67))  # CAN XL
            world.opened[-1]._receiver.dropped += 10
            end.send(frame(1))
            await world.until(lambda index=index: world.count() == index - 4)
            world.opened[-1].leave("gone")
            await world.until(lambda: world.opened[-1]._socket.fileno() < 0)

    reader = world.run(story)
    assert world.losses.totals() == {
        "bus body": 20, "bus body malformed frame": 2, "bus body CAN XL frame": 2,
    }  # fmt: skip
    (state,) = bus_states([reader])
    assert (state.lost, state.skipped, state.controller_lost) == (20, 4, 0)
    assert state.frames == 2
    rows = {
        (family.name, *of.values()): value
        for family in bus_families([reader])
        for of, value in family.rows
    }
    assert rows["bus_frames_total", "body"] == 2
    assert rows["bus_info", "body", "up", "0"] == 1
    assert rows["bus_state_changes_total", "body", "bus-off"] == 0


def test_no_bus_has_no_family() -> None:
    assert [*bus_families([])] == []


def test_a_filter_changes_on_the_open_socket_where_the_owner_wants_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        SocketCanSource, "let_pass", lambda _, pairs: told.append(tuple(pairs))
    )
    pair = (0x123, 0x7FF)

    async def story(reader: BusReader) -> None:
        await world.until(lambda: reader.buffer_bytes > 0)
        reader.let_pass((pair,))
        assert len(world.opened) == 1

    world = World({"can0": 5})
    world.run(story)
    assert told == []  # all frames is the default
    world = World({"can0": 5})
    world.run(story, frames="bound")
    assert told == [(), (pair,)]  # at the opening: no policy yet, nothing is bound
