"""A tap's kernel filter and its packet socket: real packets on loopback."""

from __future__ import annotations

import ast
import inspect
import select
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from agent.adapters.modbus import tap_filter, tap_socket
from agent.adapters.modbus.tap_filter import PORTS_MAX, build_filter
from agent.adapters.modbus.tap_socket import TapSocket, _attach
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

MACS = bytes(12)


def _ipv4(source: int, target: int, *, options: int = 0, fragment: int = 0) -> bytes:
    head = struct.pack(
        ">BBHHHBBH8s", 0x45 + options, 0, 40, 0, fragment, 64, 6, 0, bytes(8)
    )
    return head + bytes(4 * options) + struct.pack(">HH", source, target) + bytes(16)


def _ipv6(source: int, target: int, following: int = 6) -> bytes:
    head = struct.pack(">IHBB32s", 6 << 28, 20, following, 64, bytes(32))
    return head + struct.pack(">HH", source, target) + bytes(16)


def _frame(kind: int, packet: bytes, *tags: int) -> bytes:
    between = b"".join(struct.pack(">HH", tag, 7) for tag in tags)
    return MACS + between + struct.pack(">H", kind) + packet


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Sockets whose second end the kernel filters: needs no capability."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    _attach(receiver, build_filter(range(502, 502 + PORTS_MAX), outgoing=True))
    receiver.setblocking(False)
    with sender, receiver:
        yield sender, receiver


def _passes(pair: tuple[socket.socket, socket.socket], frame: bytes) -> bool:
    pair[0].send(frame)
    try:
        return pair[1].recv(2048) == frame
    except BlockingIOError:
        return False


@pytest.mark.parametrize("tags", [(), (0x8100,), (0x88A8, 0x8100)])
@pytest.mark.parametrize("port", [502, 501 + PORTS_MAX])
def test_either_port_passes_with_any_tags(
    pair: tuple[socket.socket, socket.socket], tags: tuple[int, ...], port: int
) -> None:
    for packet, kind in (
        (_ipv4(port, 9), 0x0800),
        (_ipv4(9, port, options=3), 0x0800),
        (_ipv6(port, 9), 0x86DD),
        (_ipv6(9, port), 0x86DD),
    ):
        assert _passes(pair, _frame(kind, packet, *tags))


def test_everything_else_stays_in_the_kernel(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    udp = bytearray(_ipv4(502, 502))
    udp[9] = 17
    for frame in (
        _frame(0x0800, _ipv4(501, 502 + PORTS_MAX)),
        _frame(0x86DD, _ipv6(501, 9)),
        _frame(0x86DD, _ipv6(502, 502, following=17)),
        _frame(0x0800, bytes(udp)),
        _frame(0x0806, _ipv4(502, 502)),
        _frame(0x0800, _ipv4(502, 502), 0x8100, 0x8100, 0x8100),
        _frame(0x0800, b"")[:13],
    ):
        assert not _passes(pair, frame)


def test_later_fragments_pass_to_be_counted(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    assert _passes(pair, _frame(0x0800, _ipv4(1, 2, fragment=185)))


@pytest.mark.parametrize("ports", [[], [0], [65536], range(1, PORTS_MAX + 2)])
def test_ports_that_cannot_be(ports: list[int]) -> None:
    with pytest.raises(ValueError, match=r"port"):
        build_filter(ports, outgoing=True)


def test_loopback_packets_are_seen_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        try:
            tap = TapSocket("lo", [port])
        except Unavailable as error:
            pytest.skip(f"no packet socket on lo here: {error}")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"only once")
            seen: list[bytes] = []
            while not any(b"only once" in frame for frame in seen):
                assert select.select([tap], [], [], 10)[0]
                packets = tap.read()
                assert packets is not None
                assert (packets.time_ns > 0).all()
                for row, length in zip(packets.data, packets.length, strict=True):
                    seen.append(row[:length].tobytes())
        assert sum(b"only once" in frame for frame in seen) == 1
        assert sum(frame[47] == 0x02 for frame in seen) == 1  # one SYN
        assert tap.lost() == 0
        tap.close()
        assert tap.lost() == 0
        assert tap.fileno() == -1


def test_no_such_interface_is_said() -> None:
    with pytest.raises(Unavailable, match="nosuch0"):
        TapSocket("nosuch0", [502])


def test_nothing_in_it_can_send() -> None:
    for module in (tap_filter, tap_socket):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith(("send", "write"))
