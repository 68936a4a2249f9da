"""`sluicectl catalogue filing`: eleven fields, counts without data, drift."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from agent.records import Outcome
from agent.store.schema import TABLES
from fleet import main
from fleet.audit.sources import STORE_ID
from fleet.catalogue.filing import DRIFT, FIELDS, TO_FILL, Filed, Filing, Scale, drift
from fleet.catalogue.filing_counts import of_ledger
from tests.support import sealing
from tests.support.fleet_side import Gateway, Side

if TYPE_CHECKING:
    from pathlib import Path

BASE = ("-b", "sim-vehicle")


def ran(*words: object) -> int:
    return main.run(["catalogue", "filing", *map(str, words)])


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Filed]:
    assert ran(*BASE, "--json", *words) == 0
    made = json.loads(capsys.readouterr().out)
    return {one["category"]: one for one in made["categories"]}


def test_eleven_fields_of_what_is_or_may_become_important(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = told(capsys)
    assert len(FIELDS) == 11
    assert "location.precise" in found
    assert "environment" not in found
    place = found["location.precise"]
    assert set(FIELDS) <= set(place)
    assert "grid of 1100 m" in place["protection_measures"]
    assert place["responsible_entity"] == TO_FILL
    assert place["cross_border_transfer"] == "none"
    assert place["level"].startswith("G4/sensitive/raw/precise")
    assert "environment" in told(capsys, "--all")


def test_table_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(*BASE) == 0
    out = capsys.readouterr().out
    assert "responsible entity" in out
    assert "\x1b" not in out
    assert ran(*BASE, "--csv") == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["id", *FIELDS]
    assert all(len(row) == 12 for row in rows)
    assert ran(*BASE, "--csv", "--json") == 2


def test_what_persons_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = tmp_path / "persons.toml"
    said.write_text(
        'responsible_entity = "Fleet Ltd"\n'
        '["location.precise"]\nresponsible_entity = "Map desk"\n'
    )
    found = told(capsys, "--persons", said)
    assert found["location.precise"]["responsible_entity"] == "Map desk"
    assert found["identity.vin"]["responsible_entity"] == "Fleet Ltd"


@pytest.mark.parametrize(
    "text",
    [
        "responsible_entity = 3",
        "scale = 'x'",
        "no_such = 'x'",
        "['no.category']\ncarrier = 'x'",
        "not toml",
        "\x00",
        f"carrier = '{'x' * 2000}'",
        f"a = {'[' * 5000}",
    ],
)
def test_a_bad_file_of_persons_is_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = tmp_path / "persons.toml"
    said.write_text(text)
    assert ran(*BASE, "--persons", said) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "persons.toml" in line


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Rows of two devices, and signed counters of one of them."""
    side = Side(tmp_path)
    gateway = Gateway()
    gateway.seal([1])
    gateway.count("", "", Outcome.READ, 70)
    side.ledger.enrol(side.devices)
    rows = gateway.snapshot()
    side.take("telemetry", gateway.telemetry(rows, len(gateway.entries) - 1))
    with side.ledger.transaction():
        run = side.ledger._db.execute
        for number, device in enumerate(("a", "b"), 1):
            run(
                "INSERT INTO series VALUES (?, ?, 'oem', 0, 'I', '', '',"
                " 'location.precise', '', '')",
                (number, device),
            )
            run("INSERT INTO points VALUES (?, 1, 39.912345, NULL)", (number,))
    side.ledger.close()
    return side.path


def test_counts_of_a_ledger_and_never_a_value(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, "--ledger", ledger)
    assert found["location.precise"]["scale"]["rows"] == 2
    assert found["location.precise"]["scale"]["subjects"] == 2
    assert found["identity.vin"]["scale"]["rows"] == 0
    assert found["energy.state"]["scale"]["samples_read"] >= 70
    assert "the collector's ledger" in found["identity.vin"]["carrier"]
    assert "39.91" not in json.dumps(found)


def test_telemetry_of_a_stranger_is_not_counted(ledger: Path) -> None:
    assert sum(of_ledger(ledger).read.values()) >= 70
    from fleet.ledger import Ledger

    book = Ledger(ledger)
    book.enrol({sealing.DEVICE: bytes(32)})
    book.close()
    assert not of_ledger(ledger).read


def test_drift_lists_fields_and_leaves_with_1(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(*BASE, "--json", "--ledger", ledger) == 0
    filed = tmp_path / "filed.json"
    filed.write_text(capsys.readouterr().out)
    assert ran(*BASE, "--ledger", ledger, "--against", filed) == 0
    capsys.readouterr()
    filed.write_text(filed.read_text().replace('"rows": 2', '"rows": 3'))
    filed.write_text(filed.read_text().replace("oem-2026", "oem-2025"))
    assert ran(*BASE, "--ledger", ledger, "--against", filed, "--json") == 1
    fields = {one["field"] for one in json.loads(capsys.readouterr().out)}
    assert {"scale: rows", "external_sharing"} <= fields


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"schema": "x"}', "\x00\xff"])
def test_what_is_no_filing_is_one_line(
    body: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filed = tmp_path / "filed.json"
    filed.write_text(body)
    assert ran(*BASE, "--against", filed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "filed.json" in line


@pytest.mark.parametrize(("rows", "drifts"), [(129, False), (130, True), (70, True)])
def test_drift_begins_at_thirty_percent(rows: int, drifts: bool) -> None:
    assert DRIFT == 0.30

    def made(count: int) -> Filing:
        one = Filed("i", "c", "", "", Scale(1, count), "", "", "", "", "", "", "")
        return Filing("s", "p", 1, "", (one,))

    assert bool(drift(made(100), made(rows))) is drifts


def test_counts_of_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The agent's own schema; rows and devices are not known there."""
    path = tmp_path / "gateway.store"
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in TABLES:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {STORE_ID}")
        for rule, outcome, samples in (("", 9, 40), ("r", 0, 30)):
            database.execute(
                "INSERT INTO counters (destination, label, rule, action, outcome,"
                " samples, bytes, told_samples, told_bytes)"
                " VALUES ('', ?, ?, '', ?, ?, 0, 0, 0)",
                (sealing.GENERAL, rule, outcome, samples),
            )
        database.commit()
    scale = told(capsys, "--store", path)["energy.state"]["scale"]
    assert (scale["samples_read"], scale["rows"]) == (40, -1)


def test_a_store_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_bytes(b"no database")
    assert ran(*BASE, "--store", tmp_path / "x") == 2
    assert ran(*BASE, "--ledger", tmp_path / "y") == 2
    assert ran(*BASE, "--ledger", "a", "--store", "b") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
