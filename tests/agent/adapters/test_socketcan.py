"""Raw SocketCAN: the receive engine on sockets that exist here, and clear refusals.

The kernel of a container often has no CAN. The structs, the batching and the control
messages are the same on a UNIX datagram socket and on UDP, where the kernel fills them.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters import datagrams, socketcan
from agent.adapters.datagrams import DatagramReceiver, parse_control, prepare_socket
from agent.adapters.socketcan import (
    FRAME_BYTES,
    FRAMES_A_SECOND_MAX,
    PAUSE_S,
    SocketCanSource,
    encode_filters,
    open_socketcan,
    pause_for,
)
from agent.errors import BadInput, Unavailable
from agent.sources.bus_filter import exactly
from protocols.frames import concat_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.frames import FrameBatch

SLACK_NS = 100_000_000


def classic(ident: int, data: bytes) -> bytes:
    return struct.pack("=IB3x8s", ident, len(data), data)


def flexible(ident: int, data: bytes, flags: int = 4) -> bytes:
    return struct.pack("=IBB2x64s", ident, len(data), flags, data)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, SocketCanSource]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    source = SocketCanSource(ours, "can0", bus=3, batch_frames=64, pause_s=0)
    yield theirs, source
    source.close()
    theirs.close()


def test_classic_and_fd_frames_come_as_columns(
    pair: tuple[socket.socket, SocketCanSource],
) -> None:
    bus, source = pair
    before = time.time_ns()
    bus.send(classic(0x123, b"\1\2\3"))
    bus.send(flexible(0x92345678, b"x" * 64, 1))
    bus.send(classic(0x40000123, b""))
    bus.send(classic(0x20000004, bytes(8)))
    frames = source.read()
    assert frames is not None
    assert frames.ident.tolist() == [0x123, 0x92345678, 0x40000123, 0x20000004]
    assert frames.size.tolist() == [3, 64, 0, 8]
    assert frames.flags.tolist() == [0, 5, 0, 0]
    assert frames.bus.tolist() == [3] * 4
    assert frames.payload[0, :4].tolist() == [1, 2, 3, 0]
    assert frames.payload[1].tobytes() == b"x" * 64
    assert (np.diff(frames.time_ns) >= 0).all()
    assert before <= frames.time_ns[0] <= time.time_ns()
    assert source.read() is None


def test_what_is_no_frame_is_counted(
    pair: tuple[socket.socket, SocketCanSource],
) -> None:
    bus, source = pair
    bus.send(b"short")
    bus.send(bytes(4) + b"\x80" + bytes(67))  # CAN XL
    bus.send(bytes(500))  # larger than any slot
    bus.send(struct.pack("=IB3x8s", 1, 9, b""))
    bus.send(classic(1, b"ok"))
    frames = source.read()
    assert frames is not None
    assert frames.ident.tolist() == [1]
    assert source.skipped == {"CAN XL frame": 1, "malformed frame": 3}


def test_a_slot_keeps_nothing_of_the_frame_before(
    pair: tuple[socket.socket, SocketCanSource],
) -> None:
    bus, source = pair
    bus.send(flexible(1, b"\xff" * 64))
    source.read()
    bus.send(classic(2, b"\1"))
    frames = source.read()
    assert frames is not None
    assert frames.payload.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]


async def _collect(source: SocketCanSource, count: int) -> list[FrameBatch]:
    got: list[FrameBatch] = []
    async with contextlib.aclosing(source.batches()) as batches:
        async for batch in batches:
            got.append(batch)
            if sum(map(len, got)) >= count:
                break
    return got


def test_batches_wake_for_frames_and_keep_their_order(
    pair: tuple[socket.socket, SocketCanSource],
) -> None:
    bus, source = pair
    bus.setblocking(False)

    async def run() -> list[FrameBatch]:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(_collect(source, 1000))
        for n in range(1000):
            await loop.sock_sendall(bus, classic(n & 0x7FF, n.to_bytes(4, "big")))
        return await asyncio.wait_for(task, 20)

    frames = concat_frames(asyncio.run(run()))
    numbers = frames.payload[:, :4].copy().view(">u4")[:, 0]
    assert numbers.tolist() == list(range(1000))
    assert source.lost() == 0


def test_a_bus_that_is_faster_than_it_is_read_keeps_the_loop_from_nobody(
    pair: tuple[socket.socket, SocketCanSource],
) -> None:
    bus, source = pair
    turns = []

    async def other() -> None:
        while True:
            turns.append(source.turns)
            await asyncio.sleep(0)

    async def run() -> int:
        task = asyncio.ensure_future(other())
        bus.send(classic(1, b""))
        async with contextlib.aclosing(source.batches()) as batches:  # type: ignore[type-var]  # an async generator, declared as an iterator
            async for _ in batches:
                if source.turns >= 50:
                    break
                bus.send(classic(1, b""))  # the next one is there before we look again
        task.cancel()
        return len(set(turns))

    assert asyncio.run(run()) > 10


def test_close_ends_the_batches(pair: tuple[socket.socket, SocketCanSource]) -> None:
    _, source = pair

    async def run() -> list[FrameBatch]:
        task = asyncio.ensure_future(_collect(source, 1))
        asyncio.get_running_loop().call_soon(source.close)
        return await asyncio.wait_for(task, 20)

    assert asyncio.run(run()) == []


def test_both_options_of_real_kernels_are_read() -> None:
    """UDP on loopback: real SO_TIMESTAMPNS and SO_RXQ_OVFL control messages."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        prepare_socket(ours, 1 << 20)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver = DatagramReceiver(ours, 256, 72)
        theirs.connect(ours.getsockname())
        before = time.time_ns()
        total = got = 0
        for _ in range(3):
            for n in range(100):
                theirs.send(classic(n, b""))
            after = time.time_ns()
            total += 100
            count = receiver.receive()
            stamps = receiver.times(count)
            assert 0 < count < 100
            # A clock that is being set may step back in between.
            assert before - SLACK_NS <= stamps.min() <= stamps.max() <= after + SLACK_NS
            assert (np.diff(stamps) >= 0).all()
            assert set(receiver.lengths(count).tolist()) == {16}
            got += count
        theirs.send(b"the drops so far come with the next datagram")
        count = receiver.receive()
        receiver.times(count)
        assert count == 1
        assert receiver.dropped == total - got


