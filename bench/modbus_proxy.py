"""Modbus proxy: round trip, throughput, memory beside direct and other proxies.

Masters and two devices are one small C program (libmodbus): a device that answers at
once, and one that takes 1 ms, as a quick PLC does; a third is pymodbus' server. Every
way is measured in turn, several times, so that what else the machine does weighs on all
of them; ratios are medians of the rounds' ratios. Ours parses, judges every request by
1,000 rules, checks and learns replies and hands everything over in columns.

modbus-proxy (PyPI, 0.8.0) comes with the extra ``bench``; without it, haproxy or socat,
their rows say so. Needs gcc and libmodbus-dev. Alone: ``python -m bench.modbus_proxy``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from bench.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent
ROUNDS: Final = 7
ROUND_S: Final = 0.6
WARM_S: Final = 0.3
MASTERS: Final = 8
PATIENCE_S: Final = 20.0
RATIO_MAX: Final = 1.8
THROUGHPUT_MIN: Final = 2.0
PLC, TYPICAL, FAST = KINDS = (
    "device that takes 1 ms", "typical device (pymodbus)", "fast device (libmodbus)",
)  # fmt: skip
DELAYS_US: Final = {PLC: 1000, FAST: 0}
OURS, PIPELINED = "ours", "ours, 8 in flight"
PEER: Final = "modbus-proxy 0.8.0"
OTHERS: Final = (PEER, "haproxy", "socat")
RULES: Final = 1000
HAPROXY: Final = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen modbus
    bind 127.0.0.1:{port}
    server plc 127.0.0.1:{device}
"""


