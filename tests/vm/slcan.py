"""A CAN adapter on a pseudo terminal: the kernel's slcan makes a real interface of it.

The interface is of kind "can" with states, bit rate and counters, as of a controller;
the adapter's side is played here. Lines of the protocol end in CR: ``t12321122`` is a
frame, ``sp000130`` error-passive, ``sb000000`` bus-off, ``sa000000`` error-active,
``e1o`` an overrun of the receiver (drivers/net/can/slcan/slcan-core.c, Linux 6.12).
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import tty
from typing import Final

N_SLCAN: Final = 17
TIOCSETD: Final = 0x5423


class Adapter:
    """One adapter; the interface is there while it lives."""

    def __init__(self) -> None:
        """Attach the line discipline; the interface is down."""
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._ours, termios.TCSANOW)
        tty.setraw(self._theirs, termios.TCSANOW)
        self._said = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()
        fcntl.ioctl(self._theirs, TIOCSETD, struct.pack("i", N_SLCAN))

    def say(self, *lines: str) -> None:
        """Tell the kernel these lines."""
        for line in lines:
            os.write(self._ours, line.encode() + b"\r")

    def frames(self) -> list[str]:
        """Return the frames that the kernel asked to have sent."""
        lines = bytes(self._said).decode("ascii", "replace").split("\r")
        return [line for line in lines if line[:1] in set("tTrR")]

    def unplug(self) -> None:
        """Take the adapter away."""
        os.close(self._theirs)
        os.close(self._ours)

    def _listen(self) -> None:
        """Read all the time: the driver waits until its commands were taken."""
        while True:
            try:
                self._said += os.read(self._ours, 4096)
            except OSError:
                return
