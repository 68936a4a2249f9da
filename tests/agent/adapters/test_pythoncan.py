"""python-can interfaces as sources: `virtual`, `udp_multicast`, a driver's end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from typing import TYPE_CHECKING

import can
import msgpack
import pytest

from agent.adapters.messages import frames_of, is_frame
from agent.adapters.pythoncan import (
    BROKEN_RUN_MAX,
    PythonCanSource,
    open_pythoncan,
)
from agent.errors import BadInput, Unavailable
from protocols.frames import concat_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.frames import FrameBatch

GROUP = "239.74.163.2"


async def collect(source: PythonCanSource, count: int) -> list[FrameBatch]:
    got: list[FrameBatch] = []
    async with contextlib.aclosing(source.batches()) as batches:
        async for batch in batches:
            got.append(batch)
            if sum(map(len, got)) >= count:
                break
    return got


def run(source: PythonCanSource, count: int) -> FrameBatch:
    return concat_frames(asyncio.run(asyncio.wait_for(collect(source, count), 30)))


def test_virtual_bus_gives_every_frame_in_order() -> None:
    source = open_pythoncan("virtual", "sg-order", 2, pause_s=0, batch_frames=256)
    with can.Bus(interface="virtual", channel="sg-order") as bus:
        for n in range(2000):
            bus.send(
                can.Message(
                    arbitration_id=n & 0x7FF,
                    is_extended_id=False,
                    data=n.to_bytes(4, "big"),
                )
            )
        frames = run(source, 2000)
    source.close()
    assert frames.payload[:, :4].copy().view(">u4")[:, 0].tolist() == list(range(2000))
    assert set(frames.bus.tolist()) == {2}
    assert source.lost() == 0


def test_a_slow_reader_loses_frames_that_are_counted() -> None:
    theirs = can.Bus(interface="virtual", channel="sg-slow")
    ours = can.Bus(interface="virtual", channel="sg-slow")
    for n in range(500):
        theirs.send(can.Message(arbitration_id=n))
    theirs.send(can.Message(arbitration_id=0x1FFFFFFF))
    source = PythonCanSource(ours, "slow", queue_frames=100, pause_s=0)
    with theirs:
        while source.lost() < 401:  # the thread works through 501 frames
            source._ended.wait(0.01)
    frames = run(source, 100)
    source.close()
    assert frames.ident.tolist() == [0x80000000 | n for n in range(100)]
    assert source.lost() == 401


def test_a_bus_that_is_faster_than_it_is_read_keeps_the_loop_from_nobody() -> None:
    source = PythonCanSource(_Failing(), "fast", batch_frames=64, pause_s=0)
    source._thread.join()
    source._failure = ""  # only its queue is wanted
    turns = []

    async def other() -> None:
        while True:
            turns.append(source.turns)
            await asyncio.sleep(0)

    async def read() -> int:
        task = asyncio.ensure_future(other())
        source._queue.append(can.Message(arbitration_id=1))
        async with contextlib.aclosing(source.batches()) as batches:  # type: ignore[type-var]  # an async generator, declared as an iterator
            async for _ in batches:
                if source.turns >= 50:
                    break
                source._queue.append(can.Message(arbitration_id=1))
        task.cancel()
        return len(set(turns))

    assert asyncio.run(read()) > 10
    source.close()


def test_close_ends_the_batches_after_the_last_frame() -> None:
    source = open_pythoncan("virtual", "sg-close", pause_s=0)

    async def watch() -> list[FrameBatch]:
        task = asyncio.ensure_future(collect(source, 10**9))
        await asyncio.sleep(0)
        await asyncio.to_thread(source.close)
        return await asyncio.wait_for(task, 30)

    assert asyncio.run(watch()) == []


class _Failing(can.BusABC):
    """A driver whose device is pulled out; its text quotes what it read."""

    def __init__(self) -> None:
        super().__init__(channel="x")

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        raise NotImplementedError

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        assert timeout is not None
        raise can.CanOperationError("could not unpack CANARY7")


def test_a_driver_that_fails_is_unavailable_and_quotes_nothing() -> None:
    source = PythonCanSource(_Failing(), "usb0", pause_s=0)
    with pytest.raises(
        Unavailable, match=r"usb0: driver failed \(CanOperationError\)"
    ) as caught:
        run(source, 1)
    source.close()
    assert "CANARY7" not in str(caught.value)


class _Deaf(_Failing):
    """A driver that waits for a frame, whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = threading.Event()
        self.is_shut = False

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        assert timeout is not None
        self.frame.wait()
        return None, False

    def shutdown(self) -> None:
        super().shutdown()
        self.is_shut = True


def test_a_driver_that_does_not_come_back_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.adapters.pythoncan.CLOSE_S", 0.01)
    bus = _Deaf()
    source = PythonCanSource(bus, "usb0", pause_s=0)
    source.close()
    assert not bus.is_shut
    bus.frame.set()
    source._thread.join()
    assert bus.is_shut  # its device is free again, before the process ends
    source.close()


def test_unknown_interfaces_and_absent_devices_are_named() -> None:
    with pytest.raises(BadInput, match=r"no such interface .*virtual"):
        open_pythoncan("carrier-pigeon", "1")
    with pytest.raises(Unavailable, match="slcan:/dev/sg-none"):
        open_pythoncan("slcan", "/dev/sg-none")
    with pytest.raises(Unavailable, match="kvaser:0: "):  # without its library, too
        open_pythoncan("kvaser", "0")


