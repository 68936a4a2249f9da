"""A whole gateway for the promises: the daemon as a process, a broker, a collector.

    with Gateway(tmp_path) as gateway:      # files, keys and cards; nothing runs yet
        gateway.start()                     # `sluicegate run`; waits for READY=1
        gateway.drive()                     # a simulated vehicle on three CAN buses
        gateway.kill()                      # -9
        gateway.start(); gateway.drained(); gateway.stop()
    assert gateway.collector.problems() == []

Waiting is always for something that can be seen (READY=1, a status page, a count) and
never longer than PATIENCE_S.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from agent.adapters.device_key import load_or_create
from agent.adapters.status_client import fetch_page
from agent.errors import Unavailable
from fleet.keys import generate
from protocols.recipients import encode_card
from tests.support.broker import Broker
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fleet.keys import RecipientKeys

PATIENCE_S = 90.0  # a safety net, for disks that stall; nothing waits so long
LOOK_S = 0.02
DAEMON = ("-c", "from agent.main import main; main()")
OTHER_WORLD = ("-m", "tests.support.worlds")  # a wrong clock, a flood of frames
BUSES = 3

POLICY = """\
schema: sluicegate/policy/1
name: whole-gateway
version: {version}
min_version: 1
catalogues: [cn-auto]
home_region: CN
destinations:
  oem: {{region: CN, recipients: [oem-2026], suite: x25519-aes256gcm}}
  supplier:
    region: DE
    recipients: [brakes-gmbh]
    suite: mlkem768x25519-aes256gcm
rules:
  - {{name: events, match: {{category: security.event}}, to: oem, purpose: watching,
     do: [encrypt]}}
  - {{name: positions, match: {{category: [location.precise, location.inertial]}},
     do: [drop]}}
{rules}
retention: {{default: 1d}}
telemetry: {{interval: 1s, checkpoint: 1s}}
"""
SPEED = """\
  - {name: speed, match: {category: location.deadreckoning}, to: oem,
     purpose: fleet-operation, do: [{every: 200ms}, encrypt]}
"""
REST = """\
  - {name: brakes, match: {item: "Vehicle.Chassis.**", max_tier: G2, pi: none},
     to: supplier, purpose: warranty,
     do: [{aggregate: {window: 1s, of: [min, max]}}, encrypt]}
  - {name: chassis, match: {category: chassis.controls}, to: oem, purpose: quality,
     do: [encrypt]}
  - {name: powertrain, match: {category: powertrain, max_tier: G2}, to: oem,
     purpose: quality, do: [encrypt]}
  - {name: battery, match: {category: energy.state}, to: oem, purpose: safety,
     do: [encrypt]}
"""
TRUST = '[trust]\nroot = "root.json"\ngroups = ["east", "vans"]\n'
NAMES = ("oem-2026", "brakes-gmbh")


@dataclass(frozen=True)
class Settings:
    """What a test may want otherwise; text goes into gw.toml as it stands."""

    spool_bytes: int = 64 * 1024 * 1024
    policy: str = POLICY.format(version=1, rules=SPEED + REST)
    bindings: str = '["sim-vehicle.bindings"]'
    buses: int = BUSES
    more: str = ""
    root: bytes = b""  # of a fleet whose policies are pushed
    through: int = 0  # port of a proxy before the broker
    not_after: dt.date = dt.date(2030, 1, 1)
    program: tuple[str, ...] = DAEMON


def free_udp_ports(count: int) -> int:
    """Return the first of ``count`` UDP ports in a row that nobody has."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            first.bind(("127.0.0.1", 0))
            base: int = first.getsockname()[1]
            try:
                for more in range(1, count):
                    other = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                    other.bind(("127.0.0.1", base + more))
            except OSError:
                continue
            return base


