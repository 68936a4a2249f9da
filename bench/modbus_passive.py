"""Modbus TCP out of a capture, on one core: ADUs a second, beside tshark.

An hour of the simulated plant (three PLCs, an HMI, an engineering station): packets ->
TCP segments -> streams -> pairs -> exchanges -> verdicts of 1,000 rules. Processor
time, of the whole and of its parts; the capture is in the page cache.

Alone: ``python -m bench.modbus_passive``.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.adapters.modbus.recording import Recording
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from bench.modbus_rules import firewall
from bench.row import Row
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.recording import write_network
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import nanoseconds
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.peers import Peers
from protocols.modbus.streams import MODBUS_PORT, Streams

if TYPE_CHECKING:
    from protocols.capture.ethernet import SegmentBatch
    from protocols.modbus.exchanges import ExchangeBatch, PairBatch

SCENARIO: Final = "plant-network"
RULES: Final = 1000
REPETITIONS: Final = 5
LEAST: Final = 100_000
FIELDS: Final = (
    "frame.time_epoch", "mbtcp.trans_id", "mbtcp.unit_id", "modbus.func_code",
    "modbus.reference_num", "modbus.word_cnt", "modbus.regval_uint16",
)  # fmt: skip


@dataclass
class Spent:
    """Seconds of processor time."""

    segments: float = 0.0
    streams: float = 0.0
    pairs: float = 0.0
    judged: float = 0.0

    @property
    def read(self) -> float:
        """Return what it took to have exchanges."""
        return self.segments + self.streams + self.pairs


def rows(data: Path) -> list[Row]:
    """Return the rows; ``data`` is not used."""
    del data
    scenario = load_scenario(SCENARIO)
    assert isinstance(scenario, NetworkScenario)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plant.pcap"
        write_network(scenario, path, nanoseconds(scenario.duration))
        found = [_once(path, scenario) for _ in range(REPETITIONS)]
        theirs = _tshark(path)
    adus, exchanges = found[0][:2]
    best = sorted((spent for _, _, spent in found), key=lambda one: one.read)
    middle = best[len(best) // 2]
    judged = statistics.median(spent.judged for _, _, spent in found)
    rate, whole = adus / middle.read, adus / (middle.read + judged)
    peers = [("", "", "", LEAST)]
    if theirs:
        told = f"{adus / theirs:,.0f} ADUs/s"
        peers.append(
            ("tshark, the same fields", told, f"{theirs / middle.read:.1f}x", 0)
        )
    return [
        *(
            Row(
                what=f"Modbus from a capture, {adus:,} ADUs, to exchanges",
                ours=f"{rate:,.0f} ADUs/s",
                peer=peer,
                peer_value=value,
                ratio=ratio,
                budget=f">= {least:,} ADUs/s" if least else "",
                met=rate >= least if least else None,
            )
            for peer, value, ratio, least in peers
        ),
        Row(
            what=f"the same, and judged by {RULES:,} rules",
            ours=f"{whole:,.0f} ADUs/s (judging {judged / exchanges * 1e6:.2f} us an"
            " exchange)",
            peer="", peer_value="", ratio="",
            budget=f">= {LEAST:,} ADUs/s", met=whole >= LEAST,
        ),
    ]  # fmt: skip


def _once(path: Path, scenario: NetworkScenario) -> tuple[int, int, Spent]:
    """Return ADUs, exchanges, and what they took."""
    links = {(plc.address, MODBUS_PORT): at for at, plc in enumerate(scenario.plcs)}
    peers, spent, adus, exchanges = Peers(), Spent(), 0, 0
    streams = Streams(links=links, peers=peers)
    here = tuple(client.address for client in scenario.clients)
    judge = Judge(firewall(RULES, here), Memory())

    def decoded(pairs: PairBatch) -> None:
        nonlocal adus, exchanges
        clock = time.process_time()
        batch: ExchangeBatch = decode_pairs(pairs)
        after = time.process_time()
        spent.pairs += after - clock
        judge.judge_batch(batch, peers.names, clock_ok=True)
        spent.judged += time.process_time() - after
        exchanges += len(pairs)
        adus += int(np.count_nonzero(pairs.request_size))
        adus += int(np.count_nonzero(pairs.reply_size))

    def fed(segments: SegmentBatch) -> PairBatch:
        clock = time.process_time()
        pairs = streams.feed(segments)
        spent.streams += time.process_time() - clock
        return pairs

    with Recording(path) as opened:
        clock = time.process_time()
        for segments in opened.segments():
            spent.segments += time.process_time() - clock
            decoded(fed(segments))
            clock = time.process_time()
    decoded(streams.finish())
    return adus, exchanges, spent


def _tshark(path: Path) -> float:
    """Return processor seconds that tshark takes to print the same; 0: not here."""
    command = shutil.which("tshark")
    if command is None:
        return 0.0
    words = [command, "-n", "-r", str(path), "-Y", "mbtcp", "-T", "fields"]
    words += [word for name in FIELDS for word in ("-e", name)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        return 0.0
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    for row in rows(Path()):
        print(" | ".join(str(cell) for cell in row))
    sys.exit(0)
