"""Puts frames onto SocketCAN buses at a rate, a whole tick at once (sendmmsg).

    python -m tests.support.can_load SECONDS FRAMES_PER_SECOND BUS...

The frames of a bus have eight identifiers from 0x100 on and count up in their first
four bytes, little-endian. The last line tells how many went to each bus: what the
kernel did not take (ENOBUFS) is offered again.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import time
from typing import Final

TICK_S: Final = 0.01
IDENTIFIERS: Final = 8
FRAME: Final = struct.Struct("=IB3x8s")  # struct can_frame


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IoVec)), ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("len", ctypes.c_uint))


class Sender:
    """One bus, and room for the frames of one tick."""

    def __init__(self, bus: str, room: int) -> None:
        self.bus, self.sent = bus, 0
        self._socket = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        # It sends only: what others send would fill its queue.
        self._socket.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, b"")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket.bind((bus,))
        self._bytes = ctypes.create_string_buffer(FRAME.size * room)
        self._vectors = (_IoVec * room)()
        self._messages = (_Message * room)()
        base = ctypes.addressof(self._bytes)
        for number in range(room):
            self._vectors[number] = _IoVec(base + FRAME.size * number, FRAME.size)
            header = self._messages[number].header
            header.iov = ctypes.pointer(self._vectors[number])
            header.iovlen = 1
        self._libc = ctypes.CDLL(None, use_errno=True)

    def send(self, count: int) -> None:
        """Send the next ``count`` frames, as many as the kernel takes now."""
        for number in range(count):
            nth = self.sent + number
            FRAME.pack_into(
                self._bytes, FRAME.size * number, 0x100 + nth % IDENTIFIERS, 8,
                nth.to_bytes(8, "little"),
            )  # fmt: skip
        done = self._libc.sendmmsg(self._socket.fileno(), self._messages, count, 0)
        self.sent += max(done, 0)


def main() -> None:
    """Send for so long; print what went out."""
    seconds, rate, *buses = sys.argv[1:]
    room = 4 * int(float(rate) * TICK_S)
    senders = [Sender(bus, room) for bus in buses]
    start_s = time.monotonic()
    while (passed_s := time.monotonic() - start_s) < float(seconds):
        due = int(passed_s * float(rate))
        for one in senders:
            if due > one.sent:
                one.send(min(due - one.sent, room))
        time.sleep(TICK_S)
    counts = " ".join(f"{one.bus}={one.sent}" for one in senders)
    sys.stdout.write(f"{counts} {passed_s:.3f}\n")


if __name__ == "__main__":
    main()
