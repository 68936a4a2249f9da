"""The catalogues are complete, each entry has its basis, and items find their place."""

from __future__ import annotations

import pytest

from policies.catalogue import CatalogueSet, label_of
from policies.errors import PolicyError
from policies.files import shipped, shipped_text
from policies.parse import parse_catalogue
from policies.tables import Role

IOV = [
    "IOV-ID-01",
    "IOV-ID-02",
    "IOV-ID-03",
    "IOV-ID-04",
    "IOV-ID-05",
    "IOV-LOC-01",
    "IOV-LOC-02",
    "IOV-LOC-03",
    "IOV-LOC-04",
    "IOV-LOC-05",
    "IOV-GEO-01",
    "IOV-GEO-02",
    "IOV-EXT-01",
    "IOV-EXT-02",
    "IOV-EXT-03",
    "IOV-CAB-01",
    "IOV-CAB-02",
    "IOV-CAB-03",
    "IOV-BIO-01",
    "IOV-DRV-01",
    "IOV-DRV-02",
    "IOV-DRV-03",
    "IOV-PWT-01",
    "IOV-PWT-02",
    "IOV-EV-01",
    "IOV-EV-02",
    "IOV-CHG-01",
    "IOV-CHG-02",
    "IOV-CHG-03",
    "IOV-FLW-01",
    "IOV-FLW-02",
    "IOV-DTC-01",
    "IOV-DTC-02",
    "IOV-CTL-01",
    "IOV-OTA-01",
    "IOV-SEC-01",
    "IOV-NET-01",
    "IOV-USR-01",
    "IOV-ENV-01",
    "IOV-RSU-01",
]
IND = [
    "IND-PRC-01",
    "IND-PRC-02",
    "IND-RCP-01",
    "IND-SET-01",
    "IND-CTL-01",
    "IND-SAF-01",
    "IND-SAF-02",
    "IND-LOG-01",
    "IND-ALM-01",
    "IND-OUT-01",
    "IND-INV-01",
    "IND-ENE-01",
    "IND-EMS-01",
    "IND-EQP-01",
    "IND-EQP-02",
    "IND-NET-01",
    "IND-DIA-01",
    "IND-ORD-01",
    "IND-PER-01",
    "IND-RND-01",
    "IND-PLT-01",
]
THRESHOLDS = [
    "T01",
    "T02",
    "T03",
    "T10",
    "T11",
    "T12",
    "T13",
    "T14",
    "T20",
    "T21",
    "T22",
    "T23",
    "T30",
    "T31",
    "T32",
    "T33",
    "T40",
    "T41",
    "T42",
    "T43",
    "T44",
    "T45",
    "T46",
    "T47",
    "T50",
    "T51",
    "T52",
    "T53",
    "T54",
    "T55",
    "T60",
    "T61",
    "T62",
    "T63",
    "T64",
    "T65",
    "T70",
]


@pytest.fixture(scope="module")
def both() -> CatalogueSet:
    names = ("cn-auto", "cn-industrial")
    return CatalogueSet(
        [parse_catalogue(shipped_text("catalogues", n), n) for n in names]
    )


def test_both_are_shipped() -> None:
    assert shipped("catalogues") == ("cn-auto", "cn-industrial")


@pytest.mark.parametrize(("name", "ids"), [("cn-auto", IOV), ("cn-industrial", IND)])
def test_every_entry_of_the_regulation_tables_is_there_once(
    name: str, ids: list[str]
) -> None:
    model = parse_catalogue(shipped_text("catalogues", name), name).model
    own = ["SLG-EVT-01"]  # our own events: in no table of the regulation
    assert [e.id for e in model.categories if e.id not in own] == ids
    assert len({entry.category for entry in model.categories}) == len(ids) + len(own)
    for entry in model.categories:
        assert entry.items, entry.id
        assert entry.default, entry.id
        assert all(entry.basis), entry.id


def test_the_threshold_table_is_configuration() -> None:
    model = parse_catalogue(shipped_text("catalogues", "cn-auto"), "x").model
    assert [threshold.id for threshold in model.thresholds] == THRESHOLDS
    ours = {t.id for t in model.thresholds if t.mark == "ours"}
    assert ours == {"T61", "T62", "T63", "T64", "T65"}


def test_tiers_are_marked_as_law_only_where_a_class_or_list_names_them() -> None:
    for name in shipped("catalogues"):
        model = parse_catalogue(shipped_text("catalogues", name), name).model
        for entry in model.categories:
            cited = any(
                word in basis
                for basis in entry.basis
                for word in ("AUTO 3", "FTZ", "MNR")
                if not basis.startswith("like")
            )
            assert (entry.basis_mark == "law") == cited, entry.id


