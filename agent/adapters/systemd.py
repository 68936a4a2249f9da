"""sd_notify(3) without libsystemd: one datagram to the socket that systemd names."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Tells systemd READY, STATUS, WATCHDOG and STOPPING; silent outside systemd."""

    def __init__(self) -> None:
        """Read NOTIFY_SOCKET once; an abstract socket starts with ``@``."""
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def notify(self, *lines: str) -> None:
        """Send the lines; a missing or deaf socket never stops the agent."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                self._address = ""

    def ready(self, status: str) -> None:
        """Start-up is complete."""
        self.notify("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """The data path made progress: feed the watchdog."""
        self.notify("WATCHDOG=1", f"STATUS={status}")

    def stopping(self) -> None:
        """The agent is shutting down."""
        self.notify("STOPPING=1")
