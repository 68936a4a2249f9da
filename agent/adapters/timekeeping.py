"""Whether any time daemon keeps the clock right: adjtimex(2), or who may ask it.

systemd's ProtectClock= refuses the system call even to who only reads. There a helper
answers (``sluicegate-clock.socket``): it runs, asks, and ends. It is asked in a thread,
so that nobody waits for it; until it has answered, the clock counts as not kept.
"""

from __future__ import annotations

import ctypes
import math
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEX_BYTES: Final = 256  # struct timex is 208 bytes on 64-bit Linux
TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
HELPER: Final = "/run/sluicegate-clock.sock"
KEPT: Final = b"kept\n"
NOT_KEPT: Final = b"not kept\n"
ANSWER_S: Final = 10.0
ASK_AGAIN_S: Final = 30.0
BELIEVED_S: Final = 120.0  # a good answer
ANSWERS_SAME: Final = 5  # bad ones in a row: here is no time server, for now
ASK_SELDOM_S: Final = 300.0  # then; each question starts an interpreter
STEP_S: Final = 2.0  # wall clock against monotonic; slewing stays far below


def kernel_says() -> bool | None:
    """Return what the kernel says; None where this process may not ask."""
    # modes = 0: adjtimex(2) only reads, and needs no privilege
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return None if state == -1 else state != TIME_ERROR


def tell() -> int:
    """Answer, as the helper does: one line on standard output.

    BrokenPipeError, here and not at the interpreter's end, where the asker has gone.
    """
    sys.stdout.write((KEPT if kernel_says() else NOT_KEPT).decode())
    sys.stdout.flush()
    return 0


def ask(path: str) -> bool:
    """Return what the helper at ``path`` says; False where there is no answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as helper:
            helper.settimeout(ANSWER_S)
            helper.connect(path)
            answer = b""
            while chunk := helper.recv(len(NOT_KEPT) + 1):
                answer += chunk
                if len(answer) > len(NOT_KEPT):
                    return False
    except OSError:
        return False
    return answer == KEPT


class Timekeeping:
    """Remembers what was answered, and asks again when that is old."""

    def __init__(
        self,
        kernel: Callable[[], bool | None] = kernel_says,
        helper: Callable[[], bool] = lambda: ask(HELPER),
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Ask nobody yet."""
        self._kernel = kernel
        self._helper = helper
        self._monotonic = monotonic
        self._wall = wall
        self._kept = False
        self._refused = 0  # bad answers in a row
        self._asked_s = -math.inf
        self._next_s = -math.inf
        self._offset_s: float | None = None  # of the wall clock, at the last look
        self._asking: threading.Thread | None = None

    def is_kept(self) -> bool:
        """Tell whether the clock is kept; never waits."""
        said = self._kernel()
        if said is not None:
            return said
        now_s = self._monotonic()
        if self._has_stepped(now_s):  # by a time server that has come, or by a hand
            self._refused = 0
            self._next_s = min(self._next_s, self._asked_s + ASK_AGAIN_S)
        is_asking = self._asking is not None and self._asking.is_alive()
        if now_s >= self._next_s and not is_asking:
            self._asked_s = now_s
            self._asking = threading.Thread(
                target=self._ask, name="clock-helper", daemon=True
            )
            self._asking.start()
        return self._kept

    def _has_stepped(self, now_s: float) -> bool:
        before_s, self._offset_s = self._offset_s, self._wall() - now_s
        return before_s is not None and abs(self._offset_s - before_s) > STEP_S

    def _ask(self) -> None:
        self._kept = self._helper()
        self._refused = 0 if self._kept else self._refused + 1
        pause_s = BELIEVED_S if self._kept else ASK_AGAIN_S
        if self._refused >= ANSWERS_SAME:
            pause_s = ASK_SELDOM_S
        self._next_s = self._monotonic() + pause_s
