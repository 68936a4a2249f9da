"""Many datagrams in one system call: recvmmsg(2) into preallocated numpy arrays.

System calls are dear on small gateways and dearer in virtual machines; one call fetches
up to ``slots`` datagrams with their kernel time stamps (SO_TIMESTAMPNS) and the count
of what the kernel dropped (SO_RXQ_OVFL). Nothing here can send.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from protocols.frames import I64, U8

SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h; socket.py does not name these
SO_RXQ_OVFL: Final = 40
SO_MEMINFO: Final = 55
_MEMINFO_DROPS: Final = 8  # SK_MEMINFO_DROPS of linux/sock_diag.h, an index of u32
SO_TIMESTAMPNS_OLD: Final = 35
SO_TIMESTAMPNS_NEW: Final = 64
CONTROL_BYTES: Final = 128  # room for both control messages, with headers
NS: Final = 1_000_000_000

_WORD: Final = ctypes.sizeof(ctypes.c_size_t)
_CMSG_BYTES: Final = _WORD + 8  # size_t length, int level, int type
_CMSGS_MAX: Final = 4
_ONLY_TIME: Final = _CMSG_BYTES + 16  # bytes of a control message with one timespec
# On 64-bit machines both have 64-bit seconds; on 32-bit ones only the new option has.
SO_TIMESTAMPNS: Final = SO_TIMESTAMPNS_OLD if _WORD == 8 else SO_TIMESTAMPNS_NEW
# int level, int type of such a message, read as one word.
_TIME_WORD: Final = int(
    np.array([socket.SOL_SOCKET, SO_TIMESTAMPNS], np.int32).view(np.int64)[0]
)

# struct iovec and struct mmsghdr (recvmmsg(2)) in the machine's own alignment.
_IOVEC: Final = np.dtype([("base", np.uintp), ("length", np.uintp)], align=True)
_HEADER: Final = np.dtype(
    [
        ("name", np.uintp), ("name_length", np.uint32),
        ("iov", np.uintp), ("iov_length", np.uintp),
        ("control", np.uintp), ("control_length", np.uintp),
        ("flags", np.int32),
    ],
    align=True,
)  # fmt: skip
_MMSGHDR: Final = np.dtype([("header", _HEADER), ("length", np.uint32)], align=True)


def parse_control(control: U8, used: I64) -> tuple[I64, I64]:
    """Return time_ns [N] and drops [N] from control messages [N, CONTROL_BYTES].

    ``used`` [N] is how much of each row the kernel filled. -1 where a datagram carries
    no time, or no drop count (cmsg(3); SOL_SOCKET).
    """
    plain = _only_times(control, used)
    if plain is not None:
        return plain, np.full(len(control), -1, np.int64)
    rows = np.arange(len(control))
    time_ns = np.full(len(control), -1, np.int64)
    drops = np.full(len(control), -1, np.int64)
    place = np.zeros(len(control), np.int64)
    used = np.minimum(used, control.shape[1])
    for _ in range(_CMSGS_MAX):  # messages of one datagram, not datagrams
        live = place + _CMSG_BYTES <= used
        if not live.any():
            break
        at = np.where(live, place, 0)
        length = _field(control, rows, at, _WORD).astype(np.int64)
        level = _field(control, rows, at + _WORD, 4)
        kind = _field(control, rows, at + _WORD + 4, 4)
        live &= (length >= _CMSG_BYTES) & (place + length <= used)
        live &= level == socket.SOL_SOCKET
        body = at + _CMSG_BYTES
        stamped = live & ((kind == SO_TIMESTAMPNS_OLD) | (kind == SO_TIMESTAMPNS_NEW))
        stamped &= length >= _CMSG_BYTES + 16
        if stamped.any():
            second = _field(control, rows[stamped], body[stamped], 8).astype(np.int64)
            part = _field(control, rows[stamped], body[stamped] + 8, 8)
            time_ns[stamped] = second * NS + part.astype(np.int64)
        counted = live & (kind == SO_RXQ_OVFL) & (length >= _CMSG_BYTES + 4)
        if counted.any():
            drops[counted] = _field(control, rows[counted], body[counted], 4)
        step = np.maximum(length, _CMSG_BYTES) + _WORD - 1
        place = place + step // _WORD * _WORD
    return time_ns, drops


def _only_times(control: U8, used: I64) -> I64 | None:
    """Return the times where every row holds one time stamp and no more; else None.

    So it is while nothing is dropped; read as words, without a copy.
    """
    if _WORD != 8 or not control.flags.c_contiguous or control.shape[1] % 8:
        return None
    words = control.view(np.int64)
    if not ((used == _ONLY_TIME) & (words[:, 0] == _ONLY_TIME)).all():
        return None
    if not (words[:, 1] == _TIME_WORD).all():
        return None
    times: I64 = words[:, 2] * NS + words[:, 3]
    return times


def _field(control: U8, rows: I64, at: I64, width: int) -> I64:
    """Return native unsigned integers of ``width`` bytes from column ``at`` of rows."""
    columns = at[:, None] + np.arange(width)
    columns = np.minimum(columns, control.shape[1] - 1)
    raw = np.ascontiguousarray(control[rows[:, None], columns])
    values: I64 = raw.view(f"=u{width}")[:, 0]
    return values


class DatagramReceiver:
    """Receives datagrams of at most ``slot_bytes`` into arrays that live as long."""

    def __init__(self, sock: socket.socket, slots: int, slot_bytes: int) -> None:
        """Allocate ``slots``; the socket stays the caller's."""
        self._socket = sock
        self.data: U8 = np.zeros((slots, slot_bytes), np.uint8)
        self.control: U8 = np.zeros((slots, CONTROL_BYTES), np.uint8)
        self.dropped = 0  # by the kernel, since the socket was opened
        self._drops_seen = 0
        self._slots = slots
        each = np.arange(slots, dtype=np.uintp)
        self._iovecs = np.zeros(slots, _IOVEC)
        self._iovecs["base"] = self.data.ctypes.data + each * np.uintp(slot_bytes)
        self._iovecs["length"] = slot_bytes
        self._view = np.zeros(slots, _MMSGHDR)
        header = self._view["header"]
        at = each * np.uintp(_IOVEC.itemsize)
        header["iov"] = self._iovecs.ctypes.data + at
        header["iov_length"] = 1
        header["control"] = self.control.ctypes.data + each * np.uintp(CONTROL_BYTES)
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._call.restype = ctypes.c_int
        self._call.argtypes = (
            ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
        )  # fmt: skip

    def receive(self) -> int:
        """Fetch what is waiting, without waiting; return how many slots are filled.

        OSError as recvmmsg(2) has it, but for "nothing there" and "interrupted": 0.
        """
        self._view["header"]["control_length"] = CONTROL_BYTES
        count = int(
            self._call(
                self._socket.fileno(), self._view.ctypes.data, self._slots,
                socket.MSG_DONTWAIT, None,
            )
        )  # fmt: skip
        if count >= 0:
            return count
        code = ctypes.get_errno()
        if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR):
            return 0
        raise OSError(code, os.strerror(code))

    def lengths(self, count: int) -> I64:
        """Return the bytes of each of the first ``count`` datagrams.

        -1 where a datagram was larger than its slot (MSG_TRUNC).
        """
        lengths = self._view["length"][:count].astype(np.int64)
        flags = self._view["header"]["flags"][:count]
        return np.where(flags & socket.MSG_TRUNC, -1, lengths)

    def times(self, count: int) -> I64:
        """Return kernel time stamps in ns, wall clock; now where the kernel gave none.

        Also adds what the kernel dropped to `dropped` (a u32 that wraps).
        """
        used = self._view["header"]["control_length"][:count].astype(np.int64)
        time_ns, drops = parse_control(self.control[:count], used)
        known = drops[drops >= 0]
        if len(known):
            self._told(int(known[-1]))
        return np.where(time_ns < 0, time.time_ns(), time_ns)

    def count_drops(self) -> int:
        """Return `dropped` as it is now: also drops that no datagram has told of yet.

        SO_RXQ_OVFL comes with the next datagram, which after the end of a bus is none.
        """
        with contextlib.suppress(OSError):  # closed, or a kernel before 4.12
            info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
            words = np.frombuffer(info, np.uint32)
            if len(words) > _MEMINFO_DROPS:
                self._told(int(words[_MEMINFO_DROPS]))
        return self.dropped

    def _told(self, drops: int) -> None:
        """Take the kernel's count, a u32 that wraps; an older one says nothing new."""
        more = (drops - self._drops_seen) % 2**32
        if more < 2**31:
            self.dropped += more
            self._drops_seen = drops


def prepare_socket(sock: socket.socket, buffer_bytes: int) -> int:
    """Ask for time stamps, drop counts and a buffer; return the buffer's bytes."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer_bytes)
    except PermissionError:  # without CAP_NET_ADMIN: as much as rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
