"""`sluicectl policy test` and `cost` as typed, through the agent's own path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from firmware_sim.captures import write_capture
from firmware_sim.scenario import load_scenario
from firmware_sim.traffic import Traffic
from fleet import main
from fleet.policy import scan as policy_scan
from fleet.policy.cost import machine, parse_size, reckoned, size
from fleet.policy.scan import Scan, Wanted, command, scan
from policies.files import shipped_text
from tests.fleet.test_policy_judge import SCAN
from tests.promises.scan_kit import here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
FLEET = ("--policy", "passenger-fleet")
EXAMPLE = shipped_text("examples", "passenger-fleet").decode()


def ran(*words: object) -> int:
    return main.run(["policy", *map(str, words)])


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the captures that the shipped tests files name."""
    folder = tmp_path_factory.mktemp("captures")
    for name in ("city-drive", "crash"):
        traffic = Traffic(load_scenario(name))
        write_capture(traffic, folder / f"{name}.log", MINUTE_NS)
    for name, seconds in (("short", 12), ("second", 1)):
        traffic = Traffic(load_scenario("city-drive"))
        write_capture(traffic, folder / f"{name}.log", seconds * SECOND_NS)
    return folder


@pytest.fixture
def in_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the child's words answered without a child, by what it would run.

    That the child is the agent beside us, and answers so, others show below.
    """

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert words[1:5] == ["-P", "-m", "agent.main", "scan"]
        said = here(*words[4:], folder=tmp_path)
        return subprocess.CompletedProcess(words, said.code, said.out, said.err)

    monkeypatch.setattr(policy_scan, "subprocess", SimpleNamespace(run=run, DEVNULL=0))


@pytest.fixture
def tests_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a tests file with one run."""

    def write(policy: str = "passenger-fleet", **run: Any) -> Path:
        base = {
            "name": "r",
            "captures": ["short.log"],
            "bindings": ["sim-vehicle"],
        }
        whole = {"schema": "sluicegate/policy-test/1", "name": "t", "policy": policy,
                 "runs": [{**base, **run}]}  # fmt: skip
        path = tmp_path / "t.tests.yaml"
        path.write_text(json.dumps(whole, indent=1))
        return path

    return write


# --- test ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_shipped_tests_hold(
    captures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("test", "passenger-fleet", "factory-line", "--captures", captures)
    assert ran(*words) == 0
    said = capsys.readouterr()
    assert "FAILS" not in said.out
    assert said.out.count("hold\n") == 2
    assert said.err == ""  # no progress where nobody looks


