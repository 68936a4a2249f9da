"""The simulated network against tshark, and against what its scenario says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest

from firmware_sim.captures import truth_path
from firmware_sim.network.choosing import chosen_attacks
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.recording import write_network
from firmware_sim.network.simulation import simulate
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS, nanoseconds
from protocols.modbus.exchanges import Problem

if TYPE_CHECKING:
    from pathlib import Path

TSHARK = shutil.which("tshark")
needs_tshark = pytest.mark.skipif(TSHARK is None, reason="no tshark on this machine")
FIELDS = (
    "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "mbtcp.trans_id",
    "mbtcp.unit_id", "modbus.func_code", "modbus.exception_code",
)  # fmt: skip


def network(name: str) -> NetworkScenario:
    scenario = load_scenario(name)
    assert isinstance(scenario, NetworkScenario)
    return scenario


def tshark(path: Path, *arguments: str) -> list[str]:
    checked = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
    command = [str(TSHARK), "-r", str(path), *checked, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def dissected(path: Path) -> tuple[Counter[tuple], Counter[tuple]]:
    """Return tshark's requests and replies, every ADU of every segment."""
    fields = [part for name in FIELDS for part in ("-e", name)]
    rows = tshark(
        path, "-Y", "mbtcp && !tcp.analysis.retransmission", "-T", "fields",
        *fields, "-E", "occurrence=a",
    )  # fmt: skip
    asked: Counter[tuple] = Counter()
    answered: Counter[tuple] = Counter()
    for row in rows:
        source, sport, target, dport, tids, units, functions, codes = row.split("\t")
        left = codes.split(",")
        for tid, unit, function in zip(
            tids.split(","), units.split(","), functions.split(","), strict=True
        ):
            number = int(function) & 0x7F
            if dport == "502":
                asked[source, sport, target, int(tid), int(unit), number] += 1
            else:
                code = int(left.pop(0) or 0) if int(function) & 0x80 or codes else 0
                answered[target, dport, source, int(tid), int(unit), code] += 1
    return asked, answered


def told(path: Path) -> tuple[dict, list[dict]]:
    first, *rest = map(json.loads, truth_path(path).read_text().splitlines())
    return first, rest


def agrees(path: Path) -> None:
    """Every transaction of the truth is one of tshark's, and the other way round."""
    _, rows = told(path)
    asked: Counter[tuple] = Counter()
    answered: Counter[tuple] = Counter()
    for row in rows:
        if row["problems"] & Problem.PROTOCOL:
            continue  # no Modbus to tshark
        key = (row["client"], str(row["port"]), row["server"], row["tid"], row["unit"])
        if row["has_request"]:
            asked[*key, row["function"]] += 1
        if row["reply_ns"]:
            answered[*key, row["exception"]] += 1
    assert (asked, answered) == dissected(path)


@needs_tshark
def test_tshark_reads_a_clean_capture_without_a_complaint(tmp_path: Path) -> None:
    out = tmp_path / "clean.pcap"
    scenario = msgspec.structs.replace(network("plant-network-short"), lost=0.0)
    run = write_network(scenario, out, 30 * NS)
    assert not tshark(
        out, "-Y",
        "_ws.malformed || _ws.expert.severity >= 0x400000 || tcp.analysis.flags"
        " || tcp.checksum.status == 0 || ip.checksum.status == 0",
    )  # fmt: skip
    agrees(out)
    first, rows = told(out)
    assert first["transactions"] == len(rows) == len(run.transactions)
    assert not first["attacks"]
    assert not any(row["attack"] or row["problems"] for row in rows)
    polls = [poll for client in scenario.clients for poll in client.polls]
    expected = sum(30 * NS / nanoseconds(poll.every) for poll in polls)
    assert len(rows) == pytest.approx(expected, abs=len(polls) + 2)


@needs_tshark
@pytest.mark.slow
@pytest.mark.parametrize("name", ["plant-attacks", "plant-network-fault"])
def test_tshark_finds_the_transactions_of_the_truth(name: str, tmp_path: Path) -> None:
    out = tmp_path / "all.pcap"
    scenario = network(name)
    write_network(scenario, out, nanoseconds(scenario.duration))
    agrees(out)
    bad = tshark(out, "-Y", "_ws.malformed", "-T", "fields", "-e", "frame.time_epoch")
    spans = [
        (entry["begin_ns"] / NS, entry["end_ns"] / NS)
        for entry in told(out)[0]["attacks"]
        if entry["kind"].startswith("malformed")
    ]
    # Only what was meant to be malformed is.
    assert all(any(a <= float(at) <= b + 2 for a, b in spans) for at in bad)
    assert bool(bad) == bool(spans)
    assert not tshark(
        out, "-Y",
        "tcp.checksum.status == 0 || tcp.analysis.lost_segment"
        " || tcp.analysis.ack_lost_segment || tcp.analysis.out_of_order",
    )  # fmt: skip


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    scenario = network("plant-attacks-short")
    chosen = chosen_attacks(scenario, ["scan", "dangerous"])
    outs = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    for out in outs:
        write_network(scenario, out, 20 * NS, chosen)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert truth_path(outs[0]).read_bytes() == truth_path(outs[1]).read_bytes()
    other = msgspec.structs.replace(scenario, seed=1)
    write_network(other, outs[1], 20 * NS, chosen)
    assert outs[0].read_bytes() != outs[1].read_bytes()


def test_every_attack_is_labelled_and_shows_its_problems() -> None:
    scenario = network("plant-attacks")
    names = [attack.name for attack in scenario.attacks]
    quick = [
        msgspec.structs.replace(attack, lasts=f"{min(seconds, 12)}s")
        for attack, seconds in zip(
            chosen_attacks(scenario, names), [12] * len(names), strict=True
        )
    ]
    for i, attack in enumerate(quick):
        quick[i] = msgspec.structs.replace(
            attack, at=f"{5 + 14 * i}s",
            rate=None if attack.kind == "flood" else 2.0,
        )  # fmt: skip
    run = simulate(scenario, (10 + 14 * len(quick)) * NS, quick)
    seen: dict[str, int] = {}
    for row in run.transactions:
        seen[row.attack] = seen.get(row.attack, 0) | row.problems
    assert set(seen) == {"", *names}
    malformed = seen["malformed"] | seen["malformed-replies"] | seen["injected"]
    everything = sum(problem.value for problem in Problem)
    # A checksum needs a serial line.
    assert malformed | seen["flood"] == everything & ~Problem.CHECKSUM
    assert seen["flood"] & Problem.UNANSWERED
    assert seen["dropped"] == Problem.UNANSWERED
    assert not seen["frozen"] | seen["changed"] | seen["drift"]


def test_what_an_attack_has_set_is_put_right_after_it() -> None:
    scenario = network("plant-attacks-short")
    chosen = chosen_attacks(scenario, ["beyond-limits"])
    quiet = msgspec.structs.replace(scenario, clients=tuple(
        msgspec.structs.replace(client, setpoints=tuple(
            msgspec.structs.replace(one, offset="1h") for one in client.setpoints
        )) for client in scenario.clients
    ))  # fmt: skip
    values = []
    for seconds in (5, 14, 40):
        run = simulate(quiet, seconds * NS, chosen)
        device = run.world.device("plc3", 1)
        assert device is not None
        values += device.read(4, 100, 1) or []
    assert values == [400, 490, 400]
