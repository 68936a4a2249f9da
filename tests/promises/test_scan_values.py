"""What `scan` seals of a real drive opens to what others published of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from protocols.samples import Kind
from tests.policies.building import policy_of, rule_of
from tests.promises.scan_kit import json_of, opened, recipients, scan, values_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # whole commands in processes of their own

WHEELS = [
    f"Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.Speed"
    for row in (1, 2)
    for side in ("Left", "Right")
]
STEERING = "Vehicle.Chassis.SteeringWheel.Angle"


def test_comma2k19_opens_to_the_published_reference(data: Path, tmp_path: Path) -> None:
    """Wheel speeds (m/s = km/h / 3.6) and steering, every row, at 1e-9."""
    folder = data / "can-comma2k19-rav4"
    keys = recipients(tmp_path / "cards", ["oem-key", "de-key", "keeper"])
    policy = tmp_path / "raw.yaml"
    raw = rule_of("chassis-raw", match={"item": [*WHEELS, STEERING]})
    policy.write_bytes(policy_of(rules=[raw]))
    common: list[Path | str] = [
        folder / "rav4_5s.candump.log", "--policy", policy, "-b", "toyota-rav4-2017",
        "--databases", folder, "--recipients", tmp_path / "cards",
    ]  # fmt: skip
    said = scan(*common, "--out", tmp_path / "out", "--json", folder=tmp_path)
    assert (said.code, said.err) == (0, b"")
    (store,) = (tmp_path / "out").glob("*.store")
    envelopes = opened(store, keys)
    found = {item: values_of(envelopes, item) for item in [*WHEELS, STEERING]}
    lines = (folder / "rav4_5s.reference.csv").read_text().splitlines()[1:]
    steering = sorted(found[STEERING].items())
    before = 0
    for line in lines:
        stamp, *expected = line.split(",")
        seconds, micros = stamp.split(".")
        time_ns = int(seconds) * 10**9 + int(micros.ljust(9, "0"))
        for item, told in zip(WHEELS, expected, strict=False):
            assert found[item][time_ns] / 3.6 == pytest.approx(float(told), abs=1e-9)
        # The reference repeats the last angle before each row of wheel speeds.
        while before + 1 < len(steering) and steering[before + 1][0] < time_ns:
            before += 1
        assert steering[before][1] == pytest.approx(float(expected[4]), abs=1e-9)
    assert len(lines) == 414
    assert {len(found[item]) for item in WHEELS} == {414}
    _check_accounts(said.out, 414 * 4 + len(steering))
    # Lossless and small: raw integers of the DBC, not floats, but for the sum of two.
    kinds = {c.item: c.definition.kind for e in envelopes for c in e.columns}
    assert {kinds[item] for item in WHEELS} == {Kind.INT}
    assert kinds[STEERING] == Kind.FLOAT


def _check_accounts(out: bytes, rows: int) -> None:
    (result,) = json.loads(out)
    left = [d for item in result["items"] for d in item["decisions"] if d["rule"]]
    assert sum(d["rows_left"] for d in left) == rows
    assert {d["destination"] for d in left} == {"oem"}
    by_name = {d["name"]: d for d in result["destinations"]}
    assert by_name["oem"]["rows"] == rows
    assert by_name["abroad"] == {
        "name": "abroad", "region": "DE", "messages": 0, "size_bytes": 0, "rows": 0,
        "keys": 0, "key_bytes": 0,
    }  # fmt: skip


def test_several_captures_at_once_tell_what_each_tells_alone(
    data: Path, tmp_path: Path
) -> None:
    folder = data / "can-comma2k19-rav4"
    whole = (folder / "rav4_5s.candump.log").read_bytes().splitlines(keepends=True)
    parts = []
    for number in range(3):
        part = tmp_path / f"part{number}.log"
        part.write_bytes(b"".join(whole[number * 2700 : (number + 1) * 2700]))
        parts.append(part)
    common: list[Path | str] = ["--policy", "passenger-fleet", "-b", "toyota-rav4-2017",
              "--databases", folder, "--json"]  # fmt: skip
    together = scan(*parts, *common, "-j", "3", folder=tmp_path)
    assert (together.code, together.err) == (0, b"")
    results = json_of(together)
    assert [result["file"] for result in results] == [str(part) for part in parts]
    alone = scan(parts[1], *common, "-j", "1", folder=tmp_path)
    (one,) = json_of(alone)
    for field in ("items", "frames", "classified", "unclassified", "alerts"):
        assert one[field] == results[1][field]
    assert sum(result["frames"] for result in results) == 8100
    assert not list(tmp_path.glob("sluicegate-scan-*"))
