"""Live CAN from raw SocketCAN sockets (Documentation/networking/can.rst).

Listens only: nothing in this module or in `datagrams` can send. Frames come with kernel
time stamps; what the kernel had to drop is counted (`lost`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.adapters.datagrams import DatagramReceiver, prepare_socket
from agent.adapters.reading import waits
from agent.errors import BadInput, Unavailable
from agent.limits import BATCH_FRAMES_MAX, CAN_BUFFER_BYTES
from protocols.can.socketcan import CAN_MTU, CANFD_MTU, unpack
from protocols.frames import (
    CLASSIC_BYTES_MAX,
    FrameBatch,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


AF_CAN: Final = 29  # linux/socket.h; not every Python was built with CAN headers
CAN_RAW: Final = 1  # linux/can.h
SOL_CAN_RAW: Final = 101
CAN_RAW_FILTER: Final = 1  # linux/can/raw.h
CAN_RAW_ERR_FILTER: Final = 2
CAN_RAW_FD_FRAMES: Final = 5
CAN_RAW_FILTER_MAX: Final = 512
CAN_ERR_MASK: Final = 0x1FFFFFFF
ALL: Final = ((0, 0),)
PASSES_ALL: Final = -1
NAME_BYTES_MAX: Final = 15  # IFNAMSIZ with its NUL is 16

BUFFER_BYTES: Final = CAN_BUFFER_BYTES
PAUSE_S: Final = 0.02  # frames gather in the kernel: 50 wake-ups a second, not 4,000
FRAME_BYTES: Final = 896  # of the buffer for a frame, classic or FD (Linux 6.12)
FRAMES_A_SECOND_MAX: Final = 17_000  # short FD frames at 500 kbit/s and 2 Mbit/s


def pause_for(buffer_bytes: int, pause_s: float = PAUSE_S) -> float:
    """Return how long frames may gather in a buffer of so many bytes, in seconds.

    A quarter of the time in which the fastest bus fills it, at most ``pause_s``: the
    rest is for the flow, which keeps the loop for a batch.
    """
    return min(pause_s, buffer_bytes / FRAME_BYTES / FRAMES_A_SECOND_MAX / 4)


def encode_filters(pairs: Sequence[tuple[int, int]]) -> bytes:
    """Return ``struct can_filter[N]``: identifier and mask each."""
    return b"".join(struct.pack("=II", *pair) for pair in pairs)


class SocketCanSource:
    """A FrameSource on an open socket of can_frame and canfd_frame structs."""

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        bus: int = 0,
        *,
        batch_frames: int = BATCH_FRAMES_MAX,
        pause_s: float = PAUSE_S,
    ) -> None:
        """Take over ``sock``; ``bus`` is what ``FrameBatch.bus`` will say."""
        self.name = name
        self.skipped: dict[str, int] = {}  # cause -> frames that are no CAN or CAN FD
        self.index = 0  # of the interface, where there is one
        self.is_down = False  # since the last frame
        self.passes = PASSES_ALL  # pairs of the kernel's filter
        self._bus = bus
        self._socket = sock
        self.turns = 0  # frames fetched, in one go each
        self._is_full = False  # the last of them: more may wait
        self._waiting: asyncio.Future[None] | None = None
        self._end = ""  # why it ends once all that waits is read
        with contextlib.suppress(OSError):  # CAN sockets do not know how; others do
            sock.shutdown(socket.SHUT_WR)
        self.buffer_bytes = prepare_socket(sock, BUFFER_BYTES)
        self.pause_s = pause_for(self.buffer_bytes, pause_s)
        self._receiver = DatagramReceiver(sock, batch_frames, CANFD_MTU)

    def lost(self) -> int:
        """Return frames that the kernel dropped because we were too slow."""
        return self._receiver.count_drops()

    def leave(self, reason: str) -> None:
        """Read what still waits, then end with Unavailable for this reason."""
        self._end = self._end or reason
        self._wake()

    def let_pass(self, pairs: Sequence[tuple[int, int]] | None) -> None:
        """Have the kernel let these identifiers and masks through; None: all.

        All where there are more than 512, too. Error frames always pass. The filter
        changes on the open socket, and no frame is lost by that.
        """
        if pairs is not None and len(pairs) > CAN_RAW_FILTER_MAX:
            pairs = None
        filters = encode_filters(ALL if pairs is None else pairs)
        try:
            self._socket.setsockopt(SOL_CAN_RAW, CAN_RAW_FILTER, filters)
        except OSError as error:
            raise Unavailable(self.name, _reason(error)) from None
        self.passes = PASSES_ALL if pairs is None else len(pairs)

    def read(self) -> FrameBatch | None:
        """Return what is waiting, without waiting; None where nothing is.

        An interface that is down keeps its socket: frames flow again once it is up.
        Unavailable where it went away, after all that it left was read.
        """
        self.turns += 1
        count = self._received()
        self._is_full = count == len(self._receiver.data)
        if not count:
            if self._end:
                raise Unavailable(self.name, self._end)
            return None
        self.is_down = False
        lengths = self._receiver.lengths(count)
        data, slot = self._receiver.data[:count], CANFD_MTU
        if (lengths == CAN_MTU).all():  # no FD frame among them: a fifth to look at
            data, slot = data[:, :CAN_MTU], CAN_MTU
        unpacked = unpack(
            data.tobytes(),
            slot,
            self._receiver.times(count),
            self._bus,
            received=lengths.astype(np.int32),
        )
        self._count("CAN XL frame", unpacked.xl)
        self._count("malformed frame", unpacked.malformed)
        return _narrowed(unpacked.frames)

    async def batches(self) -> AsyncIterator[FrameBatch]:
        """Yield batches as they come; wakes at most every ``pause_s``.

        What comes while a batch is taken waits for the next pause: a bus that is faster
        than one frame is read would keep the loop for itself, frame by frame.
        """
        while self._socket.fileno() >= 0:
            await self._readable()
            await asyncio.sleep(0 if self._end else self.pause_s)
            while self._socket.fileno() >= 0 and (frames := self.read()) is not None:
                if len(frames):
                    yield frames
                if not self._is_full:
                    break
                await asyncio.sleep(0)  # under a flood, others get a turn, too

    def is_due(self) -> bool:
        """Tell whether frames wait to be read."""
        return waits(self._socket.fileno())

    def close(self) -> None:
        """Close the socket, which ends `batches`; `lost` keeps its last count."""
        self._wake()
        self._receiver.count_drops()
        self._socket.close()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _received(self) -> int:
        """Return how many frames were fetched; the socket's own error comes first."""
        try:
            return self._receiver.receive()
        except OSError as error:
            if error.errno == errno.ENETDOWN:
                self.is_down = True
            else:
                self._end = self._end or _reason(error)
        try:  # the error is told once; frames that came before it still wait
            return self._receiver.receive()
        except OSError as error:
            self._end = self._end or _reason(error)
            return 0

    async def _readable(self) -> None:
        if self._end:
            return
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._waiting = ready

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        # Removed at the first call: the descriptor stays readable during the pause.
        descriptor = self._socket.fileno()
        loop.add_reader(descriptor, wake)
        try:
            await ready
        finally:
            loop.remove_reader(descriptor)

    def _count(self, cause: str, frames: int) -> None:
        if frames:
            self.skipped[cause] = self.skipped.get(cause, 0) + frames


