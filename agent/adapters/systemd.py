"""sd_notify(3) without libsystemd: one datagram to the socket that systemd names."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import MutableMapping

STATUS_CHARACTERS: Final = 400
VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells systemd READY, STATUS, WATCHDOG and STOPPING; silent outside systemd.

    ``watchdog_s``: how often it must be fed, 0.0 where nobody waits for it.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        """Take what systemd said out of the environment: no child speaks for us.

        An abstract socket starts with ``@``.
        """
        environ = os.environ if environment is None else environment
        name, usec, pid = (environ.pop(one, "") for one in VARIABLES)
        self._address = "\0" + name[1:] if name.startswith("@") else name
        ours = not pid or pid == str(os.getpid())
        is_told = ours and usec.isascii() and usec.isdigit()
        self.watchdog_s = int(usec) / 1e6 if is_told else 0.0

    def notify(self, *lines: str) -> None:
        """Send the lines; a missing or deaf socket never stops the agent."""
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with (
            socket.socket(socket.AF_UNIX, kind) as sender,
            contextlib.suppress(OSError),  # it is behind, or new: the next one will do
        ):
            sender.sendto("\n".join(lines).encode(), self._address)

    def ready(self, status: str) -> None:
        """Start-up is complete."""
        self.notify("READY=1", _status(status))

    def alive(self, status: str) -> None:
        """All parts make progress: feed the watchdog."""
        self.notify("WATCHDOG=1", _status(status))

    def status(self, status: str) -> None:
        """Say how it is, and feed nothing."""
        self.notify(_status(status))

    def extend(self, seconds: float, status: str) -> None:
        """Ask for more time to start or stop in, from now on (EXTEND_TIMEOUT_USEC=)."""
        self.notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", _status(status))

    def stopping(self) -> None:
        """The agent is shutting down."""
        self.notify("STOPPING=1")


def _status(text: str) -> str:
    return f"STATUS={printable(text)[:STATUS_CHARACTERS]}"