@pytest.mark.parametrize(
    ("item", "category"),
    [
        ("Vehicle.CurrentLocation.Latitude", "location.precise"),
        ("Vehicle.CurrentLocation.Heading", "location.precise"),
        ("Vehicle.Speed", "location.deadreckoning"),
        ("Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed", "location.deadreckoning"),
        ("Vehicle.Chassis.SteeringWheel.Angle", "chassis.controls"),
        ("Vehicle.Acceleration.Lateral", "location.inertial"),
        ("Vehicle.VehicleIdentification.VIN", "identity.vin"),
        ("Vehicle.VehicleIdentification.Model", "identity.serial"),
        ("Vehicle.VehicleIdentification.LicensePlate", "identity.plate"),
        ("Vehicle.Powertrain.Transmission.SelectedGear", "powertrain"),
        ("Vehicle.Powertrain.TractionBattery.StateOfCharge.Current", "energy.state"),
        ("Vehicle.Powertrain.TractionBattery.IsThermalRunaway", "energy.alarm"),
        ("Vehicle.Powertrain.TractionBattery.Charging.IsCharging", "charging.session"),
        ("Vehicle.Cabin.Door.Row1.DriverSide.IsOpen", "cabin.metadata"),
        ("Vehicle.Cabin.Camera.Front", "cabin.video"),
        ("Vehicle.Cabin.HVAC.AmbientAirTemperature", "environment"),
        ("Vehicle.Cabin.Infotainment.Navigation.DestinationSet.Latitude",
         "location.track"),
        ("Vehicle.Driver.HeartRate", "biometric"),
        ("Vehicle.Exterior.AirTemperature", "environment"),
        ("Vehicle.Exterior.Camera.Rear", "exterior.image"),
        ("Vehicle.Body.Lights.Beam.Low.IsOn", "driving.behaviour"),
        ("Vehicle.Safety.CrashDetected", "driving.automation"),
        ("Vehicle.OBD.DTCList", "diagnostics.codes"),
        ("Plant.Line1.Reactor.Temperature", "process.variable"),
        ("Plant.Line1.Recipe.Temperature", "recipe"),  # of equals the graver
        ("Plant.Line1.Tank.LevelSetpoint", "control.setpoint"),
        ("Plant.Line1.Interlock.Level", "safety.interlock"),
        ("Plant.Line1.Pump1.Run", "control.command"),
        ("Plant.Inverter1.Power", "energy.meter"),
        ("Plant.Line1.Operator.Badge", "personnel"),
        ("Sluicegate.Event", "security.event"),
        ("Something.Else", ""),
    ],
)  # fmt: skip
def test_items_find_their_category(
    both: CatalogueSet, item: str, category: str
) -> None:
    assert both.category_of(item) == category


def test_roles_make_positions(both: CatalogueSet) -> None:
    latitude = both.role_of("Vehicle.CurrentLocation.Latitude")
    fix = both.role_of("Vehicle.CurrentLocation.GNSSReceiver.FixType")
    assert (latitude.role, fix.role) == (Role.LATITUDE, Role.FIX)
    assert latitude.group == fix.group == "Vehicle.CurrentLocation"
    assert both.role_of("Vehicle.Trip.Start.Longitude").group == "Vehicle.Trip.Start"
    assert both.role_of("Vehicle.Cabin.Door.Row1").role == Role.NONE


def test_labels_say_what_the_regulation_says(both: CatalogueSet) -> None:
    text = {name: str(label) for name, label in both.labels.items()}
    assert text["location.precise"] == "G4/sensitive/raw/precise/none"
    assert text["location.coarse"] == "G2/personal/deidentified/coarse/none"
    assert text["exterior.image"].startswith("important/sensitive/raw/")
    assert text["geo.map"].endswith("surveying/candidate")
    assert text["identity.vin"] == "G3/personal/raw/none/none"
    assert label_of(both.entries["environment"].label).pack() == 0b000_00_11_00_00


ENTRY = (
    b"  - {id: A-1, category: a.b, about: x, label: {tier: G1}, default: stays,\n"
    b"     basis: [b], basis_mark: ours, items: [X.Y]}\n"
)
HEAD = b"schema: sluicegate/catalogue/1\nname: t\nversion: 1\ncategories:\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (ENTRY + ENTRY.replace(b"stays", b"goes"),
         "t:7: categories[1].category: this category is there already"),
        (ENTRY + ENTRY.replace(b"a.b", b"a.c"),
         "t:7: categories[1].id: this id is there already"),
        (ENTRY + ENTRY.replace(b"a.b", b"a.c").replace(b"A-1", b"A-2"),
         "t:8: categories[1].items[0]: this pattern belongs to 'a.b' already"),
        (ENTRY.replace(b"X.Y", b"X..Y"),
         ("t:6: categories[0].items[0]: not an item pattern: 'X..Y'"
         " (such as Vehicle.Chassis.**)")),
    ],
)  # fmt: skip
def test_a_catalogue_that_contradicts_itself_is_refused(text: bytes, line: str) -> None:
    with pytest.raises(PolicyError) as caught:
        CatalogueSet([parse_catalogue(HEAD + text, "t")])
    assert str(caught.value) == line
