"""Promise 6: values never leak sideways. Canaries planted, every output searched."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import can
import cantools
import pytest

from firmware_sim.captures import write_capture
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from protocols.labels import Geo, unpack
from tests.promises.canaries import files_under, of_coordinate, of_text, search
from tests.promises.scan_kit import Said, json_of, opened, recipients, scan, values_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.scan_kit import Envelope

pytestmark = pytest.mark.slow  # whole commands in processes of their own

NAMES = ["oem-2026", "brakes-gmbh", "oem-legal-2026"]
LATITUDE = "Vehicle.CurrentLocation.Latitude"
LONGITUDE = "Vehicle.CurrentLocation.Longitude"
GRID_M = 1100.0
DEGREE_M = 111_320.0


@dataclass(frozen=True)
class Scanned:
    """A recording's scan with all that it wrote, and the envelopes opened."""

    said: dict[str, Said]
    outputs: dict[str, bytes]
    envelopes: list[Envelope]


def scanned(capture: Path, bindings: str, databases: Path, folder: Path) -> Scanned:
    """Scan twice (table and JSON) under passenger-fleet, keeping everything."""
    keys = recipients(folder / "cards", NAMES)
    (folder / "temporary").mkdir()
    common: list[Path | str] = [capture, "--policy", "passenger-fleet", "-b", bindings,
              "--databases", databases, "--recipients", folder / "cards"]  # fmt: skip
    said = {
        "table": scan(*common, "--out", folder / "a", folder=folder / "temporary"),
        "json": scan(*common, "--out", folder / "b", "--json",
                     folder=folder / "temporary"),
    }  # fmt: skip
    assert [(s.code, s.err) for s in said.values()] == [(0, b"")] * 2
    outputs = files_under(folder / "a", folder / "b", folder / "temporary")
    assert len(outputs) >= 4
    for name, one in said.items():
        outputs |= {f"{name} stdout": one.out, f"{name} stderr": one.err}
    (store,) = (folder / "a").glob("*.store")
    return Scanned(said, outputs, opened(store, keys))


@dataclass(frozen=True)
class Fix:
    """One true position, as asammdf and cantools read it."""

    time_ns: int
    latitude: float
    longitude: float
    raw: tuple[int, int]
    payload: bytes


def true_positions(folder: Path) -> list[Fix]:
    database = cantools.database.load_file(folder / "gnss.dbc", strict=False)
    assert isinstance(database, cantools.database.can.Database)
    message = database.get_message_by_frame_id(0x3)
    (capture,) = folder.glob("*.MF4")
    found: list[Fix] = []
    with can.io.MF4Reader(capture) as reader:
        for frame in reader:
            if frame.arbitration_id != 0x3:
                continue
            data = bytes(frame.data)
            real: dict[str, Any] = message.decode(data)  # type: ignore[assignment]  # no choices
            raw: dict[str, Any] = message.decode(data, scaling=False)  # type: ignore[assignment]  # the same
            found.append(
                Fix(
                    round(frame.timestamp * 1e9),
                    float(real["Latitude"]),
                    float(real["Longitude"]),
                    (int(raw["Latitude"]), int(raw["Longitude"])),
                    data,
                )
            )
    return found


