"""Child processes of the demo: started with fixed arguments, ended by their own id."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from typing import IO, TYPE_CHECKING, Final, Self

from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

END_TIMEOUT_S: Final = 10.0


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


class Processes:
    """Starts named children with their output in files; ends them all at the end."""

    def __init__(self, folder: Path) -> None:
        """Keep one log file per child in ``folder``."""
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs, gently, then not."""
        for name in list(self._children):
            with contextlib.suppress(Unavailable):
                self.end(name)
        for log in self._logs:
            log.close()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a child; its output goes to ``<name>.log``."""
        log = (self._folder / f"{name}.log").open("ab")
        self._logs.append(log)
        self._children[name] = subprocess.Popen(  # noqa: S603  # fixed argv, no shell
            list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def kill(self, name: str) -> None:
        """Kill -9, as a power cut would."""
        child = self._children.pop(name)
        child.kill()
        child.wait(END_TIMEOUT_S)

    def end(self, name: str) -> int:
        """SIGTERM and wait; return the exit code."""
        child = self._children.pop(name)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            return child.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(END_TIMEOUT_S)
            raise Unavailable(name, "did not end on SIGTERM") from None

    def pids(self) -> dict[str, int]:
        """Return the process id of every child that was started and not ended."""
        return {name: child.pid for name, child in self._children.items()}

    def pid(self, name: str) -> int:
        """Return a child's process id; 0 where it was not started, or was ended."""
        child = self._children.get(name)
        return 0 if child is None else child.pid

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a child."""
        self._children[name].send_signal(number)

    def gone(self) -> list[tuple[str, int]]:
        """Forget the children that have ended by themselves; return (name, code)."""
        gone = [
            (name, code)
            for name, child in self._children.items()
            if (code := child.poll()) is not None
        ]
        for name, _ in gone:
            del self._children[name]
        return gone

    def check_all(self) -> None:
        """Unavailable where any child has died by itself."""
        for name in self._children:
            self.check(name)

    def check(self, name: str) -> None:
        """Unavailable with the last line of its log where a child has died."""
        child = self._children[name]
        if child.poll() is None:
            return
        lines = (self._folder / f"{name}.log").read_text("utf-8", "replace")
        last = lines.strip().splitlines()[-1:] or ["no output"]
        raise Unavailable(name, f"ended with {child.returncode}: {last[0]}")


def run_once(command: Sequence[str], timeout_s: float = 30.0) -> tuple[int, str]:
    """Run a command to its end; return (exit code, output)."""
    done = subprocess.run(  # noqa: S603  # fixed argv, no shell
        list(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")
