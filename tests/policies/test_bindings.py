"""Bindings: what does not fit is named with file and line before the first frame."""

from __future__ import annotations

from typing import Any

import pytest

from policies.errors import PolicyError
from policies.files import load
from protocols.samples import Kind
from tests.policies.building import Compile, points_of, policy_of


def _can(signals: dict[str, Any], **more: Any) -> dict[str, Any]:
    binding = {"bus": "can0", "database": "t.dbc", "signals": signals, **more}
    return {"schema": "sluicegate/bindings/1", "name": "b", "can": [binding]}


def _point(**fields: Any) -> dict[str, Any]:
    bindings = points_of()
    bindings["modbus"][0]["points"] = [{"item": "A.B", "address": 0, **fields}]
    return bindings


def _sunspec(points: dict[str, Any], model: int = 103) -> dict[str, Any]:
    entry = {"link": "plc", "unit": 1, "model": model, "points": points}
    return {"schema": "sluicegate/bindings/1", "name": "b", "sunspec": [entry]}


TWICE = _can({"SPEEDS.FRONT": "A.B", "SPEEDS.REAR": "A.B"})
FIELD = "can[0].signals.SPEEDS."


@pytest.mark.parametrize(
    ("bindings", "line"),
    [
        (TWICE, f"{FIELD}REAR: item 'A.B' is bound twice from the same source"),
        (_can({"SPEEDS.FRNT": "A.B"}),
         f"{FIELD}FRNT: no signal 'FRNT' in message SPEEDS (did you mean 'FRONT'?)"),
        (_can({"SPEDS.FRONT": "A.B"}),
         "no message 'SPEDS' in t.dbc (did you mean 'SPEEDS'?)"),
        (_can({"TWIN.A": "A.B"}), ("2 messages are named 'TWIN'"
         " (name it by its identifier: one of 0x101, 0x102)")),
        (_can({"0x7F.A": "A.B"}), "no message 0x7f in t.dbc"),
        (_can({"SPEEDS": "A.B"}), "not MESSAGE.SIGNAL"),
        (_can({"SPEEDS.FRONT": {"item": "A.B", "unit": "m/s"}}),
         f"{FIELD}FRONT.unit: wrong unit 'm/s': FRONT is in 'km/h'"),
        (_can({"SPEEDS.FRONT": {"item": "A.B", "factor": 2}}),
         "a factor changes the unit (say unit_out)"),
        (_can({"SPEEDS.FRONT": "Speed"}), "not an item name: 'Speed'"),
        (_can({"SPEEDS.FRONT": {"item": "A.B", "category": "location.precice"}}),
         ("b.yaml:9: A.B: no such category: 'location.precice'"
         " (did you mean 'location.precise'?)")),
        (_can({}, bus="can7"), "can[0].bus: no such bus: 'can7'"),
        (_can({}, database="x.dbc"), "can[0].database: no such database: 'x.dbc'"),
        (_can({}, combined=[{"item": "A.B", "message": "SPEEDS",
                             "parts": {"FRONT": 1, "RA": 2}}]),
         ("can[0].combined[0].parts.RA: no signal 'RA' in message SPEEDS"
         " (did you mean 'RAW'?)")),
        (_point(table=4, type="u15"), "modbus[0].points[0].type: no such type: 'u15'"),
        (_point(), "an address needs its table"),
        (_point(address="4001"), "five or six digits"),
        (_point(address="40011", table=3), "the address lies in table 4"),
        (_point(table=4, order="BACD"), "no such order: 'BACD'"),
        (_point(table=4, address=65_535, type="u32"), "address 65535 leaves 0..65535"),
        (_point(table=4, bit=3), "bit belongs to type bit, and to no other"),
        (_point(table=4, period="5"), "points[0].period: not a duration: '5'"),
        (_sunspec({"W": "A.B"}, model=9), "no such published SunSpec model: 9"),
        ({**points_of("A.B"), "diagnostics": [{"bus": "can0", "item": "A.C"}]},
         "diagnostics[0]: needs one of did and obd"),
        ({**points_of("A.B"),
          "diagnostics": [{"bus": "can0", "item": "A.C", "obd": "01.0C"}]},
         "diagnostics[0].obd: only service 09 carries texts"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    compile_text: Compile, bindings: dict[str, Any], line: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_text(policy_of(), bindings)
    assert line in str(caught.value)
    assert str(caught.value).startswith("b.yaml:")


def test_signals_become_rows_with_the_format_that_decode_gives(
    compile_text: Compile,
) -> None:
    bindings = _can(
        {
            "SPEEDS.FRONT": {"item": "Vehicle.Speed", "unit": "kmh"},
            "SPEEDS.REAR": {"item": "A.Fast", "factor": 0.5, "unit_out": "x"},
            "0x102.A": {"item": "A.Angle", "category": "environment"},
        },
        bus=["can1", "can0"],
        combined=[
            {"item": "A.Sum", "message": "0x100", "parts": {"FRONT": 1, "REAR": 2}}
        ],
    )
    compiled = compile_text(policy_of(), bindings)
    items = compiled.policy.items
    assert len(items) == 8 + 1  # four items, on two buses, and our events
    names = {name: row for row, name in reversed(list(enumerate(items.name)))}
    speed, fast = names["Vehicle.Speed"], names["A.Fast"]
    assert (items.scale[speed], items.kind[speed]) == (0.01, Kind.INT)
    assert items.unit[speed] == "kmh"
    assert items.kind[fast] == Kind.FLOAT
    assert items.unit[fast] == "x"
    assert items.category[names["A.Angle"]] == "environment"
    assert not items.classified[fast]
    assert items.kind[names["A.Sum"]] == Kind.FLOAT
    assert sorted(binding.bus for binding in compiled.can) == [0] * 4 + [1] * 4
    assert compiled.plan.formats[speed].scale == items.scale[speed]


def test_every_bus_means_every_bus(compile_text: Compile) -> None:
    compiled = compile_text(policy_of(), _can({"SPEEDS.RAW": "A.B"}, bus="*"))
    assert compiled.policy.items.name[:-1] == ("A.B", "A.B")
    assert [binding.bus for binding in compiled.can] == [0, 1]


def test_modbus_points(compile_text: Compile) -> None:
    bindings = points_of()
    bindings["modbus"][0]["points"] = [
        {"item": "A.B", "address": "40011", "type": "f32", "order": "CDAB",
         "period": "2s", "unit": "bar"},
        {"item": "A.C", "table": 3, "address": 5, "type": "i16", "scale": 0.1,
         "offset": -40, "invalid": 0x8000},
        {"item": "A.D", "table": 4, "address": 9, "type": "string", "length": 8},
        {"item": "A.E", "table": 0, "address": 9, "type": "coil"},
    ]  # fmt: skip
    compiled = compile_text(policy_of(), bindings)
    first, second, *_ = compiled.modbus
    assert (first.table, first.address, first.period_ns) == (4, 10, 2 * 10**9)
    assert (second.table, second.address, second.invalid) == (3, 5, 0x8000)
    items = compiled.policy.items
    assert items.kind.tolist()[:-1] == [Kind.FLOAT, Kind.INT, Kind.TEXT, Kind.INT]
    assert (items.scale[1], items.offset[1], items.unit[0]) == (0.1, -40.0, "bar")
    assert [point.item for point in compiled.modbus] == [0, 1, 2, 3]


def test_sunspec_points_know_their_kind_from_the_published_model(
    tmp_path: Any,
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "schema: sluicegate/bindings/1\nname: s\nsunspec:\n"
        "  - {link: inverter, unit: 126, model: 103, period: 5s, points: {\n"
        "     W: Plant.Inverter1.Power, St: Plant.Inverter1.State}}\n"
        "  - {link: inverter, unit: 126, model: 1, points: {\n"
        "     SN: Plant.Inverter1.SerialNumber}}\n"
        "  - {link: inverter, unit: 126, model: 160, points: {\n"
        "     'module[0].DCA': Plant.Inverter1.Dc.Current}}\n"
    )
    compiled = load("factory-line", [file]).compiled
    assert compiled.links == ("inverter",)
    kinds = compiled.policy.items.kind.tolist()[:-1]
    assert kinds == [Kind.FLOAT, Kind.INT, Kind.TEXT, Kind.FLOAT]
    assert compiled.sunspec[0].period_ns == 5 * 10**9
    file.write_text(file.read_text().replace("W: Plant", "Q: Plant"))
    with pytest.raises(PolicyError, match=r"s\.yaml:5: sunspec\[0\]\.points\.Q: model"):
        load("factory-line", [file])
