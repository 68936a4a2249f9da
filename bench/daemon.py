"""The daemon itself, `sluicegate run`, started as systemd would start it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.device_key import load_or_create
from agent.adapters.processes import free_port
from fleet.keys import generate
from protocols.recipients import encode_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEVICE = "bench"
POLICY = "passenger-fleet"
RECIPIENTS = ("oem-2026", "brakes-gmbh", "oem-legal-2026")
GROUP = "239.74.163.2"
BUSES = ("can0", "can1", "can2", "can3")  # the simulated car fills the first three
READY_S = 30.0
STOP_S = 10.0
SPOOL_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that has said READY."""

    process: subprocess.Popen[bytes]
    start_s: float  # from fork to READY=1

    def rss_bytes(self) -> int:
        """Return its resident memory now (Linux)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")


def prepare(folder: Path, can_port: int | None) -> Path:
    """Write keys, cards and configuration; return the configuration's path.

    ``can_port``: first UDP port of four python-can buses; None: no bus at all. The
    broker is a port where nobody listens: the uplink keeps trying, the spool keeps.
    """
    cards = folder / "cards"
    cards.mkdir()
    today = dt.datetime.now(dt.UTC).date()
    for name in RECIPIENTS:
        card = generate(name, today, today + dt.timedelta(days=2)).card()
        (cards / f"{name}.card.json").write_bytes(encode_card(card))
    state = folder / "state"
    state.mkdir(mode=0o700)
    load_or_create(state / "device.key", DEVICE)
    buses = ""
    if can_port is not None:
        buses = "".join(
            f'[[can]]\nname = "{name}"\ninterface = "udp_multicast"\n'
            f'channel = "{GROUP}"\nfd = {"true" if name == "can2" else "false"}\n'
            f"options = {{port = {can_port + number}}}\n"
            for number, name in enumerate(BUSES)
        )
    else:
        # The bindings name these buses; nothing ever comes on them.
        buses = "".join(
            f'[[can]]\nname = "{name}"\ninterface = "virtual"\n' for name in BUSES[:3]
        )
    config = folder / "sluicegate.toml"
    config.write_text(
        f'device = "{DEVICE}"\nfleet = "bench"\nstate_dir = "state"\n'
        f'policy = "{POLICY}"\nbindings = ["sim-vehicle"]\nrecipients = "cards"\n'
        f"{buses}[mqtt]\nport = {free_port()}\n[spool]\nmax_bytes = {SPOOL_BYTES}\n"
        f'[metrics]\nsocket = "{folder / "status.sock"}"\n'
    )
    return config


@contextlib.contextmanager
def running(
    config: Path,
    command: Sequence[str] = (),
    passed: Sequence[socket.socket] = (),
) -> Iterator[Running]:
    """Start the daemon, wait for READY=1, stop it at the end.

    ``command``: another program that is the daemon; it inherits ``passed``.
    """
    with tempfile.TemporaryDirectory() as temporary:
        name, said = str(Path(temporary, "notify")), Path(temporary, "errors")
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
            said.open("wb") as errors,
        ):
            listener.bind(name)
            listener.settimeout(0.2)
            program = [sys.executable, "-c", "from agent.main import main; main()"]
            start = time.perf_counter()
            process = subprocess.Popen(
                [*(command or program), "run", "-c", str(config)],
                pass_fds=[one.fileno() for one in passed],
                env={**os.environ, "NOTIFY_SOCKET": name},
                stderr=errors,
            )
            try:
                _wait(listener, process, said)
                yield Running(process, time.perf_counter() - start)
            finally:
                process.terminate()
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait(
    listener: socket.socket, process: subprocess.Popen[bytes], said: Path
) -> None:
    """Return at READY=1; RuntimeError with the daemon's last line where it ends."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in listener.recv(4096):
                return
        if process.poll() is not None:
            break
    lines = said.read_text(errors="replace").strip().splitlines() or ["not ready"]
    raise RuntimeError(lines[-1])


@contextlib.contextmanager
def vehicle(can_port: int) -> Iterator[None]:
    """Keep a simulated car driving on the first three buses."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "firmware_sim", "vehicle", "city-drive",
            "--interface", "udp_multicast", "--channel", GROUP,
            "--port", str(can_port), "--forever", "--truth", os.devnull,
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(STOP_S)
