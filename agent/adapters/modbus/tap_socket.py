"""Packets of an interface, as the kernel saw them (packet(7)). Listens only.

The filter is attached before the socket is bound to its interface: no packet of another
kind is ever received. What the kernel dropped is counted (PACKET_STATISTICS).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.adapters.datagrams import DatagramReceiver, prepare_socket
from agent.adapters.modbus.tap_filter import build_filter
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.frames import I64, U8

ETH_P_ALL: Final = 3  # linux/if_ether.h
SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
SOL_PACKET: Final = 263  # linux/socket.h
PACKET_STATISTICS: Final = 6  # linux/if_packet.h
LOOPBACK: Final = "lo"
BUFFER_BYTES: Final = 8 * 1024 * 1024
PACKET_BYTES_MAX: Final = 65_536 + 14 + 8  # what segmentation offload makes of it
SLOTS: Final = 128


@dataclass(frozen=True, slots=True)
class Packets:
    """Frames with their link header; the arrays hold until the next `read`."""

    data: U8  # [N, PACKET_BYTES_MAX]
    length: I64  # [N] bytes; -1 where a frame was larger than its row
    time_ns: I64  # [N] kernel's time stamps, wall clock


class TapSocket:
    """An open packet socket on one interface; it has no way to send."""

    def __init__(self, interface: str, ports: Sequence[int]) -> None:
        """Listen on ``interface`` for TCP ``ports``; Unavailable says why not.

        ValueError for ports as `build_filter` has it.
        """
        program = build_filter(ports, outgoing=interface != LOOPBACK)
        self.name = interface
        self._lost = 0
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except OSError as error:
            raise Unavailable(interface, os.strerror(error.errno or 0)) from None
        try:
            _attach(self._socket, program)
            prepare_socket(self._socket, BUFFER_BYTES)
            self._socket.bind((interface, ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise Unavailable(interface, os.strerror(error.errno or 0)) from None
        self._receiver = DatagramReceiver(self._socket, SLOTS, PACKET_BYTES_MAX)

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 where closed."""
        return self._socket.fileno()

    def read(self) -> Packets | None:
        """Return what is waiting, without waiting; None where nothing is.

        Unavailable where the interface went away or down.
        """
        try:
            count = self._receiver.receive()
        except OSError as error:
            raise Unavailable(self.name, os.strerror(error.errno or 0)) from None
        if not count:
            return None
        receiver = self._receiver
        return Packets(
            receiver.data[:count], receiver.lengths(count), receiver.times(count)
        )

    def lost(self) -> int:
        """Return packets the kernel dropped because we were too slow, since opened."""
        if self._socket.fileno() >= 0:
            raw = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self._lost += int(struct.unpack("=II", raw)[1])  # reading sets it to 0
        return self._lost

    def close(self) -> None:
        """Close the socket; `lost` keeps its last count."""
        self.lost()
        self._socket.close()


def _attach(sock: socket.socket, program: bytes) -> None:
    """Give the kernel ``struct sock_fprog``; OSError where it refuses the program."""
    steps = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
