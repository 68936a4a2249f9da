"""`sluicectl policy` as a person types it: tables, JSON, exit codes, errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fleet import main
from policies.files import shipped_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLEET = ("--policy", "passenger-fleet")
LATITUDE = "Vehicle.CurrentLocation.Latitude"
EXAMPLE = shipped_text("examples", "passenger-fleet").decode()


def ran(*words: object) -> int:
    return main.run(["policy", *map(str, words)])


@pytest.fixture
def policy(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the example with one text replaced."""

    def write(name: str, old: str = "", new: str = "") -> Path:
        assert old in EXAMPLE
        path = tmp_path / name
        path.write_text(EXAMPLE.replace(old, new, 1) if old else EXAMPLE)
        return path

    return write


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# --- check --------------------------------------------------------------------------


def test_the_examples_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("check", "passenger-fleet", "factory-line", "demo", "lockdown") == 0
    out = printed(capsys)
    assert out.count("0 errors, 0 warnings") == 4
    assert "of every category" in out


def test_warnings_fail_only_where_that_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("check", "passenger-fleet", "-b", "sim-vehicle")
    assert ran(*words) == 0
    assert "SG008  warning  GOV-07, ours" in printed(capsys)
    assert ran(*words, "--strict") == 1


def test_an_error_names_its_rule_line_and_duty(
    policy: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = policy("bad.yaml", "    purpose: road-weather\n")
    assert ran("check", bad) == 1
    line = next(one for one in printed(capsys).splitlines() if "SG001" in one)
    assert "error" in line
    assert "GOV-07, AUTO 4" in line
    assert "lets data leave without a purpose" in line
    assert ran("check", bad, "--json") == 1
    (found,) = told(capsys)
    assert found["errors"] == 1
    assert found["found"][0]["line"] == 1 + EXAMPLE[: EXAMPLE.index("weather")].count(
        "\n"
    )


def test_the_floor_refuses_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floor = tmp_path / "floor.yaml"
    floor.write_text(
        "schema: sluicegate/floor/1\nrules:\n"
        "  - {name: far, match: {geo: precise}, min_grid: 5000m}\n"
    )
    assert ran("check", "passenger-fleet", "--floor", floor) == 1
    out = printed(capsys)
    assert "weaker than floor rule far" in out
    assert "needs a grid of 5000 m or more" in out


def test_a_broken_file_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text("schema: [\n")
    assert ran("check", tmp_path / "broken.yaml", "demo") == 2
    both = capsys.readouterr()
    assert "demo: demo version" in both.out
    assert both.err.startswith("sluicectl: ")
    assert both.err.count("\n") == 1
    assert ran("check", tmp_path / "broken.yaml", "demo", "--json") == 2
    broken, fine = told(capsys)
    assert broken["found"][0]["rule"] == "reads"
    assert fine["found"] == []


# --- explain ------------------------------------------------------------------------


def test_explain_says_who_decides_and_why_not_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ran("explain", "Vehicle.Speed", *FLEET, "--to", "oem") == 0
    out = printed(capsys)
    assert "Vehicle.Speed: location.deadreckoning, G3/personal/raw/none/none" in out
    decides = [line for line in out.splitlines() if " decides " in line]
    assert len(decides) == 1
    assert "speed-thinned" in decides[0]
    assert "leaves sealed, one in 10 s, rounded to 0.5" in decides[0]
    assert "tier G3 is above G2" in out
    assert "not for this destination: brake-wear-abroad" in out


def test_explain_of_a_gateway_tells_every_source_and_the_floor(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    words = ("explain", LATITUDE, *FLEET, "-b", "sim-vehicle")
    floor = root / "policies/examples/owner.floor.yaml"
    assert ran(*words, "--floor", floor, "--json") == 0
    found = told(capsys)
    assert [one["source"] for one in found] == ["can1", "can2"]
    assert [one["destination"] for one in found[0]["places"]] == [
        "oem", "supplier", "device",
    ]  # fmt: skip
    assert ran(*words, "--floor", floor) == 0
    out = printed(capsys)
    assert "floor rule" in out
    heads = [line for line in out.splitlines() if line.startswith(f"{LATITUDE} from ")]
    assert len(heads) == 1
    assert f"{LATITUDE} from can1, can2: location.precise" in heads[0]


def test_explain_of_one_bus(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("explain", LATITUDE, *FLEET, "-b", "sim-vehicle", "--bus")
    assert ran(*words, "can2") == 0
    assert f"{LATITUDE} from can2: " in printed(capsys)
    assert ran(*words, "can2", "--json") == 0
    assert [one["source"] for one in told(capsys)] == ["can2"]
    assert ran(*words, "can7") == 2
    err = capsys.readouterr().err
    assert f"{LATITUDE} does not come from 'can7' (it comes from can1, can2)" in err
    assert ran("explain", LATITUDE, *FLEET, "--bus", "can2") == 2
    assert "on no bus: there are no bindings (give -b" in capsys.readouterr().err


PLANT = ("--policy", "sim-network", "-b", "sim-network", "--from")


def test_request_says_which_rule_of_the_firewall_decides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("request", "plc1", "write-multiple-registers", "0-1")
    assert ran(*words, *PLANT, "10.20.0.21") == 0
    out = printed(capsys)
    (line,) = [one for one in out.splitlines() if " allows if " in one]
    assert "values 1 to 2.3, changed by 0.25 at most, 6 in 60 s at most" in line
    assert out.endswith("as its conditions say; else refused: no rule allows it\n")
    assert ran(*words, *PLANT, "10.20.0.99", "--json") == 0
    found = json.loads(printed(capsys))
    assert found["verdict"] == "refused: no rule allows it"
    assert {one["says"] for one in found["rules"]} == {"does not match"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("plc1", "reads", "1", *PLANT, "10.0.0.1"), "one function, no group: 'reads'"),
        (("plc1", "3", *PLANT, "10.0.0.1"), "read-holding-registers addresses somethi"),
        (("plc1", "3", "x", *PLANT, "10.0.0.1"), "not addresses: 'x'"),
        (("plc1", "3", "1", *PLANT, "hmi"), "'hmi' does not appear to be an IPv4"),
        (("plc1", "3", "1", *FLEET, "--from", "10.0.0.1"), "no modbus section"),
    ],
)
def test_a_request_that_cannot_be_asked_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    assert ran("request", *words) == 2
    assert reason in capsys.readouterr().err


def test_explain_of_a_register_tells_the_rules_about_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    item = "Plant.Line1.Recipe.LevelSetpoint"
    assert ran("explain", item, *PLANT[:-1]) == 0
    lines = [one for one in printed(capsys).splitlines() if "Modbus rule" in one]
    assert [one.split()[2] for one in lines] == ["tank-settings", "level"]


def test_explain_of_an_item_in_no_catalogue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ran("explain", "Odd.Thing", *FLEET, "--to", "oem") == 0
    out = printed(capsys)
    assert "Odd.Thing: unclassified" in out
    assert "no rule decides: it is kept back" in out


# --- diff ---------------------------------------------------------------------------


def test_the_same_policy_differs_in_nothing(
    policy: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("diff", "passenger-fleet", policy("same.yaml")) == 0
    assert "nothing leaves otherwise than before" in printed(capsys)


def test_a_coarser_grid_is_tighter_and_a_finer_one_looser(
    policy: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    far = policy("far.yaml", "      - {grid: 1100m}", "      - {grid: 2200m}")
    assert ran("diff", "passenger-fleet", far) == 0
    assert "only tighter" in printed(capsys)
    assert ran("diff", far, "passenger-fleet", "-b", "sim-vehicle") == 1
    out = printed(capsys)
    assert "looser" in out
    assert "[before: grid of 2200 m; now: grid of 1100 m]" in out
    assert ran("diff", far, "passenger-fleet", "--json") == 1
    found = told(capsys)
    assert found["looser"] is True
    assert found["second_approval"] is False
    assert found["weakens"][0]["tier"] == "g4"


def test_important_data_needs_a_second_approval_and_says_so(
    policy: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    maps = policy(
        "maps.yaml",
        "rules:\n",
        "rules:\n  - {name: maps, match: {category: geo.map}, to: oem, purpose: p,"
        " approval: MNR-1, do: [encrypt]}\n",
    )
    assert ran("diff", "passenger-fleet", maps) == 1
    out = printed(capsys)
    assert "needs a second approval (*)" in out
    assert "geo.map" in out
    assert ran("diff", "none", maps, "--json") == 1
    assert told(capsys)["second_approval"] is True
    assert ran("diff", maps, "passenger-fleet") == 0


# --- coverage -----------------------------------------------------------------------


def test_coverage_of_a_database_of_bindings_and_of_both(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chassis = root / "firmware_sim/scenarios/chassis.dbc"
    assert ran("coverage", chassis) == 0
    assert "0.0 %" in printed(capsys)
    assert ran("coverage", chassis, "--min", 80) == 1
    assert "below the 80 %" in printed(capsys)
    words = ("coverage", "-b", "sim-vehicle")
    assert ran(*words, "--json") == 0
    alone = told(capsys)
    assert alone["classified"] == 44
    assert ran(*words, chassis, "--json", "--min", 35) == 0
    assert told(capsys)["total"] == alone["total"]  # the bindings name this very file
    other = tmp_path / "other.dbc"
    other.write_bytes(chassis.read_bytes())
    assert ran(*words, other, "--json") == 0
    both = told(capsys)
    assert both["total"] == alone["total"] + 60
    assert both["classified"] == alone["classified"]


def test_coverage_names_what_is_unclassified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ran("coverage", "-b", "sim-plant", "--policy", "factory-line") == 0
    out = printed(capsys)
    assert "unclassified:" in out
    assert "3:16 (Plant.Line1.Tank.Balance)" in out


# --- fmt ----------------------------------------------------------------------------


def test_fmt_checks_changes_in_place_and_is_done(
    policy: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = policy("messy.yaml", "    region: CN\n", "    region:   CN\n")
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    messy = path.read_text()
    assert ran("fmt", link, "--check") == 1
    assert "is not laid out" in printed(capsys)
    assert path.read_text() == messy
    assert ran("fmt", link) == 0
    assert path.read_text() == EXAMPLE
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert ran("fmt", link, path, "--check") == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.yaml", "messy.yaml"]


def test_a_file_that_cannot_be_laid_out_leaves_all_as_they_were(
    policy: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = policy("messy.yaml", "    region: CN\n", "    region:   CN\n")
    before = path.read_text()
    (tmp_path / "bad.yaml").write_text("a: [")
    assert ran("fmt", path, tmp_path / "bad.yaml") == 2
    assert path.read_text() == before
    assert capsys.readouterr().err.count("\n") == 1


# --- hostile input ------------------------------------------------------------------


def hostile(folder: Path) -> list[tuple[object, ...]]:
    (folder / "a.dbc").write_bytes(b"BO_ 1 A: 99999999999999 X\n SG_ \xff")
    (folder / "binary").write_bytes(bytes(range(256)) * 64)
    (folder / "deep.yaml").write_text("[" * 5000)
    (folder / "huge.yaml").write_bytes(b"#" * (5 * 1024 * 1024))
    (folder / "alias.yaml").write_text("a: &a [1]\nb: *a\n")
    (folder / "other.yaml").write_text("schema: sluicegate/floor/1\nrules: []\n")
    words: list[tuple[object, ...]] = [
        ("nonsense",),
        ("check",),
        ("explain",),
        ("diff", "demo"),
    ]
    for name in ("binary", "deep.yaml", "huge.yaml", "alias.yaml", "other.yaml"):
        path = folder / name
        words += [
            ("check", path), ("explain", "Vehicle.Speed", "--policy", path),
            ("diff", path, "demo"), ("diff", "demo", path),
            ("check", "demo", "-b", path), ("explain", "A.b", *FLEET, "-b", path),
        ]  # fmt: skip
    for name in ("binary", "deep.yaml", "alias.yaml"):
        words += [
            ("fmt", folder / name),
            ("check", "demo", "--floor", folder / name),
            ("explain", "Vehicle.Speed", *FLEET, "--floor", folder / name),
        ]
    return [
        *words,
        ("check", "a\0b"), ("check", folder), ("check", folder / "absent"),
        ("explain", "no item name", *FLEET), ("explain", "Vehicle.Speed"),
        ("explain", "Vehicle.Speed", *FLEET, "--to", "nobody"),
        ("explain", "Vehicle.Sped", *FLEET, "-b", "sim-vehicle"),
        ("explain", "A.\x1b[31m", *FLEET), ("diff", "demo", "none"),
        ("fmt", folder), ("fmt", "a\0b"), ("fmt",), ("fmt", folder / "absent"),
        ("coverage",), ("coverage", folder / "binary"), ("coverage", folder / "a.dbc"),
        ("coverage", folder), ("coverage", "-b", "sim-plant", "--policy", "demo2"),
        ("coverage", "x.dbc", "--min", 101), ("coverage", "a\0.dbc"),
    ]  # fmt: skip


@pytest.mark.slow
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in hostile(tmp_path):
        assert ran(*words) == 2, words
        said = capsys.readouterr()
        assert said.err.startswith("sluicectl: "), words
        assert said.err.count("\n") == 1, said.err
        assert "\x1b" not in said.err
        assert said.out == ""


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("check", "explain", "diff", "coverage", "fmt"):
        assert ran(word, "--help") == 0
        assert "Exit code 0" in " ".join(printed(capsys).split())