@dataclass
class Way:
    """One way from a master to the device: direct, or through something."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    medians_us: list[float] = field(default_factory=list)
    p99s_us: list[float] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)
    memory_mib: float = 0.0

    @property
    def median_us(self) -> float:
        """Return the median of the rounds' median round trips."""
        return statistics.median(self.medians_us)

    @property
    def p99_us(self) -> float:
        """Return the median of the rounds' 99th percentiles."""
        return statistics.median(self.p99s_us)

    def rate(self, masters: int) -> float:
        """Return the median requests a second."""
        return statistics.median(self.rates[masters])

    def slower(self, other: Way) -> float:
        """Return how many times the other's round trip; the median of the rounds."""
        pairs = zip(self.medians_us, other.medians_us, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def faster(self, other: Way, masters: int) -> float:
        """Return how many times the other's throughput; the median of the rounds."""
        pairs = zip(self.rates[masters], other.rates[masters], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


class Places:
    """Processes of one device's measurement; all end with it."""

    def __init__(self, peer: Path) -> None:
        """``peer``: the compiled ``modbus_peer``."""
        self._peer = peer
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _started(
        self, command: list[str], *, tells: bool = False
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.DEVNULL,
            stdout=subprocess.PIPE if tells else subprocess.DEVNULL,
        )  # fmt: skip
        self._running.callback(_end, process)
        return process

    def device(self, kind: str) -> int:
        """Start a device; return its port."""
        command = [sys.executable, "-m", "bench.modbus_device"]
        if kind in DELAYS_US:
            command = [str(self._peer), "device", str(DELAYS_US[kind])]
        process = self._started(command, tells=True)
        assert process.stdout is not None
        return int(process.stdout.readline())

    def ways(self, device: int) -> list[Way]:
        """Return direct, ours, and those of the others that are here."""
        found = [Way("direct", device)]
        for name, in_flight in ((OURS, 1), (PIPELINED, 8)):
            port = _free_port()
            words = [str(device), str(port), str(in_flight), str(RULES)]
            child = [sys.executable, "-m", "bench.modbus_proxied", *words]
            found.append(Way(name, port, self._started(child)))
        script = modbus_proxy()
        if script is not None:
            port = _free_port()
            told = ["-b", f"127.0.0.1:{port}", "--modbus", f"tcp://127.0.0.1:{device}"]
            found.append(Way(PEER, port, self._started([script, *told])))
        if shutil.which("haproxy"):
            port = _free_port()
            config = self._peer.with_name(f"haproxy-{port}.cfg")
            config.write_text(HAPROXY.format(port=port, device=device))
            command = ["haproxy", "-db", "-f", str(config)]
            found.append(Way("haproxy", port, self._started(command)))
        if shutil.which("socat"):
            port = _free_port()
            listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay"
            to = f"TCP:127.0.0.1:{device},nodelay"
            found.append(Way("socat", port, self._started(["socat", listen, to])))
        for way in found:
            _wait_for(way.port)
        return found

    def measure(self, way: Way, masters: int, seconds: float) -> dict[str, float]:
        """Ask through one way."""
        words = ["master", str(way.port), str(masters), str(seconds)]
        done = subprocess.run(
            [str(self._peer), *words], capture_output=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{way.name}: masters failed with {done.returncode}")
        told: dict[str, float] = json.loads(done.stdout)
        return told


def measured(kind: str, peer: Path) -> dict[str, Way]:
    """Return the ways to one kind of device, measured in turn."""
    with Places(peer) as places:
        ways = places.ways(places.device(kind))
        for way in ways:
            places.measure(way, 1, WARM_S)
        for _ in range(ROUNDS):
            for way in ways:
                told = places.measure(way, 1, ROUND_S)
                way.medians_us.append(told["median_us"])
                way.p99s_us.append(told["p99_us"])
                way.rates.setdefault(1, []).append(told["rate"])
            for way in ways:
                told = places.measure(way, MASTERS, ROUND_S)
                way.rates.setdefault(MASTERS, []).append(told["rate"])
        for way in ways:
            way.memory_mib = _memory_mib(way)
    return {way.name: way for way in ways}


def rows(data: Path) -> list[Row]:
    """Return the rows of DESIGN section 11 for the proxy; ``data`` is not used."""
    del data
    with tempfile.TemporaryDirectory() as folder:
        peer = _built(Path(folder))
        if peer is None:
            reason = "needs gcc and libmodbus-dev"
            return [Row("Modbus proxy", "NOT MEASURED", "", reason, "", "", None)]
        plc, typical, fast = (measured(kind, peer) for kind in KINDS)
    return [
        _round_trip(PLC, plc, None),
        _round_trip(TYPICAL, typical, RATIO_MAX),
        _round_trip(FAST, fast, None),
        *_beside(TYPICAL, typical),
        *_beside(FAST, fast),
        *_throughput(FAST, fast, 1, THROUGHPUT_MIN),
        *_throughput(FAST, fast, MASTERS, THROUGHPUT_MIN),
        *_throughput(FAST, fast, MASTERS, THROUGHPUT_MIN, PIPELINED),
        *_throughput(TYPICAL, typical, MASTERS, None),
        *_memory(fast),
    ]


def _round_trip(device: str, ways: dict[str, Way], most: float | None) -> Row:
    direct, ours = ways["direct"], ways[OURS]
    ratio = ours.slower(direct)
    return Row(
        what=f"Modbus round trip, {device}",
        ours=_times(ours),
        peer="direct",
        peer_value=_times(direct),
        ratio=f"{ratio:.2f}x",
        budget="" if most is None else f"<= {most}x",
        met=None if most is None else ratio <= most,
    )


def _beside(device: str, ways: dict[str, Way]) -> Iterator[Row]:
    direct, ours = ways["direct"], ways[OURS]
    added_us = ours.median_us - direct.median_us
    for name in OTHERS:
        if name not in ways:
            what = f"Modbus round trip added, {device}"
            yield Row(what, f"{added_us:.0f} us", name, "not here", "", "", None)
            continue
        their_us = ways[name].median_us - direct.median_us
        yield Row(
            what=f"Modbus round trip added, {device}",
            ours=f"{added_us:.0f} us",
            peer=name,
            peer_value=f"{their_us:.0f} us (p99 in all {ways[name].p99_us:.0f} us)",
            ratio=f"{added_us / their_us:.2f}x" if their_us > 0 else "",
            budget="",
            met=None,
        )


def _throughput(  # ``way``: which of ours
    device: str,
    ways: dict[str, Way],
    masters: int,
    least: float | None,
    way: str = OURS,
) -> Iterator[Row]:
    ours = ways[way].rate(masters)
    who = f"{masters} masters" if masters > 1 else "1 master"
    what = f"Modbus requests/s, {who}, {device}{way.removeprefix(OURS)}"
    for name in (*OTHERS, "direct"):
        if name not in ways:
            continue
        theirs, ratio = ways[name].rate(masters), ways[way].faster(ways[name], masters)
        bound = least if name == PEER else None
        yield Row(
            what=what,
            ours=f"{ours:,.0f}/s",
            peer=name,
            peer_value=f"{theirs:,.0f}/s",
            ratio=f"{ratio:.2f}x",
            budget="" if bound is None else f">= {bound:.0f}x",
            met=None if bound is None else ratio >= bound,
        )


def _memory(ways: dict[str, Way]) -> Iterator[Row]:
    ours = ways[OURS].memory_mib
    for name in OTHERS:
        if name in ways:
            told = f"{ways[name].memory_mib:.0f} MiB"
            what = "Modbus proxy memory (PSS)"
            yield Row(what, f"{ours:.0f} MiB", name, told, "", "", None)


def _times(way: Way) -> str:
    return f"{way.median_us:.0f} us (p99 {way.p99_us:.0f} us)"


def modbus_proxy() -> str | None:
    """Return where the command of modbus-proxy is; None where it is not installed."""
    named = os.environ.get("SLUICEGATE_MODBUS_PROXY", "modbus-proxy")
    return shutil.which(named) or shutil.which(named, path=Path(sys.executable).parent)


def _built(folder: Path) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    peer = folder / "modbus_peer"
    done = subprocess.run(
        [compiler, "-O2", "-o", str(peer), str(FOLDER / "modbus_peer.c"), "-lmodbus"],
        capture_output=True,
        check=False,
    )
    return None if done.returncode else peer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")


def _memory_mib(way: Way) -> float:
    if way.process is None:
        return 0.0
    text = Path(f"/proc/{way.process.pid}/smaps_rollup").read_text()
    pss = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(pss.split()[1]) / 1024


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


if __name__ == "__main__":
    for found in rows(Path()):
        print(" | ".join(str(cell) for cell in found))
    sys.exit(0)
