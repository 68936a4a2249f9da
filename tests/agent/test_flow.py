"""The data path as a whole: order, what a pass holds, its end, what a swap leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.classification.volumes import restored
from agent.merging import CommitGroup, join_commits
from agent.records import Arrival, Outcome
from agent.store.documents import VOLUMES, opened
from policies.rows import EVENT_ITEM
from tests.policies.building import policy_of, rule_of
from tests.reference.whole_path import Frame
from tests.reference.whole_path_flow import (
    T0,
    Reader,
    S,
    batch_of,
    compiled_of,
    flow_of,
)
from tests.reference.whole_path_streams import ANSWERS, RULES, VIN, ZONES

if TYPE_CHECKING:
    from agent.flow import Flow
    from agent.records import Commit

SPEED = rule_of("speed", match={"item": "Vehicle.Speed"})
MEAN = {"aggregate": {"window": "10s", "of": ["mean"]}}
WINDOW = rule_of("window", match={"item": "Vehicle.Speed"}, do=[MEAN, "encrypt"])
EVENTS = rule_of("events", match={"category": "security.event"})


def speeds(count: int, start_ns: int = T0, step_ns: int = S // 10) -> list[Frame]:
    return [
        Frame(start_ns + n * step_ns, 256, (100 * n).to_bytes(2, "little") + bytes(4))
        for n in range(count)
    ]


def processed(flow: Flow, frames: list[Frame]) -> Commit:
    return flow.process(Arrival(frames[-1].time_ns, batch_of(frames)))


def test_an_arrival_of_nothing_is_an_empty_commit() -> None:
    flow = flow_of(compiled_of(policy_of(rules=[SPEED])))
    assert flow.process(Arrival(T0)).is_empty
    assert flow.process(Arrival(T0, batch_of([]))).is_empty
    assert flow.finish(T0, "shutdown").is_empty


def test_the_key_goes_before_the_first_batch_and_is_announced_once() -> None:
    flow = flow_of(compiled_of(policy_of(rules=[SPEED])))
    first, second = (processed(flow, speeds(5, T0 + n * S)) for n in range(2))
    assert [r.kind for r in first.records] == ["key", "data"]
    assert [r.kind for r in second.records] == ["data"]
    assert {r.epoch for r in (*first.records, *second.records)} == {
        first.records[0].epoch
    }
    assert [r.sequence for r in (*first.records, *second.records)] == [0, 1, 2]


def test_a_window_waits_and_the_end_of_the_run_lets_it_go() -> None:
    flow, reader = flow_of(compiled_of(policy_of(rules=[WINDOW]))), Reader()
    reader.take(processed(flow, speeds(50)))
    assert reader.seen.held == 50
    assert not reader.seen.rows
    seen = reader.take(flow.finish(T0 + 5 * S, "shutdown"))
    assert seen.held == 0
    (row,) = seen.rows
    assert row[0][4] == "mean"
    assert np.isclose(row[1], np.mean([n * 1.0 for n in range(50)]))


def test_a_swapped_policy_lets_nothing_go_that_waited() -> None:
    flow, reader = flow_of(compiled_of(policy_of(rules=[WINDOW]))), Reader()
    reader.take(processed(flow, speeds(50)))
    seen = reader.take(flow.finish(T0 + 5 * S, "policy"))
    assert (seen.held, seen.rows) == (0, [])
    assert sum(n for c, n in seen.cells.items() if c[4] == Outcome.THINNED.name) == 50


def test_what_inspection_finds_passes_the_same_policy() -> None:
    unknown = [Frame(T0 + n * S // 10, 0x3AB, bytes(8)) for n in range(5)]
    for rules, sent in (([], 0), ([EVENTS], 1)):
        flow, reader = flow_of(compiled_of(policy_of(rules=rules))), Reader()
        seen = reader.take(processed(flow, unknown))
        kinds = [r.kind for c in seen.commits for r in c.records]
        assert kinds.count("event") == sent
        events = [key for key, _ in seen.rows if key[2] == EVENT_ITEM]
        assert len(events) == sent
        assert all(b'"class_uid":2004' in key[6] for key in events)
        assert flow.inspected().alerts == 5
        told = [
            c for c in seen.cells if c[0] == "oem" and c[2:] == ("", "", "KEPT_BACK")
        ]
        assert len(told) == 1 - sent


def test_repetitions_of_an_event_are_told_at_the_end() -> None:
    flow, reader = flow_of(compiled_of(policy_of(rules=[EVENTS]))), Reader()
    for part in range(3):
        start = T0 + part * S
        reader.take(
            processed(flow, [Frame(start + n, 0x3AB, bytes(8)) for n in range(4)])
        )
    seen = reader.take(flow.finish(T0 + 3 * S, "shutdown"))
    events = [key[6] for key, _ in seen.rows if key[2] == EVENT_ITEM]
    assert len(events) == 2  # the first at once, the others as one count
    assert flow.inspected().alerts == 12
    assert any(b'"count":8' in event for event in events)


def test_an_unbelieved_clock_opens_nothing() -> None:
    hours = rule_of("hours", match={"item": "Vehicle.Speed", "time": "00:00-23:59"})
    for clock_ok in (False, True):  # T0 is 16:00 UTC
        flow = flow_of(compiled_of(policy_of(rules=[hours])))
        frames = batch_of(speeds(3))
        commit = flow.process(Arrival(T0, frames), clock_ok=clock_ok)
        assert bool(commit.records) == clock_ok


def test_a_vin_becomes_a_text_of_its_item() -> None:
    raw = rule_of("vin", match={"category": "identity.vin"})
    flow, reader = flow_of(compiled_of(policy_of(rules=[raw]))), Reader()
    parts = [Frame(T0 + n, 0x7E8, part) for n, part in enumerate(ANSWERS[0])]
    seen = reader.take(processed(flow, parts))
    (key,) = [key for key, _ in seen.rows]
    assert key[2].endswith("VIN")
    assert key[6] == VIN


def test_joined_commits_say_what_they_said_one_by_one() -> None:
    flow = flow_of(compiled_of(policy_of(rules=RULES, zones=ZONES)))
    commits = [processed(flow, speeds(7, T0 + n * S)) for n in range(5)]
    joined = join_commits(commits)
    assert [r.body for r in joined.records] == [
        r.body for c in commits for r in c.records
    ]
    assert joined.evidence == tuple(e for c in commits for e in c.evidence)
    assert joined.held == commits[-1].held
    one_by_one, together = Reader(), Reader()
    for commit in commits:
        one_by_one.take(commit)
    assert together.take(joined).cells == one_by_one.seen.cells
    assert together.seen.used == one_by_one.seen.used


def test_a_group_hands_out_its_commits_in_order_and_at_the_end() -> None:
    flow = flow_of(compiled_of(policy_of(rules=[SPEED])))
    group = CommitGroup(2)
    made = [processed(flow, speeds(3, T0 + n * S)) for n in range(3)]
    assert group.add(made[0]) is None
    pair = group.add(made[1])
    assert pair is not None
    assert len(pair.records) == 3
    last = group.add(made[2], last=True)
    assert last is not None
    assert last.records == made[2].records


LIMIT = {
    "name": "speeds", "category": "location.deadreckoning", "more_than": 10,
    "unit": "samples", "window": "1d", "becomes": "location.track",
}  # fmt: skip


def labels(commit: Commit) -> list[int]:
    return [record.label for record in commit.records if record.kind == "data"]


def test_what_leaves_above_a_volume_has_the_graver_label() -> None:
    """Also of a flow that begins with the counters of the one before it."""
    compiled = compiled_of(policy_of(rules=[SPEED], volumes=[LIMIT]))
    plain, track = (
        compiled.catalogues.labels[name].pack()
        for name in ("location.deadreckoning", "location.track")
    )
    flow = flow_of(compiled)
    first = processed(flow, speeds(9))
    assert labels(first) == [plain]
    second = processed(flow, speeds(5, T0 + S))  # looked at once: passes by 4
    assert labels(second) == [plain]
    volumes = restored(opened(VOLUMES, second.documents[VOLUMES]), was_used=True)
    assert labels(processed(flow, speeds(1, T0 + 2 * S))) == [track]
    again = flow_of(compiled, volumes=volumes)
    assert labels(processed(again, speeds(1, T0 + 3 * S))) == [track]
    assert labels(processed(flow_of(compiled), speeds(1, T0 + 3 * S))) == [plain]


def test_above_a_volume_nothing_leaves_that_may_not_be_called_so() -> None:
    rule = rule_of("speed", match={"item": "Vehicle.Speed", "max_tier": "G3"})
    flow = flow_of(compiled_of(policy_of(rules=[rule], volumes=[LIMIT])))
    reader = Reader()
    for part in range(4):
        reader.take(processed(flow, speeds(5, T0 + part * S)))
    seen = reader.take(flow.finish(T0 + 4 * S, "shutdown"))
    assert len(seen.rows) == 10
    dropped = sum(n for c, n in seen.cells.items() if c[4] == Outcome.DROPPED.name)
    assert dropped == 10


def test_an_unbelieved_clock_is_above_every_volume() -> None:
    compiled = compiled_of(policy_of(rules=[SPEED], volumes=[LIMIT]))
    commit = flow_of(compiled).process(Arrival(T0, batch_of(speeds(1))), clock_ok=False)
    assert labels(commit) == [compiled.catalogues.labels["location.track"].pack()]


def test_the_last_counters_of_joined_commits_are_kept() -> None:
    flow = flow_of(compiled_of(policy_of(rules=[SPEED], volumes=[LIMIT])))
    commits = [processed(flow, speeds(1, T0 + n * S)) for n in range(3)]
    assert join_commits(commits).documents == commits[-1].documents
    assert not flow_of(compiled_of(policy_of(rules=[SPEED]))).finish(T0, "x").documents