def open_socketcan(
    interface: str,
    bus: int = 0,
    *,
    batch_frames: int = BATCH_FRAMES_MAX,
    pause_s: float = PAUSE_S,
) -> SocketCanSource:
    """Open a raw socket on ``interface``, for listening.

    BadInput for a
    name that no interface can have; Unavailable where the kernel has no CAN, or the
    interface is absent or not ours to open.
    """
    if not 1 <= len(interface.encode()) <= NAME_BYTES_MAX:
        raise BadInput("bus", interface, "is no interface name (1 to 15 characters)")
    try:
        sock = socket.socket(AF_CAN, socket.SOCK_RAW, CAN_RAW)
    except OSError as error:
        raise Unavailable(interface, _reason(error)) from None
    try:
        sock.setsockopt(SOL_CAN_RAW, CAN_RAW_FD_FRAMES, 1)
        sock.setsockopt(
            SOL_CAN_RAW, CAN_RAW_ERR_FILTER, struct.pack("=I", CAN_ERR_MASK)
        )
        source = SocketCanSource(
            sock, interface, bus, batch_frames=batch_frames, pause_s=pause_s
        )
        sock.bind((interface,))
        source.index = socket.if_nametoindex(interface)
    except OSError as error:
        sock.close()
        raise Unavailable(interface, _reason(error)) from None
    return source


def _narrowed(frames: FrameBatch) -> FrameBatch:
    """Return the frames at classic width where none is longer: an eighth to decode."""
    if (frames.size > CLASSIC_BYTES_MAX).any():
        return frames
    return FrameBatch(
        frames.time_ns, frames.bus, frames.ident, frames.size, frames.flags,
        np.ascontiguousarray(frames.payload[:, :CLASSIC_BYTES_MAX]),
    )  # fmt: skip


_REASONS: Final = {
    errno.EAFNOSUPPORT: "this kernel has no CAN (modprobe can_raw)",
    errno.EPROTONOSUPPORT: "this kernel has no raw CAN (modprobe can_raw)",
    errno.ENODEV: "no such CAN interface (see `ip -br link`)",
    errno.ENETDOWN: "interface is down (ip link set up)",
    errno.EPERM: "no permission to open a CAN socket",
}


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0, error.strerror or "cannot be opened")
