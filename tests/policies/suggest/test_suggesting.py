"""Traps and ordinary signals, positions in parts, drafts that compile."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.bindings import bind
from policies.catalogue import CatalogueSet
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue
from policies.suggest.draft import Source, draft
from policies.suggest.facts import Facts, facts_of
from policies.suggest.positions import positions
from policies.suggest.scoring import WEIGHTS
from policies.suggest.suggesting import AUTO, CONFIDENCE_MIN, Proposal, suggest
from protocols.can.database import parse_database
from tests.support.examples import upto

DBC = b"""VERSION ""
BU_: E
BO_ 1 GPS_Nav: 8 E
 SG_ Lat_Degrees : 0|8@1+ (1,-89) [0|0] "Degrees" E
 SG_ Lat_Minutes : 8|6@1+ (1,0) [0|0] "Minutes" E
 SG_ Lat_Min_dec : 16|14@1+ (0.0001,0) [0|0] "Minutes" E
 SG_ Lon_Degrees : 32|9@1+ (1,-179) [0|0] "Degrees" E
 SG_ Lon_Minutes : 41|6@1+ (1,0) [0|0] "Minutes" E
BO_ 2 VIN_01: 8 E
 SG_ Mux M : 0|2@1+ (1,0) [0|3] "" E
 SG_ VIN_1 m0 : 8|8@1+ (1,0) [0|255] "" E
 SG_ VIN_2 m1 : 8|8@1+ (1,0) [0|255] "" E
BO_ 3 Motion: 8 E
 SG_ Speed : 0|16@1+ (0.01,0) [0|655] "km/h" E
 SG_ SpeedV : 16|1@1+ (1,0) [0|1] "" E
 SG_ Counter : 17|4@1+ (1,0) [0|15] "" E
BO_ 4 TWIN: 8 E
 SG_ Door_Open_FL : 0|1@1+ (1,0) [0|1] "" E
BO_ 5 TWIN: 8 E
 SG_ Door_Open_FL : 0|1@1+ (1,0) [0|1] "" E
CM_ SG_ 3 Speed "how fast";
"""


def one(name: str, group: str = "MSG", **more: object) -> Proposal:
    bits = int(str(more.pop("bits", 16)))
    facts = Facts("f", group, name, bits=bits, **more)  # type: ignore[arg-type]  # fields by name
    return suggest([facts])[0]


@pytest.mark.parametrize(
    ("name", "group", "unit"),
    [
        ("LAT_ACCEL", "ESP12", "m/s^2"),
        ("FwdVsnLatOfstTrk1", "F_Vision_Obj_Track_1", "m"),
        ("LongRateBPrime", "MSG", ""),
        ("PRPLS_LVL_MPLXD", "MSG", ""),
        ("LatchStatus", "DOORS", ""),
        ("CAN_TX_TRACK_LAT_RATE", "Target1", ""),
        ("TRACK_LONG_DIST", "TRACK_1", "m"),
    ],
)
def test_what_sounds_like_a_position_is_none(name: str, group: str, unit: str) -> None:
    assert one(name, group, unit=unit).category != "location.precise"


@pytest.mark.parametrize(
    ("name", "group", "unit", "category"),
    [
        ("GPSLatitude", "Pos", "milliarcsecond", "location.precise"),
        ("LAT_ACCEL", "ESP12", "m/s^2", "location.inertial"),
        ("VEHICLE_SPEED", "A", "km/h", "location.deadreckoning"),
        ("Odometer", "A", "km", "location.deadreckoning"),
        ("SET_SPEED", "ACC", "km/h", "driving.automation"),
        ("BRAKE_PRESSED", "B", "", "chassis.controls"),
        ("HandsOnLevel", "EPAS", "", "cabin.metadata"),
        ("SeatOccupied", "A", "", "cabin.metadata"),
        ("HV_Battery_SOC", "BMS", "%", "energy.state"),
        ("MO_Ladedruck", "Motor_4", "bar", "powertrain"),
        ("PSD_Segmentlaenge", "PSD_04", "m", "geo.map"),
        ("ICCID", "TBOX", "", "identity.sim"),
        ("SerialNumber", "ECU", "", "identity.serial"),
    ],
)
def test_signals(name: str, group: str, unit: str, category: str) -> None:
    found = one(name, group, unit=unit)
    assert (found.category, found.is_sure) == (category, True)


@pytest.mark.parametrize("name", ["CHECKSUM", "RollingCounter", "Reserved_3", "QBit_v"])
def test_plumbing_is_in_no_category(name: str) -> None:
    assert not one(name, "WHEEL_SPEEDS").category


def test_a_validity_bit_is_not_the_value() -> None:
    found = {
        p.facts.name: p for p in suggest(facts_of(parse_database(DBC, "dbc", "t")))
    }
    assert found["Speed"].category == "location.deadreckoning"
    assert not found["SpeedV"].category
    assert not found["Counter"].category


def test_every_piece_of_evidence_is_in_the_table_of_weights() -> None:
    found = suggest(facts_of(parse_database(DBC, "dbc", "t.dbc")))
    named = [p for p in found if p.topic and p.topic != "tells nothing by itself"]
    told = {part.partition(":")[0] for p in named for part in p.reason.split("; ")}
    assert told
    assert told <= set(WEIGHTS)


def test_parts_of_a_position_are_one() -> None:
    found = positions(suggest(facts_of(parse_database(DBC, "dbc", "t.dbc"))))
    assert [(one.axis, len(one.parts)) for one in found] == [
        ("latitude", 3),
        ("longitude", 2),
    ]
    assert [round(factor, 4) for _, factor in found[0].parts] == [0.0167, 0.0167, 1]


@pytest.fixture(scope="module")
def known() -> CatalogueSet:
    text = shipped_text("catalogues", "cn-auto")
    return CatalogueSet([parse_catalogue(text, "cn-auto")])


def test_categories_of_topics_are_in_the_catalogue(known: CatalogueSet) -> None:
    assert {t.category for t in AUTO} - {""} <= set(known.entries)


def test_topics_have_names_of_their_own() -> None:
    names = [t.name for t in AUTO]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("minimum", [0.0, CONFIDENCE_MIN, 1.0])
def test_a_draft_parses_and_compiles(known: CatalogueSet, minimum: float) -> None:
    database = parse_database(DBC, "dbc", "t.dbc")
    found = tuple(suggest(facts_of(database)))
    text = draft("d", [Source("t.dbc", "can0", found)], known, minimum)
    document = parse_bindings(text.encode(), "d.yaml")
    bound = bind([document], {"t.dbc": database}, ("can0",), (), {})
    names = {row.name for row in bound.rows}
    assert ("Vehicle.CurrentLocation.Latitude" in names) == (minimum < 1)
    assert "# " in text
    assert "Lat_Minutes" in text


_TEXT = st.text(max_size=30)


@settings(max_examples=upto(60))
@given(
    names=st.lists(st.tuples(_TEXT, _TEXT, _TEXT, _TEXT), max_size=5),
    bits=st.integers(0, 64),
)
def test_any_facts_give_a_proposal(
    names: list[tuple[str, str, str, str]], bits: int
) -> None:
    facts = [
        Facts("f", group, name, unit, bits, comment=comment, choices=(comment,))
        for group, name, unit, comment in names
    ]
    found = suggest(facts)
    assert [one.facts for one in found] == facts
    assert all(0 <= one.confidence < 1 for one in found)
    assert all(one.category for one in found if one.is_sure)
