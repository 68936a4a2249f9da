"""Scenario files: what ships loads; what is wrong is one line with file and place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.errors import ScenarioError
from firmware_sim.scenario import (
    FOLDER,
    NS,
    load_scenario,
    nanoseconds,
    parse_scenario,
    shipped,
)

CITY = (FOLDER / "city-drive.yaml").read_text(encoding="utf-8")
TANK = (FOLDER / "tank-line.yaml").read_text(encoding="utf-8")


def test_the_shipped_scenarios_load() -> None:
    drives = ["city-drive", "crash", "motorway", "parked"]
    networks = [
        "plant-attacks", "plant-attacks-short", "plant-network", "plant-network-fault",
        "plant-network-short",
    ]  # fmt: skip
    names = [*drives, *networks, "tank-line"]
    assert shipped() == [*names, "tank-line-fault"]
    for name in shipped():
        assert load_scenario(name).name == name


def refusal(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text.encode(), "x.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def at_line(text: str, part: str) -> int:
    return next(n for n, row in enumerate(text.splitlines(), 1) if part in row)


@pytest.mark.parametrize(
    ("base", "old", "new", "reason"),
    [
        (CITY, "soc: 78.4", "soc: 178.4", "$.soc: "),
        (CITY, "soc: 78.4", "colour: red", "unknown field `colour`"),
        (CITY, "ambient_c: 11.5", "ambient_c: warm", "$.ambient_c: "),
        (CITY, "vin: L", "vin: M", "$.vin: is no VIN with a right check digit"),
        (CITY, "do: unbelt-driver", "do: fly", "$.events[2].do: "),
        (CITY, "every: 60s", "every: 1ms", "$.events[5].every: is below 100ms"),
        (CITY, "database: body.dbc", "database: ../body.dbc", "$.buses[1].database: "),
        (CITY, "2026-03-02T08:00:00Z", "yesterday", "$.start: "),
        (CITY, "schema: sluicegate/scenario/1", "schema: x/2", "$.schema: "),
        (CITY, "duration: 2m", "seed: 3", "duplicate key 'seed'"),
        (CITY, "duration: 2m", "duration: !!python/name:os.system", "tag "),
        (TANK, "step: 50ms", "step: 5s", "$.step: must lie in 1ms..1s"),
        (TANK, "height_m: 3.0", "height_m: 2.0", "$.tank: "),
        (TANK, "pump: 0.15", "pump: 1.5", "$.recipe[0].pump: "),
    ],
)
def test_a_bad_value_names_file_line_path_and_reason(
    base: str, old: str, new: str, reason: str
) -> None:
    assert old in base
    text = base.replace(old, new, 1)
    message = refusal(text)
    assert reason in message
    assert message.startswith(f"x.yaml:{at_line(text, new)}: $")


def test_a_refused_vin_is_not_repeated() -> None:
    assert "ANARY" not in refusal(CITY.replace("vin: L", "vin: M"))


@pytest.mark.parametrize(
    "text",
    [
        "", "- 1", "a: [", "a: &x [1]\nb: *x", "\t", "kind: ship", "[" * 5000,
        "a: " + "[" * 40 + "]" * 40, "a: \x07", "? [1, 2]\n: 3", "a: .nan",
        "x" * 300_000,
    ],
)  # fmt: skip
def test_hostile_text_is_one_line(text: str) -> None:
    assert refusal(text).startswith("x.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_scenario_or_the_named_error(data: bytes) -> None:
    with pytest.raises(ScenarioError):
        parse_scenario(data, "x.yaml")


@given(st.integers(0, 10**6), st.sampled_from(["us", "ms", "s", "m", "h"]))
def test_durations(count: int, unit: str) -> None:
    per = {"us": 10**3, "ms": 10**6, "s": NS, "m": 60 * NS, "h": 3600 * NS}[unit]
    assert nanoseconds(f"{count}{unit}") == count * per
    assert nanoseconds(f"{count}.25{unit}") == count * per + per // 4


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "firmware_sim", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(CITY.replace("soc: 78.4", "soc: 178.4"), encoding="utf-8")
    done = run("vehicle", str(bad), "--out", str(tmp_path / "x.log"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"{bad}:")
    assert len(done.stderr.splitlines()) == 1
    assert "$.soc" in done.stderr