def test_udp_multicast_between_two_buses() -> None:
    options = {"port": 43117, "hop_limit": 0}
    try:
        theirs = can.Bus(interface="udp_multicast", channel=GROUP, **options)
        source = open_pythoncan("udp_multicast", GROUP, options=options, pause_s=0)
    except (can.CanError, OSError, ImportError, Unavailable) as error:
        pytest.skip(f"no multicast here: {type(error).__name__}")
    sent = [
        can.Message(arbitration_id=0x123, is_extended_id=False, data=b"\1\2\3"),
        can.Message(
            arbitration_id=0x12345678, is_fd=True, data=b"x" * 64, bitrate_switch=True
        ),
        can.Message(
            arbitration_id=0x7FF, is_extended_id=False, is_remote_frame=True, dlc=8
        ),
    ]
    with theirs:
        try:
            for message in sent:
                theirs.send(message)
        except (can.CanError, OSError) as error:
            source.close()
            pytest.skip(f"no multicast here: {type(error).__name__}")
        frames = run(source, 3)
    source.close()
    assert frames.ident.tolist() == [0x123, 0x92345678, 0x400007FF]
    assert frames.size.tolist() == [3, 64, 8]
    assert frames.flags.tolist() == [0, 5, 0]
    assert frames.payload[1].tobytes() == b"x" * 64


def test_messages_become_columns() -> None:
    frames = frames_of(
        [
            can.Message(timestamp=1.5, arbitration_id=1, data=b"ab"),
            can.Message(timestamp=2.000001, is_error_frame=True),
        ],
        [3, 4],
    )
    assert frames.time_ns.tolist() == [1_500_000_000, 2_000_001_000]
    assert frames.bus.tolist() == [3, 4]
    assert frames.ident.tolist() == [0x80000001, 0x20000080]
    assert frames.size.tolist() == [2, 0]
    assert frames.payload.shape == (2, 8)
    assert len(frames_of([], [])) == 0


def _packed(**otherwise: object) -> bytes:
    fields: dict[str, object] = {
        "arbitration_id": 0x123,
        "is_extended_id": False,
        "is_remote_frame": False,
        "is_error_frame": False,
        "channel": "x",
        "dlc": 8,
        "data": b"12345678",
        "is_fd": False,
        "bitrate_switch": False,
        "error_state_indicator": False,
        "timestamp": 1.0,
    }
    packed = msgpack.packb(fields | otherwise)
    assert isinstance(packed, bytes)
    return packed


HOSTILE = (
    b"\xc1" * 10,
    b"\xdd\xff\xff\xff\xff",  # an array of 2**32 - 1
    b"\x91" * 3000,
    msgpack.packb(5),
    _packed(arbitration_id=1.5),
    _packed(arbitration_id="x"),
    _packed(arbitration_id=2**40),
    _packed(dlc="eight"),
    _packed(dlc=8.0),
    _packed(data=None),
    _packed(data="12345678"),
)
# Truth is what counts of a flag, whatever the type.
ODD = (
    _packed(is_extended_id=None),
    _packed(is_extended_id=7),
    _packed(is_fd="yes", bitrate_switch="yes"),
    _packed(is_fd=""),
)


def test_what_anybody_sends_to_the_group_ends_no_bus_and_is_counted() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = open_pythoncan("udp_multicast", GROUP, 0, options={"port": port})
    with socket.socket(type=socket.SOCK_DGRAM) as attacker:
        attacker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        for datagram in (*HOSTILE, *ODD, _packed(arbitration_id=0x7FF)):
            attacker.sendto(datagram, (GROUP, port))
        frames = run(source, 1 + len(ODD))
    source.close()
    assert source.lost() >= len(HOSTILE)
    assert frames.ident.tolist()[-1] == 0x7FF
    assert set(frames.ident.tolist()[:-1]) <= {0x123, 0x80000123}


class Babbling(can.BusABC):
    """A driver that cannot read anything any more, but whose device answers."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        super().__init__(channel="babbling")
        self._errors = itertools.chain(errors, itertools.repeat(errors[-1]))

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        raise NotImplementedError

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        del timeout
        raise next(self._errors)


def _operation(cause: Exception | None) -> can.CanOperationError:
    error = can.CanOperationError("LSGVA7T6")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (_operation(KeyError("dlc")), BROKEN_RUN_MAX),
        (KeyError("LSGVA7T6"), BROKEN_RUN_MAX),
        (TypeError("LSGVA7T6"), BROKEN_RUN_MAX),
        (struct.error("LSGVA7T6"), BROKEN_RUN_MAX),
        (_operation(OSError(19, "gone")), 0),
        (_operation(None), 0),
        (RuntimeError("LSGVA7T6"), 0),
        (OSError(19, "gone"), 0),
    ],
    ids=repr,
)
def test_a_driver_that_reads_nothing_any_more_fails_in_the_end(
    error: Exception, lost: int, capfd: pytest.CaptureFixture[str]
) -> None:
    source = PythonCanSource(Babbling([error]), "babbling", pause_s=0)
    with pytest.raises(Unavailable, match="driver failed") as caught:
        run(source, 1)
    source.close()
    assert source.lost() == lost
    told = str(caught.value) + "".join(capfd.readouterr())
    assert "LSGVA7T6" not in told


@pytest.mark.parametrize(
    "seconds", [float("nan"), float("inf"), -1.0, 1e10, "now"], ids=str
)
def test_a_time_that_no_column_holds_makes_no_frame(seconds: object) -> None:
    message = can.Message(arbitration_id=1)
    assert is_frame(message)
    message.timestamp = seconds
    assert not is_frame(message)
