"""Promise 5: every loss is counted and has a cause; the numbers add up exactly."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.evidence import Evidence
from agent.merging import join_commits
from agent.records import Arrival, Outcome
from tests.policies.building import policy_of
from tests.promises.scan_kit import json_of, scan
from tests.reference.whole_path_flow import (
    T0,
    Reader,
    batch_of,
    compiled_of,
    cut_frames,
    flow_of,
)
from tests.reference.whole_path_streams import RULES, ZONES, policies, recordings
from tests.support.examples import upto

if TYPE_CHECKING:
    from pathlib import Path

    from agent.flow import Flow
    from agent.records import Commit
    from tests.reference.whole_path import Frame
    from tests.reference.whole_path_flow import Seen

cuts = st.lists(st.integers(0, 200), max_size=5)
KEEPER = {"device": "keeper"}  # what `keep` seals is booked at the device


def check_accounts(flow: Flow, seen: Seen) -> None:
    """READ == every outcome + held, per destination; bytes booked == bytes made."""
    read = sum(n for (place, *_), n in seen.cells.items() if not place)
    held = 0
    for gate in flow._stages.gates:
        name = gate.destination.name
        outcomes = [
            (outcome, n)
            for (place, _, _, _, outcome), n in seen.cells.items()
            if place == name
        ]
        assert not {o for o, _ in outcomes} & {Outcome.HELD.name, Outcome.READ.name}
        assert read == sum(n for _, n in outcomes) + gate.protector.held, name
        held += gate.protector.held
    assert seen.held == held
    used: Counter[str] = Counter()
    for place, size in seen.used.items():
        used[KEEPER.get(place, place)] += size
    assert +used == +seen.sizes


@settings(max_examples=upto(60))
@given(policy=policies(), frames=recordings(), at=cuts)
def test_it_adds_up_at_every_commit(
    policy: bytes, frames: list[Frame], at: list[int]
) -> None:
    flow, reader = flow_of(compiled_of(policy)), Reader()
    now_ns = T0
    for piece in cut_frames(frames, at):
        now_ns = max(now_ns, piece[-1].time_ns)
        check_accounts(
            flow, reader.take(flow.process(Arrival(now_ns, batch_of(piece))))
        )
    check_accounts(flow, reader.take(flow.process(Arrival(now_ns))))  # nothing came
    check_accounts(flow, reader.take(flow.finish(now_ns, "shutdown")))
    assert reader.seen.held == 0
    check_told(reader.seen)


@settings(max_examples=upto(30))
@given(frames=recordings(100), at=cuts, reason=st.sampled_from(["shutdown", "swap"]))
def test_it_adds_up_when_a_policy_ends(
    frames: list[Frame], at: list[int], reason: str
) -> None:
    """A swap destroys what waits: counted as thinned, never as sent."""
    flow, reader = flow_of(compiled_of(policy_of(zones=ZONES, rules=RULES))), Reader()
    for piece in cut_frames(frames, at):
        reader.take(flow.process(Arrival(piece[-1].time_ns, batch_of(piece))))
    waiting = reader.seen.held
    thinned = _of(reader.seen, "THINNED")
    check_accounts(flow, reader.take(flow.finish(T0, reason)))
    if reason == "swap":
        assert _of(reader.seen, "THINNED") - thinned >= waiting


def _of(seen: Seen, outcome: str) -> int:
    return sum(n for cell, n in seen.cells.items() if cell[4] == outcome)


def check_told(seen: Seen) -> None:
    """What count.snap and collect.rec say sums to what the commits said."""
    joined = join_commits(seen.commits)
    entries = Evidence("gw", bytes(16), "t").counters(0, 1, joined.counters, 0)
    told: Counter[tuple[str, int, str, str, str]] = Counter()
    for facts in map(msgpack.unpackb, entries):
        for row in facts["rows"]:
            if facts["type"] == "count.snap":
                place, label, rule, action, outcome, samples, _ = row
                told[place, label, rule, action, outcome.upper()] += samples
            else:
                source, kind, label, samples, _, frequency = row
                assert seen.cells["", label, kind, source, "READ"] == samples
                assert frequency == samples / 1e-9
    assert +told == seen.cells
    assert joined.held == seen.held
    assert joined.coverage == coverage(seen.commits)
    known, unknown = joined.coverage
    read = sum(n for (place, *_), n in seen.cells.items() if not place)
    errors = seen.cells["", _unclassified(seen), "", "errors", "READ"]
    assert known + unknown + errors == read


def _unclassified(seen: Seen) -> int:
    labels = {c[1] for c in seen.cells if c[3] in {"errors", "unbound"}}
    assert len(labels) <= 1
    return labels.pop() if labels else 0


def coverage(commits: list[Commit]) -> tuple[int, int]:
    return sum(c.coverage[0] for c in commits), sum(c.coverage[1] for c in commits)


def test_a_scan_adds_up_in_its_store(data: Path, tmp_path: Path) -> None:
    """Counters, evidence and what is printed tell the same of a real drive."""
    folder = data / "can-comma2k19-rav4"
    said = scan(
        folder / "rav4_5s.candump.log", "--policy", "passenger-fleet",
        "-b", "toyota-rav4-2017", "--databases", folder, "--json",
        "--out", tmp_path / "out", folder=tmp_path,
    )  # fmt: skip
    (result,) = json_of(said)
    (store,) = (tmp_path / "out").glob("*.store")
    database = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    query = "SELECT destination, label, rule, action, outcome, samples, bytes"
    rows = database.execute(f"{query} FROM counters").fetchall()
    bodies = database.execute("SELECT body FROM entries ORDER BY position").fetchall()
    made = database.execute("SELECT sum(length(body)) FROM spool").fetchone()[0]
    made += database.execute("SELECT sum(length(body)) FROM retained").fetchone()[0]
    database.close()
    entries = [msgpack.unpackb(body) for (body,) in bodies]
    assert [e["type"] for e in entries][:2] == ["boot", "cfg.change"]
    (snap,) = [e for e in entries if e["type"] == "count.snap"]
    assert sorted(snap["rows"]) == sorted(
        [d, lab, rule, act, Outcome(out).name.lower(), n, size]
        for d, lab, rule, act, out, n, size in rows
    )
    assert len(entries) == result["evidence"]
    assert {e["policy"] for e in entries[2:]} == {entries[-1]["policy"]}
    read = sum(n for _, _, _, _, out, n, _ in rows if out == Outcome.READ)
    for place in ("oem", "supplier", "device"):
        mine = [n for d, _, _, _, _, n, _ in rows if d == place]
        assert sum(mine) == read
    booked = sum(size for *_, out, _, size in rows if out != Outcome.READ)
    assert booked == made
    by_item = sum(item["samples"] for item in result["items"])
    assert by_item == result["classified"]
    assert read == result["classified"] + result["unclassified"]
