"""The proxy in front of RTU: over TCP, and on a serial line (a pseudo-terminal)."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import tty
from typing import TYPE_CHECKING

from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.proxy_wire import wire_of
from protocols.modbus.peers import Peers
from protocols.modbus.rtu import build_rtu, crc16
from tests.support.proxying import (
    PATIENCE_S,
    Client,
    adu,
    allowing,
    counts,
    link_to,
    proxied,
    read,
    refusing,
    registers,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class RtuDevice:
    """A device on some descriptor that takes frames of 8 bytes, as functions 1 to 6."""

    def __init__(
        self,
        receive: Callable[[int], bytes],
        send: Callable[[bytes], object],
        answer: Callable[[bytes], bytes] = lambda frame: build_rtu(
            frame[0], registers(frame[1:-2])
        ),
    ) -> None:
        self.frames: list[bytes] = []
        self.wrong: list[bytes] = []
        self._changed = threading.Condition()
        self._receive, self._send, self._answer = receive, send, answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        data = b""
        while True:
            try:
                more = self._receive(256)
            except OSError:
                return
            if not more:
                return
            data += more
            while len(data) >= 8:
                self._one(data[:8])
                data = data[8:]

    def _one(self, frame: bytes) -> None:
        if crc16(frame):
            self.wrong.append(frame)
            return
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()
        if frame[0]:  # nobody answers a broadcast
            self._send(self._answer(frame))

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.frames) >= count, PATIENCE_S)


def on_a_line() -> tuple[RtuDevice, str]:
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    device = RtuDevice(
        lambda size: os.read(near, size), lambda data: os.write(near, data)
    )
    return device, os.ttyname(far)


def test_a_serial_line_is_spoken_to_in_frames_one_at_a_time() -> None:
    device, line = on_a_line()
    with (
        proxied(1, allowing(), kind="rtu", line=line) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(1, 1, read(5)) + adu(2, 2, read(6, 3)) + adu(3, 1, write(1, 2)))
        assert master.receive() == (1, 1, registers(read(5)))
        assert master.receive() == (2, 2, registers(read(6, 3)))
        assert master.receive() == (3, 1, write(1, 2))
        assert [frame[0] for frame in device.frames] == [1, 2, 1]
        assert not device.wrong


def test_a_broadcast_is_not_waited_for_and_answered_by_nobody() -> None:
    device, line = on_a_line()
    with (
        proxied(1, allowing(), kind="rtu", line=line) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(1, 0, write(1, 2)) + adu(2, 1, read(5)))
        assert master.receive() == (2, 1, registers(read(5)))
        assert device.frames == [build_rtu(0, write(1, 2)), build_rtu(1, read(5))]
        assert counts(proxy).broadcasts == 1


def test_a_refused_request_does_not_reach_the_line() -> None:
    device, line = on_a_line()
    with (
        proxied(1, refusing(), kind="rtu", line=line) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(write(1, 2)) == b"\x86\1"
        assert not device.frames


def test_a_line_that_is_not_there_is_told() -> None:
    with (
        proxied(1, allowing(), kind="rtu", line="/dev/no-such-line") as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(1)) == b"\x83\x0a"
        assert "No such file" in proxy.statistics().links[0].problem


def test_a_damaged_reply_is_none() -> None:
    def damaged(frame: bytes) -> bytes:
        reply = build_rtu(frame[0], registers(frame[1:-2]))
        return bytes([*reply[:-1], reply[-1] ^ 1])

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            sock, _ = listener.accept()
            RtuDevice(sock.recv, sock.sendall, damaged)

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    with (
        proxied(port, allowing(), kind="rtu-tcp", timeout_s=0.1) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(1)) == b"\x83\x0b"
        assert master.ask(read(1)) == b"\x83\x0b"
        assert counts(proxy).skipped > 0
        assert counts(proxy).connects >= 2  # a late reply cannot come over a new one


def test_pymodbus_as_a_device_that_speaks_rtu_over_tcp() -> None:
    async def work() -> None:
        bits = [SimData(0, values=[False] * 128, datatype=DataType.BITS)]
        words = [SimData(0, count=100, values=7, datatype=DataType.REGISTERS)]
        server = ModbusTcpServer(
            [SimDevice(1, (bits, bits, words, words))],
            framer=FramerType.RTU,
            address=("127.0.0.1", 0),
        )
        assert await server.listen()
        transport = server.transport
        assert isinstance(transport, asyncio.Server)
        port = transport.sockets[0].getsockname()[1]
        proxy = ModbusProxy([link_to(port, kind="rtu-tcp")], Peers())
        proxy.use(allowing())
        proxy.start()
        await asyncio.to_thread(ask, proxy.port("plc1"))
        await asyncio.to_thread(proxy.stop)
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus

    def ask(port: int) -> None:
        with Client(port) as master:
            assert master.ask(read(3, 2)) == b"\3\4\0\7\0\7"
            assert master.ask(write(3, 9)) == write(3, 9)
            assert master.ask(read(3, 2)) == b"\3\4\0\x09\0\7"
            assert master.ask(read(99, 9))[0] == 0x83

    asyncio.run(work())


def test_the_silence_is_that_of_the_line() -> None:
    link = link_to(1, kind="rtu", line="/dev/ttyS0")  # 9600 baud
    assert 4_000_000 < wire_of(link.device).silence_ns < 4_020_000
    assert wire_of(link_to(1, kind="rtu-tcp").device).silence_ns == 0
