"""Coverage: what is bound, what is in a catalogue, and what is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from policies.coverage import State, coverage
from policies.files import load, sunspec_models
from protocols.can.database import parse_database
from tests.policies.building import Compile, points_of, policy_of
from tests.policies.conftest import DBC

if TYPE_CHECKING:
    from policies.coverage import Coverage, Part

DATABASE = parse_database(DBC, "dbc", "t.dbc")
SIGNALS = [
    f"{message.name}.{signal.name}"
    for message in DATABASE.messages
    for signal in message.signals
    if message.name != "TWIN"
]


def counts(found: Part | Coverage) -> list[int]:
    return [found.count(state) for state in State]


def test_a_database_alone_is_bound_to_nothing() -> None:
    found = coverage(None, [DATABASE])
    assert counts(found) == [0, 0, 5]
    assert found.share == 0
    assert coverage(None).share == 1


def test_bindings_alone_tell_of_their_databases(compile_text: Compile) -> None:
    bound = {
        "schema": "sluicegate/bindings/1",
        "name": "b",
        "can": [
            {
                "bus": ["can0", "can1"],
                "database": "t.dbc",
                "signals": {
                    "SPEEDS.FRONT": "Vehicle.Speed",
                    "SPEEDS.REAR": "Odd.Name",
                },
            }
        ],
    }
    found = coverage(compile_text(policy_of(), bound))
    (part,) = found.parts  # on two buses, counted once
    assert counts(part) == [1, 1, 3]
    assert found.share == 0.2
    front, rear = part.signals[:2]
    assert (front.state, front.categories) == (
        State.CLASSIFIED,
        ("location.deadreckoning",),
    )
    assert (rear.state, rear.items) == (State.UNCLASSIFIED, ("Odd.Name",))


def test_both_together_and_registers(compile_text: Compile) -> None:
    compiled = compile_text(policy_of(), points_of("Vehicle.Speed", "Odd.Name"))
    found = coverage(compiled, [DATABASE])
    database, registers = found.parts
    assert counts(database) == [0, 0, 5]
    assert counts(registers) == [1, 1, 0]
    assert registers.name == "plc"
    assert found.total == 7


def test_points_of_a_sunspec_model_that_nobody_reads_are_unbound() -> None:
    compiled = load("factory-line", ["sim-plant"]).compiled
    numbers = {one.model for one in compiled.sunspec}
    found = coverage(compiled, (), sunspec_models(numbers))
    parts = {part.name: part for part in found.parts}
    inverter = parts["plc1 model 103"]
    names = {one.name for one in inverter.signals if one.state == State.UNBOUND}
    assert "TmpSnk" in names
    assert not {"ID", "L", "A_SF"} & {one.name for one in inverter.signals}
    bound = coverage(compiled)
    known = {one.name for one in bound.parts if one.kind == "sunspec"}
    assert known == {"plc1 model 103", "plc1 model 1"}


def test_the_example_vehicle_with_its_diagnostics() -> None:
    found = coverage(load("lockdown", ["sim-vehicle"]).compiled)
    kinds = [part.kind for part in found.parts]
    assert kinds == ["database", "database", "database", "diagnostics"]
    assert counts(found.parts[-1]) == [3, 0, 0]
    assert [one.name for one in found.parts[-1].signals] == [
        "did 0xf190", "did 0xf18c", "obd 09.02",
    ]  # fmt: skip


@given(st.dictionaries(st.sampled_from(SIGNALS), st.booleans()))
def test_counts_add_up_whatever_is_bound(
    compile_text: Compile, bound: dict[str, bool]
) -> None:
    signals = {
        name: f"Vehicle.Chassis.S{number}" if known else f"Odd.S{number}"
        for number, (name, known) in enumerate(bound.items())
    }
    can = {"bus": "can0", "database": "t.dbc", "signals": signals}
    bindings = {"schema": "sluicegate/bindings/1", "name": "b", "can": [can]}
    found = coverage(compile_text(policy_of(), bindings))
    known = sum(bound.values())
    assert counts(found) == [known, len(bound) - known, 5 - len(bound)]
    assert sum(counts(found)) == found.total == 5
