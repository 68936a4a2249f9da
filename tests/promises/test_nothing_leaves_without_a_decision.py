"""Promise 1: fail closed. What no rule allows stays, whatever the frames hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.main import run
from agent.protection.windows import EveryStep
from agent.records import Arrival
from tests.policies.building import policy_of, rule_of
from tests.promises.canaries import search
from tests.reference.whole_path import Frame
from tests.reference.whole_path_flow import (
    MESSAGES,
    POSITION,
    T0,
    Reader,
    S,
    batch_of,
    compiled_of,
    cut_frames,
    flow_of,
)
from tests.reference.whole_path_streams import RULES, ZONES, recordings
from tests.support.examples import upto

if TYPE_CHECKING:
    from agent.records import Commit

CANARY = b"CANARY-31.2345678"
KNOWN = st.sampled_from(list(MESSAGES))


@st.composite
def hostile(draw: st.DrawFn) -> list[Frame]:
    """Any identifier bits, any payload, known ones among them; time may stand still."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, S),
                st.one_of(KNOWN, st.integers(0, 2**32 - 1)),
                st.binary(max_size=8),
            ),
            max_size=40,
        )
    )
    now, out = T0, []
    for gap, ident, data in rows:
        now += gap
        out.append(Frame(now, ident, data))
    return out


@settings(max_examples=upto(60))
@given(frames=st.one_of(hostile(), recordings(40)))
def test_without_a_rule_nothing_leaves(frames: list[Frame]) -> None:
    flow, reader = flow_of(compiled_of(policy_of(rules=[]))), Reader()
    if frames:
        reader.take(flow.process(Arrival(T0, batch_of(frames))))
    seen = reader.take(flow.finish(T0, "shutdown"))
    assert not [c for c in seen.commits if c.records or c.retained]
    assert not seen.sizes
    assert {cell[4] for cell in seen.cells} <= {
        "READ", "KEPT_BACK", "UNCLASSIFIED", "FAILED",
    }  # fmt: skip


@settings(max_examples=upto(60))
@given(frames=hostile())
def test_hostile_frames_never_raise_and_only_named_items_leave(
    frames: list[Frame],
) -> None:
    raw = rule_of("speed", match={"item": "Vehicle.Speed"})
    flow, reader = flow_of(compiled_of(policy_of(rules=[raw]))), Reader()
    if frames:
        reader.take(flow.process(Arrival(T0, batch_of(frames))))
    seen = reader.take(flow.finish(T0, "shutdown"))
    assert {key[2] for key, _ in seen.rows} <= {"Vehicle.Speed"}
    assert {rule for _, rule in seen.by_rule} <= {"speed"}


@settings(max_examples=upto(30))
@given(frames=recordings(60), at=st.lists(st.integers(0, 99), max_size=3))
def test_every_envelope_has_its_evidence_in_the_same_commit(
    frames: list[Frame], at: list[int]
) -> None:
    """``Reader.take`` asserts it for each record; here: and no key without a batch."""
    flow, reader = flow_of(compiled_of(policy_of(zones=ZONES, rules=RULES))), Reader()
    for piece in cut_frames(frames, at):
        commit = flow.process(Arrival(piece[-1].time_ns, batch_of(piece)))
        reader.take(commit)
        for number, record in enumerate(commit.records):
            if record.kind != "key":
                continue
            later = [r.epoch for r in commit.records[number + 1 :]]
            assert record.epoch in later
        kept = [(r.epoch, r.sequence) for r in commit.retained]
        assert all((epoch, 1) in kept for epoch, sequence in kept if not sequence)


def _drive(count: int = 12) -> list[Frame]:
    frames = []
    for n in range(count):
        speed = (4000 + n).to_bytes(2, "little") + bytes(4)
        place = (312_345_678 + n).to_bytes(4, "little")
        frames.append(Frame(T0 + n * S, 256, speed))
        frames.append(Frame(T0 + n * S, POSITION, place + place))
    return frames


def test_a_closed_destination_gets_nothing_and_the_other_one_does() -> None:
    rules = [rule_of("speed", match={"item": "Vehicle.Speed"}, to=["oem", "abroad"])]
    compiled = compiled_of(policy_of(rules=rules))
    flow, reader = flow_of(compiled), Reader()
    gates = tuple(
        replace(gate, is_open=gate.destination.name != "oem")
        for gate in flow._stages.gates
    )
    flow._stages = replace(flow._stages, gates=gates)
    seen = reader.take(flow.process(Arrival(T0, batch_of(_drive()))))
    assert set(seen.sizes) == {"abroad"}
    kept = {c[4] for c in seen.cells if c[0] == "oem"}
    assert "SENT" not in kept
    assert "KEPT_BACK" in kept


@pytest.mark.parametrize("error", [ValueError, TypeError, OverflowError, KeyError])
def test_a_transform_that_fails_keeps_everything_back_and_quotes_nothing(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fails(*_: Any) -> None:
        raise error(CANARY.decode())

    monkeypatch.setattr(EveryStep, "apply", fails)
    flow = flow_of(compiled_of(policy_of(rules=RULES, zones=ZONES)))
    reader = Reader()
    commits = [flow.process(Arrival(T0, batch_of(_drive())))]
    commits.append(flow.finish(T0, "shutdown"))
    for commit in commits:
        seen = reader.take(commit)
    assert "Vehicle.Speed" not in {key[2] for key, _ in seen.rows}
    failed = {c[2] for c in seen.cells if c[4] == "FAILED" and c[2]}
    assert {"speed-thinned", "positions-coarse"} & failed
    assert seen.told["loss.rec"] >= 1
    body = b"".join(_bytes_of(commit) for commit in commits)
    assert error.__name__.encode() in body  # the cause is told, its text is not
    positions = [(312_345_678 + n).to_bytes(4, "little") for n in range(12)]
    assert not search({"commits": body}, [CANARY, b"31.2345", *positions])


def _bytes_of(commit: Commit) -> bytes:
    rows = repr(commit.counters).encode()
    bodies = [record.body for record in commit.records]
    return b"".join([*commit.evidence, *bodies, rows])


def test_a_bug_is_told_by_type_and_place_never_by_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(_: list[str]) -> int:
        raise RuntimeError(CANARY.decode())

    monkeypatch.setattr("agent.commands.app.main", bug)
    assert run(["scan", "x"]) == 70
    said = capsys.readouterr()
    assert "RuntimeError" in said.err
    assert not search({"out": said.out.encode(), "err": said.err.encode()}, [CANARY])
