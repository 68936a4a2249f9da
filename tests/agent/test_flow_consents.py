"""Consents on the data path: what they open, what ends with them, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.consent_file import Statement
from agent.consents import Consents
from agent.records import Arrival, Commit, Outcome
from tests.policies.building import consent_of, policy_of, rule_of
from tests.reference.whole_path import Frame
from tests.reference.whole_path_flow import (
    T0,
    Reader,
    S,
    batch_of,
    compiled_of,
    flow_of,
)

if TYPE_CHECKING:
    from policies.tables import CompiledPolicy

T0_S = T0 // S
SPEED = {"item": "Vehicle.Speed"}
VOLTS = {"item": "Vehicle.Powertrain.TractionBattery.CurrentVoltage"}
CONSENTS = {"track": consent_of("location"), "cabin": consent_of("cabin")}
MEAN = {"aggregate": {"window": "10s", "of": ["mean"]}}
IGNITION = {"item": "Vehicle.Safety.CrashDetected"}  # as good as any flag


def speeds(second: int, count: int = 10) -> list[Frame]:
    start = T0 + second * S
    return [
        Frame(start + n * S // 20, 256, (100 * n).to_bytes(2, "little") + bytes(4))
        for n in range(count)
    ]


def flag(second: int, is_on: bool) -> list[Frame]:
    return [Frame(T0 + second * S + S // 2, 258, bytes([is_on]))]


def given(name: str = "track", number: int = 1, **fields: Any) -> Statement:
    base = {"name": name, "id": f"{number:032x}", "given": T0_S,
            "expires": T0_S + 86_400}  # fmt: skip
    return Statement(**{**base, **fields})


def asking(name: str = "r", **fields: Any) -> dict[str, Any]:
    match = {**fields.pop("match", SPEED), "consent": "track"}
    return rule_of(name, match=match, **fields)


def begun(policy: CompiledPolicy, *statements: Statement) -> Consents:
    consents = Consents(policy.consents)
    consents.take(())
    consents.take(statements)
    return consents


class Drive:
    """A flow under a policy, second by second."""

    def __init__(self, *rules: dict[str, Any], **fields: Any) -> None:
        text = policy_of(rules=[*rules], consents=CONSENTS, **fields)
        compiled = compiled_of(text)
        self.flow, self.reader = flow_of(compiled), Reader()
        self.consents = begun(compiled.policy, given())

    def second(self, number: int, *more: Frame) -> Commit:
        frames = [*speeds(number), *more]
        now_ns = T0 + number * S + S
        commit = self.flow.process(
            Arrival(now_ns, batch_of(frames)), consents=self.consents
        )
        self.reader.take(commit)
        return commit

    def count(self, outcome: Outcome) -> int:
        cells = self.reader.seen.cells.items()
        return sum(
            n for cell, n in cells if cell[0] == "oem" and cell[4] == outcome.name
        )


def outcome_of(*rules: dict[str, Any], statements: tuple[Statement, ...]) -> Any:
    """Return all that comes out of five seconds; rule names left aside."""
    compiled = compiled_of(policy_of(rules=[*rules], consents=CONSENTS))
    flow, reader = flow_of(compiled), Reader()
    consents = begun(compiled.policy, *statements)
    for number in range(5):
        now_ns = T0 + number * S + S
        arrival = Arrival(now_ns, batch_of(speeds(number)))
        reader.take(flow.process(arrival, consents=consents))
    seen = reader.take(flow.finish(T0 + 5 * S, "shutdown"))
    return seen.rows, seen.cells, seen.held


@pytest.mark.parametrize("do", [["encrypt"], [{"every": "1s"}, "encrypt"],
                                [MEAN, "encrypt"]])  # fmt: skip
def test_given_all_along_it_is_as_if_nobody_asked(do: list[Any]) -> None:
    bare, asks = rule_of(match=SPEED, do=do), asking(do=do)
    assert outcome_of(asks, statements=(given(),)) == outcome_of(bare, statements=())
    assert outcome_of(bare, statements=())[0]


@pytest.mark.parametrize(
    "statements",
    [
        (),
        (given("cabin"),),
        (given(expires=T0_S),),
        (given(expires=T0_S + 40 * 86_400),),
    ],
    ids=["none", "another class", "ended", "too long"],
)
def test_not_given_it_is_as_if_the_rule_was_not_there(
    statements: tuple[Statement, ...],
) -> None:
    """PI-01: a token for one class does not open another."""
    found = outcome_of(asking(), statements=statements)
    assert found == outcome_of(statements=())
    assert found[0] == []


def test_what_waits_in_a_window_goes_with_the_consent() -> None:
    drive = Drive(asking(do=[MEAN, "encrypt"]), rule_of("v", match=VOLTS))
    for number in range(3):
        drive.second(number)
    assert drive.reader.seen.held == 30
    drive.consents.take(())
    drive.second(3)
    assert drive.reader.seen.held == 0
    assert drive.count(Outcome.THINNED) == 30
    assert drive.count(Outcome.KEPT_BACK) >= 10
    drive.consents.take([given(number=2)])
    for number in range(10, 31, 10):  # windows that begin later close as ever
        drive.second(number)
    assert drive.count(Outcome.MERGED) == 20
    times = [key[5] for key, _ in drive.reader.seen.rows]
    assert times == [T0 + 10 * S, T0 + 20 * S]


def test_a_cycle_in_a_batch_ends_consents_for_all_of_it() -> None:
    drive = Drive(asking(), ignition=IGNITION)
    for number, told in enumerate([[], flag(1, False), flag(2, False)]):
        drive.second(number, *told)
    assert drive.count(Outcome.SENT) == 30
    commit = drive.second(3, *flag(3, True))
    assert not commit.records
    assert drive.count(Outcome.SENT) == 30
    assert [c.set_by for c in drive.consents.changes()] == ["driver", "ignition"]
    drive.second(4, *flag(4, True))
    assert drive.count(Outcome.SENT) == 30
    drive.consents.take([given(number=2)])
    drive.second(5, *flag(5, True))
    assert drive.count(Outcome.SENT) == 40


def test_an_ignition_that_was_on_from_the_start_ends_nothing() -> None:
    drive = Drive(asking(), ignition=IGNITION)
    for number in range(3):
        drive.second(number, *flag(number, True))
    assert drive.count(Outcome.SENT) == 30


def test_what_is_under_a_consent_has_epochs_of_its_own() -> None:
    other = rule_of("b", match={"item": "Vehicle.Chassis.SteeringWheel.Angle"},
                    becomes="location.deadreckoning")  # fmt: skip
    drive = Drive(asking("a"), other)
    first = drive.second(0)
    keys = {record.consent: record for record in first.records if record.kind == "key"}
    assert sorted(keys) == ["", "track"]
    assert keys[""].label == keys["track"].label
    assert len({record.epoch for record in first.records}) == 2
    drive.consents.take(())
    assert {r.epoch for r in drive.second(1).records} == {keys[""].epoch}
    drive.consents.take([given(number=2)])
    again = drive.second(2)
    (key,) = [record for record in again.records if record.kind == "key"]
    # The old announcement may be destroyed by now: nothing new may need it.
    assert key.consent == "track"
    assert key.epoch != keys["track"].epoch
