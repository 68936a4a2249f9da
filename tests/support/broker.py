"""A real mosquitto on 127.0.0.1, with its own folder, port and configuration.

Use::

    from tests.support.broker import Broker, needs_mosquitto

    with Broker(tmp_path, persistence=True) as broker:
        ... broker.port ...
        broker.kill()      # SIGKILL, as a power cut would
        broker.start()     # same port, same folder

``acl`` is the text of a mosquitto access file; ``settings`` are further lines of the
listener's configuration; ``tls`` makes the listener ask for client certificates.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

START_ATTEMPTS = 400
CONNECT_TIMEOUT_S = 0.05
PORTS = range(20_000, 32_000)  # Linux connects from 32,768 on
_NEXT = itertools.count(397 * os.getpid())  # each worker of pytest elsewhere


def mosquitto() -> str | None:
    """Return where mosquitto is; Debian keeps it out of a user's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


needs_mosquitto = pytest.mark.skipif(mosquitto() is None, reason="needs mosquitto")


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody has at this moment.

    It is below those that the kernel gives to whoever connects: between the end of a
    server and its next start, no connection of another test takes it.
    """
    while True:
        port = PORTS.start + next(_NEXT) % len(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True)
class Tls:
    """Files of the broker's listener; clients need a certificate of the same CA."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class Broker:
    """One mosquitto process. ``start`` after ``kill`` or ``stop`` is a restart."""

    def __init__(
        self,
        folder: Path,
        *,
        persistence: bool = False,
        acl: str = "",
        settings: tuple[str, ...] = (),
        tls: Tls | None = None,
        port: int = 0,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self._folder = folder / f"mosquitto-{self.port}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._config = self._folder / "mosquitto.conf"
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "log_type all",
            *settings,
        ]
        if os.geteuid() == 0:  # else it drops to a user that may not enter the folder
            lines.append("user root")
        if tls is not None:
            lines += [
                f"cafile {tls.ca_file}",
                f"certfile {tls.cert_file}",
                f"keyfile {tls.key_file}",
                "require_certificate true",
            ]
        if persistence:
            lines += [
                "persistence true",
                f"persistence_location {self._folder}/",
                "autosave_interval 1",
                "autosave_on_changes true",
            ]
        if acl:
            (self._folder / "acl").write_text(acl, encoding="ascii")
            lines.append(f"acl_file {self._folder / 'acl'}")
        self._config.write_text("\n".join(lines) + "\n", encoding="ascii")

    def start(self) -> Broker:
        """Start and wait until it accepts connections; RuntimeError with its log."""
        program = mosquitto()
        assert program is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        for _ in range(START_ATTEMPTS):
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection((self.host, self.port), 1.0):
                    return self
            except OSError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(CONNECT_TIMEOUT_S)
        self.kill()
        raise RuntimeError(f"mosquitto does not start: {self.log()[-2000:]}")

    @property
    def is_running(self) -> bool:
        """Tell whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing is saved that was not saved before."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: an orderly end that saves retained messages and sessions."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: the host answers and the broker does not."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """Return all that it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
        self._process.wait(60)  # a busy machine may take its time
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()  # nobody looks at what an orderly end saves; it takes 0.1 s
