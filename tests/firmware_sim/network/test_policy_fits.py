"""The network's policy and its scenarios fit: the slow firewall judges every request.

What belongs there passes, all of it; every attack that the rules declare is refused.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import yaml

from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from firmware_sim.schema import start_ns
from policies.files import load_text
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.pairs import decode_pairs
from tests.reference.slow_firewall import Rules, bound
from tests.support.network_pairs import network_pairs, simulated

if TYPE_CHECKING:
    from pathlib import Path

    from firmware_sim.network.simulation import Run

# Attacks each of whose requests some rule refuses, and those of which some are refused.
ALL_REFUSED = {
    "scan-units", "scan-addresses", "scan-functions", "recon", "write-unknown",
    "write-from-plc", "write-undeclared", "beyond-limits", "flood", "exceptions",
    "dangerous",
}  # fmt: skip
SOME_REFUSED = {"replay", "drift", "malformed"}


def judged(root: Path, run: Run) -> list[tuple[bool, str]]:
    """Judge requests as they pass, replies noted in between, in order of time."""
    here = root / "policies" / "examples" / "sim-network.yaml"
    section = yaml.safe_load(here.read_text(encoding="utf-8"))["modbus"]
    examples = root / "policies" / "examples"
    text = (examples / "sim-network.bindings.yaml").read_text(encoding="utf-8")
    rules = Rules(section, bound(yaml.safe_load(text)))
    scenario = run.world.scenario
    hosts = {plc.name: plc.address for plc in scenario.plcs}
    hosts |= {client.name: client.address for client in scenario.clients}
    base = start_ns(scenario.start)
    events = []
    for i, row in enumerate(run.transactions):
        if row.has_request:
            events.append((row.time_ns, 0, i))
            if row.reply:
                events.append((row.reply_ns, 1, i))
    verdicts = [(True, "")] * len(run.transactions)
    for at, is_reply, i in sorted(events):
        row = run.transactions[i]
        if is_reply:
            rules.answered(row.plc, row.unit, row.pdu, row.reply)
        else:
            verdicts[i] = rules.judge(
                base + at, hosts[row.source], row.plc, row.unit, row.pdu
            )
    return verdicts


@pytest.mark.slow
def test_nothing_of_a_clean_hour_is_refused(root: Path) -> None:
    run = simulated("plant-network")
    verdicts = judged(root, run)
    refused = [
        (row.source, row.plc, row.asked, why)
        for row, (good, why) in zip(run.transactions, verdicts, strict=True)
        if not good
    ]
    assert not refused
    assert sum(row.asked.is_write for row in run.transactions) > 40


@pytest.mark.slow
def test_every_attack_that_the_rules_declare_is_refused(root: Path) -> None:
    run = simulated("plant-attacks")
    refused: Counter[str] = Counter()
    total: Counter[str] = Counter()
    reasons: dict[str, set[str]] = {}
    for row, (good, why) in zip(run.transactions, judged(root, run), strict=True):
        total[row.attack] += 1
        if not good:
            refused[row.attack] += 1
            reasons.setdefault(row.attack, set()).add(why)
    assert refused[""] == 0
    for name in ALL_REFUSED:
        assert refused[name] == total[name] > 0, name
    for name in SOME_REFUSED:
        assert 0 < refused[name] <= total[name], name
    assert reasons["beyond-limits"] == {"VALUE"}
    assert reasons["drift"] == {"VALUE"}
    assert "RATE" in reasons["replay"]
    for name in ("frozen", "changed", "dropped", "injected"):
        assert refused[name] == 0, name  # only the answers were altered


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["enforce", "dry-run"])
def test_the_agents_judge_says_the_same_of_every_row(root: Path, mode: str) -> None:
    pairs, truth = network_pairs("plant-attacks-short")
    run = simulated("plant-attacks-short")
    assert len(run.transactions) == len(truth.rows)
    text = (root / "policies" / "examples" / "sim-network.yaml").read_bytes()
    changed = text.replace(b"mode: enforce", f"mode: {mode}".encode())
    loaded = load_text(changed, "sim-network.yaml", ["sim-network"])
    firewall = loaded.compiled.policy.firewall
    assert firewall is not None
    found = Judge(firewall, Memory()).judge_batch(
        decode_pairs(pairs), truth.peers.names, clock_ok=True
    )
    told = []
    for number, row in enumerate(truth.rows):
        if row.has_request:
            reason = Reason(int(found.reason[number]))
            passes = found.verdict[number] == Verdict.ALLOWED
            told.append((passes, "" if reason is Reason.NONE else reason.name))
        else:
            assert found.verdict[number] == Verdict.UNJUDGED
            told.append((True, ""))
    slow = judged(root, run)
    assert Counter(told) == Counter(slow)
    assert told == slow