@pytest.mark.slow
def test_a_real_car_under_the_shipped_policy(
    data: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data / "can-comma2k19-rav4"
    file = root / "tests/fleet/comma2k19.tests.yaml"
    words = ("test", file, "--captures", folder, "--databases", folder)
    assert ran(*words) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
def test_what_fails_is_told_in_words_with_its_line(
    tests_file: Callable[..., Path], captures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tests_file(
        expect=[{"item": "Vehicle.Speed", "to": "oem", "outcome": "kept-back"}],
        never=[{"category": "location"}],
    )
    assert ran("test", path, "--captures", captures) == 1
    out = capsys.readouterr().out
    fails = [line for line in out.splitlines() if "FAILS" in line]
    assert "Vehicle.Speed to oem: kept-back" in fails[0]
    assert "2 rows sent" in fails[0]
    assert "left to oem as location.deadreckoning" in fails[1]
    assert "2 of 2 fail" in out
    assert ran("test", path, "--captures", captures, "--json") == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert [one["holds"] for one in told["judged"]] == [False, False]
    line = told["judged"][0]["line"]
    at_line = path.read_text().splitlines()[line - 1 : line + 1]
    assert '"item": "Vehicle.Speed"' in "".join(at_line)


@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
def test_another_policy_is_tested_and_a_file_beside_the_tests_is_found(
    tests_file: Callable[..., Path],
    tmp_path: Path,
    captures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_policy = tmp_path / "own.yaml"
    text = EXAMPLE.replace(
        "    do: [{every: 10s}, {round: 0.5}, encrypt]", "    do: [encrypt]"
    )
    open_policy.write_text(text)
    path = tests_file(
        "own.yaml",
        expect=[
            {"item": "Vehicle.Speed", "to": "oem", "outcome": "sent", "at_most": 9}
        ],
    )
    assert ran("test", path, "--captures", captures) == 1
    assert "more than 9" in capsys.readouterr().out
    assert ran("test", path, "--captures", captures, "--policy", "passenger-fleet") == 0


@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
def test_a_consent_is_given_for_a_run(
    tests_file: Callable[..., Path], tmp_path: Path, captures: Path
) -> None:
    (tmp_path / "own.yaml").write_text(
        EXAMPLE.replace(
            "match: {category: location.deadreckoning}",
            "match: {category: location.deadreckoning, consent: speed}",
        ).replace(
            "consents:\n",
            "consents:\n  speed: {about: x, categories: [location.deadreckoning],"
            " at_most: 1d}\n",
        )
    )
    expect = [{"item": "Vehicle.Speed", "to": "oem", "outcome": "sent"}]
    path = tests_file("own.yaml", expect=expect)
    assert ran("test", path, "--captures", captures) == 1
    path = tests_file("own.yaml", expect=expect, consents=["speed"])
    assert ran("test", path, "--captures", captures) == 0


# --- cost ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
def test_cost_without_bindings_says_why_nothing_leaves(
    captures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("cost", captures / "short.log", *FLEET) == 0
    assert "give them with -b" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
def test_cost_of_a_capture(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cost", captures / "short.log", *FLEET, "-b", "sim-vehicle")
    assert ran(*words, "--spool", "64MB") == 0
    out = capsys.readouterr().out
    for part in ("envelopes/day", "oem", "spool of 64.0 MB: ", "measured on"):
        assert part in out
    assert ran(*words, captures / "crash.log", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["frames"] < second["frames"]
    assert first["cpu_share"] > 0
    assert first["seconds"] == pytest.approx(12, abs=0.1)


def test_a_day_is_reckoned_from_a_minute() -> None:
    found = reckoned(msgspec.convert(SCAN, Scan), 1_000_000)
    (place,) = found.places
    assert place.bytes_a_day == 600 * 1440 + 300  # keys are announced once a day
    assert place.envelopes_a_day == 2 * 1440 + 1
    assert found.spool_hours == pytest.approx(24 * 1_000_000 / place.bytes_a_day)
    assert found.evidence_bytes_a_day == 400 * 1440
    assert found.cpu_share == 0.5 / 60
    nothing = msgspec.convert({**SCAN, "destinations": []}, Scan)
    assert reckoned(nothing, 1).spool_hours is None
    assert "Python 3." in machine()


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("64kB", 65_536), ("512MB", 2**29), ("2 GB", 2**31)],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count
    assert size(count)


# --- the child ----------------------------------------------------------------------


def test_no_word_becomes_an_option() -> None:
    words = command(Wanted(("--json", "-x"), "--help", ("-b",), "-d", ("-c",)))
    assert words[1:5] == ["-P", "-m", "agent.main", "scan"]
    at = words.index("--")
    assert words[at + 1 :] == ["--json", "-x"]
    assert [one.partition("=")[0] for one in words[5:at]] == [
        "--json", "--jobs", "--policy", "--bindings", "--databases", "--consent",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_folder_of_that_name_where_we_are_is_not_run(
    tmp_path: Path, root: Path
) -> None:
    (tmp_path / "agent").mkdir()
    for name in ("__init__.py", "main.py"):
        (tmp_path / "agent" / name).write_text("print('[]')")
    done = subprocess.run(
        [sys.executable, "-m", "fleet.main", "policy", "cost", "absent.log", *FLEET],
        cwd=tmp_path, capture_output=True, check=False, text=True,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "absent.log: No such file" in done.stderr


def test_without_an_agent_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(policy_scan, "MODULE", "no_such_agent.main")
    assert ran("cost", "x.log", *FLEET) == 1
    assert "is not installed beside sluicectl" in capsys.readouterr().err


def test_an_answer_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy_scan, "MODULE", "json.tool")
    monkeypatch.setattr(
        policy_scan, "command", lambda _: [sys.executable, "-c", "print('[{}]')"]
    )
    with pytest.raises(policy_scan.Unavailable, match="another version"):
        scan(Wanted(("x",), "demo"))


@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
def test_bad_input_is_one_line_and_exit_code_2(
    tests_file: Callable[..., Path],
    tmp_path: Path,
    captures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "binary.log").write_bytes(bytes(range(256)) * 64)
    never = [{"category": "cabin"}]
    drive = captures / "second.log"
    words: list[tuple[object, ...]] = [
        ("test",), ("test", tmp_path / "absent"), ("test", tmp_path), ("test", "a\0b"),
        ("test", tmp_path / "binary.log"), ("test", "passenger-fleet"),
        ("test", "passenger-fleet", "--policy", "nonsense"),
        ("test", "passenger-fleet", "--policy", "demo"),
        ("cost",), ("cost", drive), ("cost", tmp_path / "absent.log", *FLEET),
        ("cost", tmp_path / "binary.log", *FLEET), ("cost", "a\0b", *FLEET),
        ("cost", drive, *FLEET, "--spool", "much"), ("cost", tmp_path, *FLEET),
        ("cost", drive, *FLEET, "--spool", "0"), ("cost", drive, "--policy", "--json"),
        ("cost", drive, *FLEET, "--consent", "nobody"),
        ("cost", drive, *FLEET, "-b", "toyota-rav4-2017"),
    ]  # fmt: skip
    for run in (
        {"never": never, "captures": ["../absent"]},
        {"never": never, "captures": ["x\0"]},
        {"never": never, "bindings": ["nonsense"]},
        {"never": never, "consents": ["nonsense"]},
        {"never": [{**never[0], "to": "oen"}]},
        {"expect": [{"item": "**", "outcome": "sent", "rule": "speed-thined"}]},
        {"expect": [{"item": "**", "outcome": "sent", "to": "abroad"}]},
        {"whole": {"bytes_at_most": {"oen": 1}}},
    ):
        path = tests_file(**{"captures": ["second.log"], **run})
        kept = tmp_path / f"{len(words)}.yaml"
        kept.write_bytes(path.read_bytes())
        words.append(("test", kept, "--captures", captures))
    for one in words:
        assert ran(*one) == 2, one
        said = capsys.readouterr()
        assert said.err.startswith("sluicectl: "), one
        assert said.err.count("\n") == 1, said.err
        assert said.out == ""
