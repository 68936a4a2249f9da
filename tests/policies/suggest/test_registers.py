"""Register maps, SunSpec models and Modbus bindings as facts and as drafts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.bindings import bind
from policies.catalogue import CatalogueSet
from policies.files import shipped_text, sunspec_models
from policies.parse import parse_bindings, parse_catalogue
from policies.suggest.draft_plant import draft_registers
from policies.suggest.naming import Namer
from policies.suggest.registers import Register, of_bindings, of_model, parse_map
from policies.suggest.suggesting import suggest
from policies.suggest.topics_plant import PLANT
from protocols.errors import DatabaseError

MAP = b"""name,unit,table,address,type,scale,unit text,description
Tank level,1,3,0,f32,1,m,Level of the tank
Pump run,1,0,2,coil,,,Start the pump
High level interlock,1,1,0,coil,,,
Temperature setpoint,2,4,2,f32,,degC,
Serial number,2,4,20,u32,,,
Active power,1,3,14,f32,,W,
Odd thing,1,3,40,u16,,,
"""
WANTED = {
    "Tank level": "process.variable",
    "Pump run": "control.command",
    "High level interlock": "safety.interlock",
    "Temperature setpoint": "control.setpoint",
    "Serial number": "equipment.identity",
    "Active power": "energy.meter",
    "Odd thing": "",
}


@pytest.fixture(scope="module")
def known() -> CatalogueSet:
    text = shipped_text("catalogues", "cn-industrial")
    return CatalogueSet([parse_catalogue(text, "cn-industrial")])


def categories(registers: list[Register]) -> dict[str, str]:
    found = suggest([one.facts for one in registers], PLANT)
    return {p.facts.name: p.category if p.is_sure else "" for p in found}


def test_a_register_map() -> None:
    assert categories(parse_map(MAP, "map.csv")) == WANTED


def test_categories_of_topics_are_in_the_catalogue(known: CatalogueSet) -> None:
    assert {t.category for t in PLANT} - {""} <= set(known.entries)


def test_a_sunspec_inverter_is_a_meter() -> None:
    found = categories(of_model(sunspec_models([103])[103]))
    assert found["W"] == found["WH"] == found["Hz"] == "energy.meter"
    assert found["TmpCab"] == "process.variable"
    assert not found["WH_SF"]
    assert categories(of_model(sunspec_models([1])[1]))["SN"] == "equipment.identity"


def test_a_repeating_group_is_named_by_its_first() -> None:
    names = set(categories(of_model(sunspec_models([160])[160])))
    assert "module[0].DCA" in names


def test_shipped_bindings_agree_with_the_catalogue(known: CatalogueSet) -> None:
    text = shipped_text("bindings", "sim-plant.bindings")
    registers = of_bindings(parse_bindings(text, "b").model, "b")
    found = suggest([one.facts for one in registers], PLANT)
    agree = [
        known.category_of(one.item) == p.category
        for one, p in zip(registers, found, strict=True)
        if p.is_sure
    ]
    assert len(agree) > 20
    assert sum(agree) >= 0.85 * len(agree)


@pytest.mark.parametrize("minimum", [0.0, 0.5, 1.0])
def test_a_draft_parses_and_compiles(known: CatalogueSet, minimum: float) -> None:
    numbers = (1, 103, 160)
    models = sunspec_models(numbers)
    plain = parse_map(MAP, "map.csv")
    text = "schema: sluicegate/bindings/1\nname: d\n"
    namer = Namer()
    points = [of_model(models[number]) for number in numbers]
    for head, registers in (
        ("modbus", plain),
        ("sunspec", [r for one in points for r in one]),
    ):
        found = suggest([one.facts for one in registers], PLANT)
        pairs = list(zip(registers, found, strict=True))
        lines = draft_registers(pairs, "plc1", known, minimum, namer)
        text += "\n".join((f"{head}:", *lines)) + "\n"
    document = parse_bindings(text.encode(), "d.yaml")
    bound = bind([document], {}, (), ("plc1",), models)
    assert (len(bound.modbus) + len(bound.sunspec) > 20) == (minimum < 1)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1"),
        (b"name\nx\n", "line 1"),
        (b"name,address\n,1\n", "line 2"),
        (b"name,address,table\nx,70000,3\n", "line 2"),
        (b"name,address,table,type\nx,1,3,u17\n", "line 2"),
        (b"name,address,table,scale\nx,1,3,abc\n", "line 2"),
        (b'name,address\n"x,1\n', "line"),
        (b"\xff\xfe", "whole file"),
        (b"name,address,table\n" + b"x" * 600 + b",1,3\n", "line 2"),
    ],
)
def test_a_bad_map_is_refused_with_its_line(body: bytes, place: str) -> None:
    with pytest.raises(DatabaseError) as error:
        parse_map(body, "map.csv")
    assert error.value.place.startswith(place)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_map_or_refused(body: bytes) -> None:
    for head in (b"", b"name,address,table,type,scale\n"):
        try:
            parse_map(head + body, "map.csv")
        except DatabaseError:
            continue
