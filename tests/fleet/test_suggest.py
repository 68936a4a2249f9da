"""`sluicectl catalogue suggest` as typed: table, JSON, draft, refusals, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet import main
from policies.files import load
from tests.support.label_measure import package

SIMULATED = Path(__file__).resolve().parents[2] / "firmware_sim/scenarios"
BODY, CHASSIS = SIMULATED / "body.dbc", SIMULATED / "chassis.dbc"


def ran(*words: object) -> int:
    return main.run(["catalogue", "suggest", *map(str, words)])


def test_table_groups_by_category(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(BODY) == 0
    out = capsys.readouterr().out
    assert "location.precise: GNSS latitude" in out
    assert "GNSS_LATITUDE" in out
    assert "\x1b" not in out


def test_json_tells_every_signal(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(CHASSIS, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    found = {one["signal"]: one for one in told["signals"]}
    assert found["SPEED"]["category"] == "location.deadreckoning"
    assert found["SPEED"]["proposed"]
    assert found["SPEED"]["reason"]


def test_draft_compiles_with_a_policy(tmp_path: Path) -> None:
    out = tmp_path / "draft.bindings.yaml"
    assert ran(BODY, CHASSIS, "--bus", "can1", "--out", out) == 0
    loaded = load("passenger-fleet", [out])
    items = loaded.compiled.policy.items
    assert "Vehicle.CurrentLocation.Latitude" in items.name
    assert items.classified.all()
    assert ran(BODY, "--out", out) == 2  # it is never written over


def test_a_refused_file_is_one_line_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.dbc"
    broken.write_text('VERSION ""\nBO_ 1 A: 8 E\n SG_ 0BAD : 0|8@1+ (1,0) [0|1] "" E\n')
    out = tmp_path / "d.yaml"
    assert ran(broken, BODY, tmp_path / "none.dbc", "--out", out) == 1
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert len(lines) == 2
    assert "broken.dbc: line 3" in lines[0]
    assert "none.dbc: file: No such file" in lines[1]
    assert "GNSS_LATITUDE" in told.out
    assert out.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["none.dbc"],
        ["/dev/null"],
        ["\x1b[31m.dbc"],
        [str(BODY), "--catalogue", "cn-auot"],
        [str(BODY), "--min-confidence", "2"],
        [],
    ],
    ids=["absent", "no-database", "escape", "catalogue", "range", "nothing"],
)
def test_bad_input_is_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(*words) in {0, 2}
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert "\x1b" not in told.err
    assert len(told.err.splitlines()) <= 2


@pytest.mark.slow
def test_every_database_of_opendbc(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback over any; what is refused is one line with its place."""
    folder = package()
    if folder is None:
        pytest.skip("no opendbc here: its releases ask for Python below 3.13")
    files = sorted(folder.rglob("*.dbc"))
    assert ran(*files, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    refused = [one for one in told if one["refused"]]
    signals = sum(len(one["signals"]) for one in told)
    assert (len(told), signals > 25_000) == (len(files), True)
    assert len(refused) < 0.2 * len(files)
    assert all(": " in one["refused"] for one in refused)


@pytest.mark.slow
def test_drafts_of_databases_compile(tmp_path: Path) -> None:
    """A file that loads gives a draft that our own parser and compiler take.

    One file in six: that nothing breaks over any of them is the test above.
    """
    folder = package()
    if folder is None:
        pytest.skip("no opendbc here: its releases ask for Python below 3.13")
    for number, file in enumerate(sorted(folder.rglob("*.dbc"))[::6]):
        out = tmp_path / f"{number}.bindings.yaml"
        code = ran(file, "--out", out)
        assert (code, out.exists()) in {(0, True), (2, False)}, file


@pytest.mark.slow
def test_the_databases_of_the_shared_data(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted((data / "dbc-opendbc").glob("*.dbc"))
    assert ran(*files, "--json") in {0, 1}
    told = json.loads(capsys.readouterr().out)
    assert len(told) == len(files)
    assert any(one["signals"] for one in told)


def test_registers_and_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "map.csv"
    table.write_text("name,address,table,unit text\nTank level,0,3,m\n")
    out = tmp_path / "plant.yaml"
    assert ran(table, "sunspec:103", "--bus", "plc9", "--out", out) == 0
    assert "Tank level" in capsys.readouterr().out
    text = out.read_text()
    assert 'link: "plc9"' in text
    assert "model: 103" in text
    assert load("lockdown", [out]).compiled.sunspec
    assert ran("sunspec:999") == 2
    assert ran(table.with_suffix(".xlsx")) == 2