def test_seqpacket_sockets_work_as_well() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.closing(theirs), contextlib.closing(ours):
        receiver = DatagramReceiver(ours, 8, 72)
        assert receiver.receive() == 0
        theirs.send(classic(1, b"a"))
        theirs.send(flexible(2, b"b"))
        assert receiver.receive() == 2
        assert receiver.lengths(2).tolist() == [16, 72]
        assert receiver.data[0, :16].tobytes() == classic(1, b"a")


def test_the_drop_counter_wraps() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with contextlib.closing(theirs), contextlib.closing(ours):
        receiver = DatagramReceiver(ours, 4, 72)
        cmsg = struct.pack("=qiiI4x", 20, socket.SOL_SOCKET, datagrams.SO_RXQ_OVFL, 0)
        receiver.control[0, : len(cmsg)] = np.frombuffer(cmsg, np.uint8)
        receiver._view["header"]["control_length"][:1] = len(cmsg)
        for value in (2**31 - 1, 2**32 - 2, 3, 2):  # the last is an older word
            receiver.control[0, 16:20] = np.frombuffer(
                struct.pack("=I", value), np.uint8
            )
            receiver.times(1)
        assert receiver.dropped == 2**32 + 3


@given(st.binary(max_size=128), st.integers(0, 200))
def test_any_control_bytes_are_survived(raw: bytes, used: int) -> None:
    control = np.zeros((2, 128), np.uint8)
    control[:, : len(raw)] = np.frombuffer(raw, np.uint8)
    with np.errstate(over="ignore"):
        time_ns, drops = parse_control(control, np.array([used, 0]))
    assert (time_ns[1], drops[1]) == (-1, -1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**31), st.integers(0, 999_999_999), st.booleans(),
            st.integers(0, 2**31),
        ),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_times_alone_read_as_times_with_drops(
    rows: list[tuple[int, int, bool, int]],
) -> None:
    control = np.zeros((len(rows), 128), np.uint8)
    used = np.zeros(len(rows), np.int64)
    for row, (second, part, has_drops, drops) in enumerate(rows):
        kinds = (socket.SOL_SOCKET, datagrams.SO_TIMESTAMPNS)
        raw = struct.pack("=qiiqq", 32, *kinds, second, part)
        if has_drops:
            kinds = (socket.SOL_SOCKET, datagrams.SO_RXQ_OVFL)
            raw += struct.pack("=qiiI4x", 20, *kinds, drops)
        control[row, : len(raw)] = np.frombuffer(raw, np.uint8)
        used[row] = len(raw)
    time_ns, drop = parse_control(control, used)
    assert time_ns.tolist() == [s * 10**9 + part for s, part, _, _ in rows]
    assert drop.tolist() == [d if has else -1 for _, _, has, d in rows]


def test_the_filter_lets_exactly_these_identifiers_through() -> None:
    raw = encode_filters(exactly([0x123, 0x80000123, 0x123]))
    pairs = [struct.unpack("=II", raw[i : i + 8]) for i in range(0, len(raw), 8)]
    assert len(pairs) == 2

    def passes(ident: int) -> bool:
        return any(ident & mask == wanted & mask for wanted, mask in pairs)

    assert passes(0x123)
    assert passes(0x40000123)  # its remote frame
    assert passes(0x80000123)
    assert not passes(0x124)
    assert not passes(0x80000124)
    assert encode_filters(()) == b""


def test_listens_only() -> None:
    """Promise of the adapter: there is no call that could put a frame on the bus."""
    for module in (socketcan, datagrams):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not {name for name in names if "send" in name or name == "write"}


def test_the_write_side_is_shut_where_the_socket_can() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with contextlib.closing(theirs):
        source = SocketCanSource(ours, "can0")
        with pytest.raises(BrokenPipeError):
            ours.send(b"x")
        source.close()


def test_an_interface_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(Unavailable, match=r"^sgnone9: (this kernel has no|no such)"):
        open_socketcan("sgnone9")
    for name in ("", "x" * 16):
        with pytest.raises(BadInput, match="no interface name"):
            open_socketcan(name)


def test_a_small_buffer_is_emptied_more_often() -> None:
    for granted in (4096, 212_992, 425_984, 8 * 1024 * 1024):
        pause_s = pause_for(granted)
        assert 0 < pause_s <= PAUSE_S
        came = pause_s * FRAMES_A_SECOND_MAX * FRAME_BYTES
        assert came <= granted / 4 + 1
    assert pause_for(8 * 1024 * 1024) == PAUSE_S
    assert pause_for(425_984) < 0.01
