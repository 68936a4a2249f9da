"""Whether any time daemon keeps the clock right: adjtimex(2), or who may ask it.

systemd's ProtectClock= refuses the system call even to who only reads. There a helper
answers (``sluicegate-clock.socket``): it runs, asks, and ends. It is asked in a thread,
so that nobody waits for it; until it has answered, the clock counts as not kept.
"""

from __future__ import annotations

import ctypes
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
ASK_AGAIN_S: Final = 30.0  # a good answer is believed four times as long


def kernel_says() -> bool | None:
    """Return what the kernel says; None where this process may not ask."""
    # modes = 0: adjtimex(2) only reads, and needs no privilege
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return None if state == -1 else state != TIME_ERROR


def tell() -> int:
    """Answer, as the helper does: one line on standard output."""
    sys.stdout.write((KEPT if kernel_says() else NOT_KEPT).decode())
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
    ) -> None:
        """Ask nobody yet."""
        self._kernel = kernel
        self._helper = helper
        self._monotonic = monotonic
        self._kept = False
        self._next_s: float | None = None
        self._asking: threading.Thread | None = None

    def is_kept(self) -> bool:
        """Tell whether the clock is kept; never waits."""
        said = self._kernel()
        if said is not None:
            return said
        is_due = self._next_s is None or self._monotonic() >= self._next_s
        if is_due and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(
                target=self._ask, name="clock-helper", daemon=True
            )
            self._asking.start()
        return self._kept

    def _ask(self) -> None:
        self._kept = self._helper()
        self._next_s = self._monotonic() + ASK_AGAIN_S * (4 if self._kept else 1)
