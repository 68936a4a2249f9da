"""The bench's broker and its processes of devices; each is ended by its own id."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from agent.adapters.processes import free_port

if TYPE_CHECKING:
    from types import TracebackType

ROOT: Final = Path(__file__).resolve().parents[1]
START_S: Final = 20.0
STOP_S: Final = 20.0
CONNECT_S: Final = 600.0  # for all devices of a process, on a slow machine
TELL_S: Final = 300.0  # on a machine with much else to do
SUMMED: Final = ("received", "waiting", "unacknowledged", "trials", "lost")
SETTINGS: Final = (
    "allow_anonymous true",
    "max_connections -1",
    "max_queued_messages 0",  # a fleet at once: 1,000 a client as shipped
    "log_type error",
    "persistence false",
)


class BenchBroker:
    """One mosquitto on 127.0.0.1, for this run alone."""

    def __init__(self, folder: Path) -> None:
        """Write its configuration; RuntimeError where there is no mosquitto."""
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise RuntimeError("mosquitto is not installed")
        self._program = program
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        user = ["user root"] if os.geteuid() == 0 else []
        lines = [f"listener {self.port} 127.0.0.1", *SETTINGS, *user]
        self._config.write_text("\n".join(lines) + "\n", encoding="ascii")
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1.0),
            ):
                return self
            time.sleep(0.05)
        self.__exit__(None, None, None)
        raise RuntimeError(f"mosquitto does not start: {self._log.read_text()[-500:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            _end(self._process)

    def memory_bytes(self) -> tuple[int, int]:
        """Return resident memory (now, largest so far)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        sizes = dict(ln.split(":", 1) for ln in status.splitlines() if ln[:2] == "Vm")
        now, most = (int(sizes[name].split()[0]) for name in ("VmRSS", "VmHWM"))
        return now * 1024, most * 1024

    def cpu_s(self) -> float:
        """Return the processor seconds that it has used."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")")[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Workers:
    """Processes of simulated devices; ``plain`` is what each is told to begin with."""

    def __init__(
        self, folder: Path, names: list[str], count: int, plain: dict[str, Any]
    ) -> None:
        """Start them; they connect at once."""
        self._processes: list[subprocess.Popen[str]] = []
        self._errors = [folder / f"devices-{n}.log" for n in range(count)]
        for number in range(count):
            told = folder / f"devices-{number}.json"
            told.write_text(json.dumps({**plain, "names": names[number::count]}))
            with self._errors[number].open("w") as errors:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "bench.rollout_fleet", str(told)],
                        cwd=ROOT, text=True, stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, stderr=errors,
                    )
                )  # fmt: skip

    def connected(self) -> int:
        """Wait until all are connected; return how many are."""
        return sum(self._line(n, CONNECT_S)["connected"] for n in self._numbers())

    def mark(self) -> None:
        """Begin a new step: counts and times start anew."""
        self._ask("mark")

    def told(self) -> dict[str, Any]:
        """Return the sums of what all devices did since the mark."""
        each = self._ask("tell")
        counts: dict[str, int] = {}
        decides: dict[str, int] = {}
        for one in each:
            for name, count in one["counts"].items():
                counts[name] = counts.get(name, 0) + count
            for version, count in one["decides"].items():
                decides[version] = decides.get(version, 0) + count
        firsts = [one["first_message_s"] for one in each if one["first_message_s"]]
        return {
            "counts": counts,
            "decides": decides,
            "first_message_s": min(firsts, default=0.0),
            "last_message_s": max(one["last_message_s"] for one in each),
            "last_ack_s": max(one["last_ack_s"] for one in each),
            **{name: sum(one[name] for one in each) for name in SUMMED},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.write('{"do": "stop"}\n')
                    process.stdin.close()
        for process in self._processes:
            _end(process, STOP_S)

    def _numbers(self) -> range:
        return range(len(self._processes))

    def _ask(self, what: str) -> list[dict[str, Any]]:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"do": what}) + "\n")
            process.stdin.flush()
        return [self._line(number, TELL_S) for number in self._numbers()]

    def _line(self, number: int, wait_s: float) -> dict[str, Any]:
        stream = self._processes[number].stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], wait_s)
        line = stream.readline() if ready else ""
        if not line:
            said = self._errors[number].read_text().strip().splitlines()
            raise RuntimeError(f"devices {number}: {said[-1] if said else 'no answer'}")
        found: dict[str, Any] = json.loads(line)
        return found


def _end(process: subprocess.Popen[Any], wait_s: float = 0.0) -> None:
    """End one process of ours: by itself within ``wait_s``, SIGTERM, SIGKILL."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(wait_s)
        return
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
        return
    process.kill()
    process.wait()