class Gateway:
    """Files of one gateway, and the processes around it."""

    device, fleet = "gw-1", "test"

    def __init__(
        self,
        folder: Path,
        settings: Settings | None = None,
        *,
        with_broker: bool = True,
        persistence: bool = False,
        broker_port: int = 0,
    ) -> None:
        self.folder = folder
        self.settings = settings or Settings()
        self.state = folder / "state"
        self.broker = Broker(folder, persistence=persistence, port=broker_port)
        self.with_broker = with_broker
        self.ready_s = 0.0  # of the last start
        self.process: subprocess.Popen[bytes] | None = None
        self.passed: tuple[int, ...] = ()  # descriptors for the next start
        self._cars: list[subprocess.Popen[bytes]] = []
        self._udp = free_udp_ports(BUSES)
        self._log = (folder / "agent.log").open("ab")
        self.keys = self._write_files()
        public = load_or_create(self.state / "device.key", self.device).public_key()
        self.collector = Receiver(self.fleet, self.device, public, self.keys)

    # --- files ----------------------------------------------------------------------

    def _write_files(self) -> list[RecipientKeys]:
        cards = self.folder / "cards"
        cards.mkdir()
        self.state.mkdir(mode=0o700)
        keys = [
            generate(name, dt.date(2026, 1, 1), self.settings.not_after)
            for name in NAMES
        ]
        for one in keys:
            (cards / f"{one.name}.card.json").write_bytes(encode_card(one.card()))
        self.write_policy(self.settings.policy)
        if self.settings.root:
            (self.folder / "root.json").write_bytes(self.settings.root)
        self.write_config()
        return keys

    def write_policy(self, text: str) -> None:
        (self.folder / "policy.yaml").write_text(text, encoding="utf-8")

    def write_config(self) -> None:
        settings = self.settings
        buses = "".join(
            f'[[can]]\nname = "can{number}"\ninterface = "udp_multicast"\n'
            f'channel = "239.74.163.2"\nfd = {"true" if number == 2 else "false"}\n'
            f"options = {{port = {self._udp + number}}}\n"
            for number in range(settings.buses)
        )
        text = (
            f'device = "{self.device}"\nfleet = "{self.fleet}"\nstate_dir = "state"\n'
            f'policy = "policy.yaml"\nbindings = {settings.bindings}\n'
            f'recipients = "cards"\n{buses}'
            f"[mqtt]\nport = {settings.through or self.broker.port}\n"
            f"[spool]\nmax_bytes = {settings.spool_bytes}\n"
            f'[metrics]\nsocket = "status.sock"\n{settings.more}\n'
            f"{TRUST if settings.root else ''}"
        )
        (self.folder / "gw.toml").write_text(text, encoding="ascii")

    # --- the agent ------------------------------------------------------------------

    def launch(self, command: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start the daemon and do not wait; ``command`` stands before it (prlimit)."""
        program = self.settings.program
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"))
        self.process = subprocess.Popen(
            [*command, sys.executable, *program, "run", "-c", "gw.toml"],
            cwd=self.folder,
            env=environment | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=self.passed,
        )
        return self.process

    def start(self, command: tuple[str, ...] = ()) -> None:
        """Start the daemon and wait for READY=1."""
        name = self.folder / "notify"
        name.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(name))
            notify.settimeout(LOOK_S)
            began = time.monotonic()
            process = self.launch(command)
            while process.poll() is None:
                assert time.monotonic() - began < PATIENCE_S, self.log()
                with contextlib.suppress(TimeoutError):
                    if b"READY=1" in notify.recv(4096):
                        self.ready_s = time.monotonic() - began
                        return
        raise AssertionError(f"ended with {process.returncode}: {self.log()}")

    def kill(self) -> None:
        """Kill -9, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        return self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the daemon."""
        assert self.process is not None
        self.process.send_signal(number)

    def _end(self, how: signal.Signals) -> int:
        process = self.process
        assert process is not None
        if process.poll() is None:
            process.send_signal(how)
        self.process = None
        return process.wait(PATIENCE_S)

    def log(self) -> str:
        """Return all that the daemon has printed."""
        return (self.folder / "agent.log").read_text(encoding="utf-8")

    # --- what it says ---------------------------------------------------------------

    def page(self, name: str = "/status") -> str:
        """Return a page of the status socket; Unavailable where nobody answers."""
        return fetch_page(str(self.folder / "status.sock"), 0, name).decode()

    def status(self) -> dict[str, object]:
        """Return the status."""
        found: dict[str, object] = json.loads(self.page())
        return found

    def problems(self) -> str:
        """Return what the agent says is wrong, one line."""
        found = self.status()["problems"]
        assert isinstance(found, list)
        return "; ".join(found)

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        rows = [
            line.rsplit(" ", 1)
            for line in self.page("/metrics").splitlines()
            if line.split("{", 1)[0].split(" ", 1)[0] == f"sluicegate_{name}"
        ]
        return sum(float(value) for _, value in rows)

    def until(self, seen: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Wait until ``seen`` gives something true; the daemon must live meanwhile."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(Unavailable):
                if seen():
                    return
            assert time.monotonic() - began < patience_s, self._told()
            assert self.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(LOOK_S)
                raise AssertionError(f"the daemon ended with {code}: {self.log()}")

    def _told(self) -> str:
        with contextlib.suppress(Unavailable):
            return f"waited too long: {self.page()} {self.log()}"
        return f"no answer: {self.log()}"

    def drained(self) -> None:
        """Wait until nothing is spooled and the collector has the whole log."""
        self.until(
            lambda: (
                self.metric("spool_records") == 0
                and self.metric("evidence_entries")
                == self.metric("evidence_entries_received")
            )
        )

    # --- around it ------------------------------------------------------------------

    def drive(self, speed: float = 1.0, scenario: str = "city-drive") -> None:
        """Put a simulated vehicle onto the buses until `park`."""
        command = (
            f"-m firmware_sim vehicle {scenario} --interface udp_multicast"
            f" --channel 239.74.163.2 --port {self._udp} --forever --speed {speed}"
        )
        path = os.pathsep.join(p for p in sys.path if p)
        self._cars.append(
            subprocess.Popen(
                [sys.executable, *command.split()],
                env=dict(os.environ, PYTHONPATH=path),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def park(self) -> None:
        """End every vehicle."""
        for car in self._cars:
            car.terminate()
            car.wait(PATIENCE_S)
        self._cars.clear()

    def __enter__(self) -> Self:
        if self.with_broker:
            self.broker.start()
        self.collector.start(self.broker.port)
        return self

    def __exit__(self, *_: object) -> None:
        self.park()
        if self.process is not None:
            self.kill()
        self.collector.stop()
        self.broker.kill()
        self._log.close()