@pytest.fixture(scope="module")
def gnss(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    folder = data / "can-css-gnss"
    (capture,) = folder.glob("*.MF4")
    return scanned(capture, "css-gnss", folder, tmp_path_factory.mktemp("gnss"))


@pytest.fixture(scope="module")
def truth(data: Path) -> list[Fix]:
    found = true_positions(data / "can-css-gnss")
    assert len(found) > 40
    return found


def test_both_coordinates_are_found_as_precise_location(
    gnss: Scanned, truth: list[Fix]
) -> None:
    (result,) = json_of(gnss.said["json"])
    items = {item["name"]: item for item in result["items"]}
    for name in (LATITUDE, LONGITUDE):
        assert items[name]["category"] == "location.precise"
        assert items[name]["label"] == "G4/sensitive/raw/precise/none"
        assert items[name]["samples"] == len(truth)
        assert name in gnss.said["table"].out.decode()


def test_no_precise_position_leaves_and_the_gridded_ones_lie_within_the_grid(
    gnss: Scanned, truth: list[Fix]
) -> None:
    assert all(unpack(one.label).geo <= Geo.COARSE for one in gnss.envelopes)
    columns = [column for one in gnss.envelopes for column in one.columns]
    assert {c.definition.category for c in columns if "Location" in c.item} == {
        "location.coarse"
    }
    lat = values_of(gnss.envelopes, LATITUDE)
    lon = values_of(gnss.envelopes, LONGITUDE)
    assert lat
    assert lat.keys() == lon.keys()
    for time_ns, latitude in lat.items():
        fix = min(truth, key=lambda one: abs(one.time_ns - time_ns))  # used at once
        assert abs(fix.time_ns - time_ns) < 1_000_000
        away = metres(fix, latitude, lon[time_ns])
        assert away <= 0.7072 * GRID_M
    exact = {value for fix in truth for value in (fix.latitude, fix.longitude)}
    assert not exact & {*lat.values(), *lon.values()}
    # The gridded latitude is the middle of its band, wherever the car was in it.
    for value in lat.values():
        cells = value / (GRID_M / DEGREE_M) - 0.5
        assert cells == pytest.approx(round(cells), abs=1e-6)


def metres(fix: Fix, latitude: float, longitude: float) -> float:
    north = (latitude - fix.latitude) * DEGREE_M
    east = (longitude - fix.longitude) * DEGREE_M
    return math.hypot(north, east * math.cos(math.radians(fix.latitude)))


def coordinate_forms(truth: list[Fix]) -> set[bytes]:
    forms: set[bytes] = set()
    for fix in truth:
        forms |= of_coordinate(fix.latitude, fix.raw[0], 4)
        forms |= of_coordinate(fix.longitude, fix.raw[1], 4)
        forms |= {fix.payload, fix.payload.hex().encode(), fix.payload[1:]}
        forms.add(fix.payload.hex().upper().encode())
    return forms


def test_the_true_coordinates_are_in_no_output(gnss: Scanned, truth: list[Fix]) -> None:
    forms = coordinate_forms(truth)
    assert not search(gnss.outputs, forms)
    inside = "\n".join(
        repr((c.item, c.value.tolist(), c.texts)) for e in gnss.envelopes
        for c in e.columns
    )  # fmt: skip
    assert not search({"opened": inside.encode()}, forms)


def test_the_search_finds_a_coordinate_in_any_of_its_forms(
    data: Path, gnss: Scanned, truth: list[Fix]
) -> None:
    forms = coordinate_forms(truth)
    body = next(body for name, body in gnss.outputs.items() if name.endswith("store"))
    fix = truth[len(truth) // 2]
    planted = [
        f"... at {fix.latitude:.5f} ...".encode(),
        repr(fix.longitude).encode(),
        str(fix.raw[1]).encode(),
        fix.payload,
        fix.latitude.hex().encode() + fix.payload.hex().encode(),
    ]
    for canary in planted:
        middle = len(body) // 2
        leaky = body[:middle] + canary + body[middle:]
        assert search({"store": leaky}, forms) == {"store": pytest.approx(3, abs=3)}
    (capture,) = (data / "can-css-gnss").glob("*.MF4")  # where the truth itself is
    assert search({"capture": capture.read_bytes()}, forms)


@pytest.fixture(scope="module")
def drive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    folder = tmp_path_factory.mktemp("drive")
    scenario = load_scenario("city-drive")
    assert isinstance(scenario, VehicleScenario)
    write_capture(Traffic(scenario), folder / "drive.log", 12 * 10**9)
    databases = root / "firmware_sim" / "scenarios"
    return scanned(folder / "drive.log", "sim-vehicle", databases, folder)


def test_the_vin_is_seen_and_is_in_no_output(drive: Scanned) -> None:
    scenario = load_scenario("city-drive")
    assert isinstance(scenario, VehicleScenario)
    vin, serial = scenario.vin.encode(), scenario.ecu_serial.encode()
    (result,) = json_of(drive.said["json"])
    items = {item["name"]: item for item in result["items"]}
    for name, count in (("VIN", 1), ("VINOverOBD", 1)):
        item = items[f"Vehicle.VehicleIdentification.{name}"]
        assert (item["category"], item["samples"]) == ("identity.vin", count)
    forms = of_text(vin) | of_text(serial)
    assert not search(drive.outputs, forms)
    texts = [t for e in drive.envelopes for c in e.columns for t in c.texts]
    assert texts
    assert not search({str(n): text for n, text in enumerate(texts)}, forms)
    assert search({"planted": b"VIN " + vin + b"!"}, forms)
    pseudonyms = [t for t in texts if len(t) == 26]
    assert len(pseudonyms) == 3  # VIN over UDS and OBD, and the serial
    assert len({len(json.dumps(t.decode())) for t in pseudonyms}) == 1
