"""Bad input of every kind: one clear line with file and place, exit code 2."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import sys
from typing import TYPE_CHECKING

import can
import pytest

from fleet.keys import generate
from protocols.recipients import encode_card
from tests.policies.building import policy_of, rule_of
from tests.promises.scan_kit import Said, here, recipients, scan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow  # whole commands, some in processes of their own

DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
"""
BINDINGS = """schema: sluicegate/bindings/1
name: small
can:
  - bus: can0
    database: small.dbc
    signals:
      SPEEDS.FRONT: Vehicle.Speed
"""
SPEED_RULE = rule_of("speed", match={"item": "Vehicle.Speed"})


class Bench:
    """A folder with good files, of which a test spoils one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.capture = folder / "drive.log"
        self.policy = folder / "policy.yaml"
        self.bindings = folder / "small.bindings.yaml"
        self.database = folder / "small.dbc"
        self.cards = folder / "cards"
        self.capture.write_text(
            "".join(f"({n}.000000) can0 100#{n:04X}000000000000\n" for n in range(100))
        )
        self.policy.write_bytes(policy_of(rules=[SPEED_RULE]))
        self.bindings.write_text(BINDINGS)
        self.database.write_text(DBC)
        recipients(self.cards, ["oem-key", "de-key", "keeper"])

    def scan(self, *more: str | Path, capture: Path | None = None) -> Said:
        """Scan in this process: the line and the code are made there all the same."""
        words = self._words(capture or self.capture, more)
        return here("scan", *words, folder=self.folder)

    def scan_apart(self, *more: str | Path) -> Said:
        return scan(*self._words(self.capture, more), folder=self.folder)

    def _words(self, capture: Path, more: tuple[str | Path, ...]) -> list[str | Path]:
        return [
            capture, "--policy", self.policy, "-b", self.bindings,
            "--databases", self.folder, "--recipients", self.cards, *more,
        ]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_good_input_is_no_error(bench: Bench) -> None:
    said = bench.scan_apart()
    assert (said.code, said.err) == (0, b"")
    assert b"Vehicle.Speed" in said.out
    assert bench.scan() == said  # what the others ask answers as the command does


def refused(said: Said, file: Path, *words: str) -> str:
    """Assert that it is one line with file and place, and nothing of a traceback."""
    assert said.code == 2
    (line,) = said.lines
    assert line.startswith("sluicegate: ")
    assert str(file) in line
    for word in words:
        assert word in line
    assert "Traceback" not in said.err.decode() + said.out.decode()
    return line


Spoil = "Callable[[Bench], Path]"


def _policy(change: dict[str, object]) -> Callable[[Bench], Path]:
    def spoil(bench: Bench) -> Path:
        bench.policy.write_bytes(policy_of(**{"rules": [SPEED_RULE], **change}))
        return bench.policy

    return spoil


def _wrong_unit(bench: Bench) -> Path:
    text = BINDINGS.replace(
        "Vehicle.Speed", "{item: Vehicle.Speed, unit: furlong/fortnight}"
    )
    bench.bindings.write_text(text)
    return bench.bindings


def _twice(bench: Bench) -> Path:
    bench.database.write_text(
        DBC + ' SG_ REAR : 16|16@1+ (0.01,0) [0|655] "km/h" ECU\n'
    )
    bench.bindings.write_text(BINDINGS + "      SPEEDS.REAR: Vehicle.Speed\n")
    return bench.bindings


def _hostile_dbc(bench: Bench) -> Path:
    bench.database.write_text(DBC + "BO_ 99999999999999999999 X: 8 ECU\n" + "((" * 999)
    return bench.database


def _no_database(bench: Bench) -> Path:
    bench.database.unlink()
    return bench.bindings


def _no_signal(bench: Bench) -> Path:
    bench.bindings.write_text(BINDINGS.replace("SPEEDS.FRONT", "SPEEDS.NONE"))
    return bench.bindings


def _no_card(bench: Bench) -> Path:
    (bench.cards / "oem-key.card.json").unlink()
    return bench.cards


def _expired(bench: Bench) -> Path:
    old = generate("oem-key", dt.date(2020, 1, 1), dt.date(2020, 12, 31))
    (bench.cards / "oem-key.card.json").write_bytes(encode_card(old.card()))
    return bench.cards


def _broken_card(bench: Bench) -> Path:
    card = bench.cards / "oem-key.card.json"
    card.write_bytes(card.read_bytes()[:100])
    return card


def _no_cards(bench: Bench) -> Path:
    for card in bench.cards.iterdir():
        card.unlink()
    bench.cards.rmdir()
    return bench.cards


def _not_yaml(bench: Bench) -> Path:
    bench.policy.write_bytes(b"rules: [unclosed\n\x00")
    return bench.policy


WRONG: dict[str, tuple[Callable[[Bench], Path], tuple[str, ...]]] = {
    "unknown field": (_policy({"colour": "red"}), ("colour",)),
    "no purpose": (_policy({"rules": [rule_of("r", purpose="")]}), ("purpose",)),
    "unknown recipient region": (_policy({"destinations": {"oem": {}}}), ("oem",)),
    "duplicate rule": (_policy({"rules": [SPEED_RULE] * 2}), ("rules[1].name",)),
    "wrong time unit": (
        _policy({"rules": [rule_of("r", do=[{"every": "3 moons"}, "encrypt"])]}),
        ("every",),
    ),
    "not YAML": (_not_yaml, ("policy.yaml",)),
    "wrong unit": (_wrong_unit, ("small.bindings.yaml:7",)),
    "item twice": (_twice, ("Vehicle.Speed", "twice")),
    "hostile DBC": (_hostile_dbc, ("small.dbc",)),
    "no DBC": (_no_database, ("small.dbc",)),
    "no such signal": (_no_signal, ("NONE",)),
    "no recipient card": (_no_card, ("oem-key", "card")),
    "expired card": (_expired, ("oem-key", "expired")),
    "broken card": (_broken_card, ("oem-key.card.json",)),
    "no folder of cards": (_no_cards, ("no such folder",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_person_wrote_wrong_is_one_line(bench: Bench, name: str) -> None:
    spoil, words = WRONG[name]
    file = spoil(bench)
    said = bench.scan()
    refused(said, file, *words)
    assert said.out == b""


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _absent(path: Path) -> Path:
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _nonsense(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 9)
    return path


def _half_mf4(path: Path) -> Path:
    path = path.with_suffix(".mf4")
    path.write_bytes(b"MDF     4.10    " + bytes(500))
    return path


@pytest.mark.parametrize(
    "make", [_empty, _absent, _folder, _nonsense, _half_mf4], ids=lambda m: m.__name__
)
def test_a_capture_that_is_none_is_one_line(
    bench: Bench, make: Callable[[Path], Path]
) -> None:
    path = make(bench.folder / "other.bin")
    said = bench.scan(capture=path)
    refused(said, path)
    assert said.out == b""


def _broken_candump(bench: Bench) -> tuple[Path, str]:
    text = bench.capture.read_text().splitlines(keepends=True)
    bench.capture.write_text("".join([*text[:60], "(61.0) can0 100#ZZ\n", *text[61:]]))
    return bench.capture, "line 61"


def _half_blf(bench: Bench) -> tuple[Path, str]:
    path = bench.folder / "drive.blf"
    with can.BLFWriter(path, max_container_size=2000) as writer:
        for n in range(600):
            message = can.Message(1_700_000_000 + n, 0x100, is_extended_id=False)
            message.data, message.dlc = bytearray(n.to_bytes(8, "big")), 8
            message.channel = 0
            writer.on_message_received(message)
    body = path.read_bytes()
    path.write_bytes(body[: len(body) * 2 // 3])
    return path, "at byte"


def _half_gzip(bench: Bench) -> tuple[Path, str]:
    path = bench.folder / "drive.log.gz"
    body = gzip.compress(bench.capture.read_bytes() * 3000, mtime=0)
    path.write_bytes(body[: len(body) // 2])
    return path, "gzip"


@pytest.mark.parametrize(
    "spoil", [_broken_candump, _half_blf, _half_gzip], ids=lambda s: s.__name__
)
def test_what_was_read_before_the_break_is_told_then_the_line(
    bench: Bench, spoil: Callable[[Bench], tuple[Path, str]]
) -> None:
    capture, place = spoil(bench)
    said = bench.scan("--json", capture=capture)
    line = refused(said, capture, place)
    (result,) = json.loads(said.out)
    assert result["frames"] > 0
    assert line == f"sluicegate: {result['error']}"
    table = bench.scan(capture=capture).out.decode()
    assert f"{result['frames']} frames" in table
    assert "breaks off" in table


def test_sixty_frames_before_line_61_are_sixty_samples(bench: Bench) -> None:
    _broken_candump(bench)
    (result,) = json.loads(bench.scan("--json").out)
    (speed,) = [i for i in result["items"] if i["name"] == "Vehicle.Speed"]
    assert result["frames"] == speed["samples"] == 60
    assert sum(d["rows_left"] for d in speed["decisions"]) == 60


def test_one_bad_capture_does_not_stop_the_others(bench: Bench) -> None:
    bad = _empty(bench.folder / "empty.log")
    worse = bench.folder / "absent.log"
    said = bench.scan_apart(bad, worse, "-j", "3")
    assert said.code == 2
    assert [str(bad) in said.lines[0], str(worse) in said.lines[1]] == [True, True]
    assert len(said.lines) == 2
    assert b"Vehicle.Speed" in said.out


def test_mf4_without_asammdf_names_the_extra(bench: Bench) -> None:
    path = _half_mf4(bench.folder / "drive")
    hidden = bench.folder / "hide"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'asammdf' else find(n, *a)\n"
    )
    said = scan(path, folder=bench.folder, environment={"PYTHONPATH": str(hidden)})
    refused(said, path, "asammdf", "pip install")


def test_a_kept_store_is_never_written_over(bench: Bench) -> None:
    out = bench.folder / "out"
    assert bench.scan("--out", out).code == 0
    before = (out / "drive.log.store").read_bytes()
    refused(bench.scan("--out", out), out / "drive.log.store", "exists")
    assert (out / "drive.log.store").read_bytes() == before
    other = bench.folder / "again"
    other.mkdir()
    (other / "drive.log").write_bytes(bench.capture.read_bytes())
    two = bench.scan(other / "drive.log", "--out", bench.folder / "new")
    refused(two, other / "drive.log", "name")


def test_arguments_that_make_no_sense_are_one_line(bench: Bench) -> None:
    for wrong in (["--jobs", "none"], ["--no-such-option"], ["-j", "0"]):
        said = bench.scan_apart(*wrong)
        assert said.code == 2
        (line,) = said.lines
        assert wrong[0].lstrip("-")[0] in line
    nothing = scan(folder=bench.folder)
    assert (nothing.code, len(nothing.lines)) == (2, 1)
    assert sys.executable not in nothing.err.decode()
