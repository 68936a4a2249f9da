"""Every interface that python-can knows, as a FrameSource.

A reader thread takes messages from the bus and hands them to the event loop in chunks
through a bounded queue; what does not fit is counted, never silently lost. Nothing here
sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import can

from agent.adapters.messages import frames_of, is_frame
from agent.errors import BadInput, Unavailable
from agent.limits import BATCH_FRAMES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from protocols.frames import FrameBatch

QUEUE_FRAMES_MAX: Final = 65_536  # 2 s of 8 full classic buses at 500 kbit/s
POLL_S: Final = 0.2  # how soon the thread sees that it is to end
CLOSE_S: Final = 5 * POLL_S
BROKEN_RUN_MAX: Final = 10_000  # messages in a row that are none: the driver is broken
PAUSE_S: Final = 0.02  # frames gather in the queue: 50 wake-ups a second

# What python-can's drivers raise besides CanError for a bus that is not there: kvaser a
# NameError where its vendor's library is absent.
OPEN_ERRORS: Final = (
    can.CanError, OSError, ImportError, NameError, RuntimeError, ValueError, TypeError,
    AttributeError, LookupError, ArithmeticError, AssertionError, EOFError,
    struct.error,
)  # fmt: skip
# ... and for a message that they cannot read.
UNREADABLE: Final = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error,
)  # fmt: skip


class PythonCanSource:
    """Frames of one python-can bus; starts reading when it is made."""

    def __init__(
        self,
        bus: can.BusABC,
        name: str,
        index: int = 0,
        *,
        batch_frames: int = BATCH_FRAMES_MAX,
        queue_frames: int = QUEUE_FRAMES_MAX,
        pause_s: float = PAUSE_S,
    ) -> None:
        """Take over ``bus``; ``index`` is what ``FrameBatch.bus`` will say."""
        self.name = name
        self._bus = bus
        self._index = index
        self._batch_frames = batch_frames
        self._queue_frames = queue_frames
        self._pause_s = pause_s
        self._queue: deque[can.Message] = deque()
        self._lost = 0
        self.turns = 0  # chunks taken
        self._broken_run = 0  # messages in a row that the driver could not read
        self._failure = ""
        self._is_shut = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._thread = threading.Thread(
            target=self._read, name=f"can-{name}", daemon=True
        )
        self._thread.start()

    def lost(self) -> int:
        """Return frames that found the queue full, and messages that were no frames."""
        return self._lost

    async def batches(self) -> AsyncIterator[FrameBatch]:
        """Yield batches as they come until close; Unavailable when the driver fails."""
        event = asyncio.Event()
        with self._lock:
            self._wake = (asyncio.get_running_loop(), event)
        event.set()  # what came before
        while True:
            await event.wait()
            if not self._ended.is_set():
                await asyncio.sleep(self._pause_s)
            event.clear()
            # Read before the queue is emptied: what precedes the end is delivered.
            ended, failure = self._ended.is_set(), self._failure
            while chunk := self._take():
                yield frames_of(chunk, [self._index] * len(chunk))
                if len(chunk) < self._batch_frames and not ended:
                    if self._queue:  # came meanwhile: gathers until the next wake-up
                        event.set()
                    break
                await asyncio.sleep(0)  # under a flood, others get a turn, too
            if failure:
                raise Unavailable(self.name, failure)
            if ended:
                return

    def close(self) -> None:
        """End the thread and shut the bus down; waits for the thread.

        Not for one that its driver does not let go of: the loop stands still meanwhile,
        and a clean stop has more to do than this bus. It shuts the bus down where it
        comes back, else it ends with the process.
        """
        self._ended.set()
        self._notify()
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._shut_down()

    def _shut_down(self) -> None:
        if self._is_shut:
            return
        self._is_shut = True
        with contextlib.suppress(*OPEN_ERRORS):  # a device that is gone
            self._bus.shutdown()

    def is_due(self) -> bool:
        """Tell whether messages wait for the event loop."""
        return bool(self._queue)

    def _take(self) -> list[can.Message]:
        self.turns += 1
        count = min(len(self._queue), self._batch_frames)
        return [self._queue.popleft() for _ in range(count)]

    def _read(self) -> None:
        """Run in the thread: bus to queue."""
        why = "a bug"
        try:
            while not self._ended.is_set():
                message = self._received()
                if message is None:
                    continue
                if not is_frame(message) or len(self._queue) >= self._queue_frames:
                    self._lost += 1
                    continue
                self._queue.append(message)
                if len(self._queue) == 1:
                    self._notify()
        except (can.CanError, OSError, RuntimeError, EOFError, *UNREADABLE) as error:
            # The class only: a driver's text may quote what it received.
            why = type(error).__name__
        finally:  # whatever ended it: a bus that nobody reads is never silent
            if not self._ended.is_set():
                self._failure = f"driver failed ({why})"
                self._notify()
            else:
                self._shut_down()

    def _received(self) -> can.Message | None:
        """Return the next message; one that the driver cannot read is lost, not fatal.

        A driver raises for a sender's bytes as it does for a device that is gone; only
        the cause tells: anybody on a multicast group could blind the bus otherwise.
        """
        try:
            message = self._bus.recv(POLL_S)
        except (can.CanOperationError, *UNREADABLE) as error:
            cause = error.__cause__
            is_operation = isinstance(error, can.CanOperationError)
            if is_operation and (cause is None or isinstance(cause, OSError)):
                raise
            self._broken_run += 1
            if self._broken_run > BROKEN_RUN_MAX:
                raise
            self._lost += 1
            return None
        if message is not None:
            self._broken_run = 0
        return message

    def _notify(self) -> None:
        with self._lock:
            if self._wake is not None:
                loop, event = self._wake
                with contextlib.suppress(
                    RuntimeError
                ):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(event.set)


def open_pythoncan(
    interface: str,
    channel: str,
    index: int = 0,
    *,
    options: Mapping[str, str | int | bool] | None = None,
    batch_frames: int = BATCH_FRAMES_MAX,
    pause_s: float = PAUSE_S,
) -> PythonCanSource:
    """Open python-can's ``interface`` on ``channel`` with the driver's own ``options``.

    BadInput for an interface that python-can does not know; Unavailable where the
    driver or the device is not there.
    """
    name = f"{interface}:{channel}"
    if interface not in can.VALID_INTERFACES:
        known = ", ".join(sorted(can.VALID_INTERFACES))
        raise BadInput("bus", interface, "python-can has no such interface", known)
    keywords: dict[str, Any] = dict(options or {})
    try:
        bus = can.Bus(interface=interface, channel=channel, **keywords)
    except OPEN_ERRORS as error:
        raise Unavailable(name, f"{type(error).__name__}: {error}") from None
    return PythonCanSource(bus, name, index, batch_frames=batch_frames, pause_s=pause_s)
