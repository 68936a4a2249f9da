"""`sluicectl` as a person types it: words, tables, exit codes, one line per error."""

from __future__ import annotations

import base64
import csv
import io
import json
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.evidence import Evidence
from agent.records import Commit, CounterRow, Outcome
from fleet import app, main
from fleet.errors import BadInput
from fleet.keys import save
from fleet.registry import add_device, load_devices
from protocols.recipients import parse_card
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint
from tests.support import sealing
from tests.support.fleet_side import KEEPER, NOW_NS, OEM, Gateway, Side

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEVICE = sealing.DEVICE
KEY = base64.b64encode(sealing.Device().public_key()).decode()


def ran(*words: object) -> int:
    return main.run([str(word) for word in words])


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    save(OEM, tmp_path / "oem.keys.json")
    return tmp_path / "oem.keys.json"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A device's store file, written by the agent's own store."""
    path = tmp_path / "gateway.store"
    policy = sealing.policy()
    gateway = Gateway(policy=policy)
    evidence = Evidence(DEVICE, bytes(16), "test")

    def witness(cause: str, lost: object) -> bytes:
        raise AssertionError(cause, lost)

    made = open_store(path, StoreOptions(2**22, 2**22, witness, lambda _: b""))
    gateway.evidence = evidence
    gateway.entries = []
    gateway.seal([100, 250], dropped=1)
    rows = [
        CounterRow(place, sealing.GENERAL, rule, "", outcome, samples, 0)
        for place, rule, outcome, samples in (
            ("", "", Outcome.READ, 3),
            ("oem", "rule-0", Outcome.SENT, 2),
            ("oem", "", Outcome.DROPPED, 1),
        )
    ]
    made.commit(Commit(tuple(gateway.records), (), tuple(gateway.entries), tuple(rows)))
    size, root = made.root()
    origin = f"sluicegate/fleet-1/{DEVICE}/{made.log_id.hex()}"
    note = sign_checkpoint(Checkpoint(origin, size, root), gateway.signer)
    made.add_checkpoint(size, root, note)
    made.close()
    return path


# --- keys and devices ---------------------------------------------------------------


def test_keys_are_made_once_private_and_shown_by_their_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("keys", "new", "oem-2026", "--folder", tmp_path, "--days", 10) == 0
    private = tmp_path / "oem-2026.key.json"
    card = parse_card((tmp_path / "oem-2026.card.json").read_bytes())
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert (card.not_after - card.not_before).days == 10
    told = capsys.readouterr().out
    assert card.digest() in told
    assert ran("keys", "show", tmp_path / "oem-2026.card.json") == 0
    assert card.digest() in capsys.readouterr().out
    before = private.read_bytes()
    assert ran("keys", "new", "oem-2026", "--folder", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err
    assert private.read_bytes() == before
    secrets = json.loads(before)
    for name in ("x25519", "mlkem768_seed", "receipt_ed25519"):
        assert secrets[name] not in told


def test_devices_are_enrolled_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "devices"
    assert ran("devices", "add", DEVICE, KEY, "--registry", folder) == 0
    assert ran("devices", "add", DEVICE, KEY, "--registry", folder) == 2
    assert ran("devices", "add", "a/b", KEY, "--registry", folder) == 2
    assert ran("devices", "add", "gw-2", "short", "--registry", folder) == 2
    capsys.readouterr()
    assert ran("devices", "list", "--registry", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {DEVICE: KEY}
    assert ran("devices", "list", "--registry", folder) == 0
    assert KEY in capsys.readouterr().out


def test_a_retired_device_is_heard_no_more_and_can_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "devices"
    assert ran("devices", "add", DEVICE, KEY, "--registry", folder) == 0
    assert ran("devices", "retire", "other", "--registry", folder) == 2
    assert ran("devices", "retire", DEVICE, "--registry", folder) == 0
    assert ran("devices", "retire", DEVICE, "--registry", folder) == 2
    assert ran("devices", "add", DEVICE, KEY, "--registry", folder) == 2
    assert load_devices(folder) == {}
    assert list(load_devices(folder, retired=True)) == [DEVICE]
    capsys.readouterr()
    assert ran("devices", "list", "--registry", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {}
    assert ran("devices", "list", "--registry", folder) == 0
    assert KEY in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "", "{", '{"schema": "x", "device": "gw-1", "ed25519": ""}',
        '{"schema": "sluicegate/device/1", "device": "other", "ed25519": "AAAA"}',
        '{"schema": "sluicegate/device/1", "device": "gw-1", "ed25519": "AAAA"}',
    ],
)  # fmt: skip
def test_a_bad_device_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "gw-1.device.json").write_text(text)
    with pytest.raises(BadInput, match=r"gw-1\.device\.json"):
        load_devices(tmp_path)


# --- open ---------------------------------------------------------------------------


def test_envelopes_from_files_open_as_json_csv_and_table(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway()
    gateway.seal([100, 250])
    key, batch = tmp_path / "key", tmp_path / "batch"
    key.write_bytes(gateway.records[0].body)
    batch.write_bytes(gateway.records[1].body)
    words = ("open", batch, "--keys", keys, "-a", key, "--public-key", KEY)
    assert ran(*words, "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["value"] for row in rows] == [1.0, 2.5]
    assert rows[0]["time_ns"] == NOW_NS
    assert (rows[0]["item"], rows[0]["unit"]) == ("Vehicle.Speed", "km/h")
    assert ran(*words, "--csv") == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["value"] for row in table] == ["1.0", "2.5"]
    assert ran(*words) == 0
    assert "Vehicle.Speed" in capsys.readouterr().out
    assert ran("open", batch, "--keys", keys, "--public-key", KEY) == 1
    assert "not announced" in capsys.readouterr().err
    assert ran("open", "--keys", keys) == 2


def test_a_store_opens_and_is_left_as_it_was(
    store: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.read_bytes()
    words = ("open", "--store", store, "--keys", keys, "--public-key", KEY, "--json")
    assert ran(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["value"] for line in lines] == [1.0, 2.5]
    assert store.read_bytes() == before


def test_what_is_sealed_to_others_is_counted(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(KEEPER, tmp_path / "keeper.keys.json")
    words = ("--keys", tmp_path / "keeper.keys.json", "--public-key", KEY)
    assert ran("open", "--store", store, *words, "--json") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "1 batches are sealed to others" in told.err


# --- audit verify -------------------------------------------------------------------


def test_a_ledger_is_verified_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = Side(tmp_path)
    gateway = Gateway()
    gateway.seal([1])
    gateway.snapshot()
    gateway.stop()
    side.send(gateway)
    side.take("audit", gateway.page())
    side.ledger.close()
    add_device(tmp_path / "devices", DEVICE, gateway.signer.public_key())
    words = ("audit", "verify", "--ledger", side.path)
    assert ran(*words, "--devices", tmp_path / "devices") == 0
    assert "every check holds" in capsys.readouterr().out
    assert ran(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"]
    assert "ledger's own word" in told["notes"][0]
    assert ran(*words, "--device", "gw-9") == 2
    add_device(tmp_path / "wrong", DEVICE, sealing.Device(seed=9).public_key())
    assert ran(*words, "--devices", tmp_path / "wrong") == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


def flip_entry(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute("UPDATE entries SET body = zeroblob(9) WHERE position = 1")
    database.close()


def drop_envelope(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute("UPDATE spool SET body = zeroblob(9) WHERE kind = 'data'")
    database.close()


def change_counter(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute("UPDATE counters SET samples = samples + 1 WHERE outcome = 0")
    database.close()


def test_a_store_alone_is_verified(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("audit", "verify", "--store", store, "--public-key", KEY) == 0
    assert "every check holds" in capsys.readouterr().out
    other = base64.b64encode(sealing.Device(seed=9).public_key()).decode()
    assert ran("audit", "verify", "--store", store, "--public-key", other) == 1
    assert ran("audit", "verify", "--store", store) == 2
    key = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)  # sealing.Device()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name in ("device.key", "gateway.key"):
        store.with_name(name).write_bytes(pem)
        assert ran("audit", "verify", "--store", store) == 0
        store.with_name(name).write_bytes(b"none")
        assert ran("audit", "verify", "--store", store) == 2
        store.with_name(name).unlink()


@pytest.mark.parametrize("how", [flip_entry, drop_envelope, change_counter])
def test_a_store_that_was_changed_does_not_hold(
    store: Path, how: Callable[[Path], None]
) -> None:
    how(store)
    assert ran("audit", "verify", "--store", store, "--public-key", KEY) == 1


# --- errors -------------------------------------------------------------------------


@pytest.mark.slow
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to be looked at")
    (tmp_path / "devices").mkdir()
    collect = ("collect", "--fleet", "f", "--ledger", tmp_path / "text")
    cases: list[tuple[object, ...]] = [
        ("nonsense",),
        ("audit", "verify"),
        ("audit", "verify", "--ledger", tmp_path / "absent"),
        ("audit", "verify", "--ledger", tmp_path / "text"),
        ("audit", "verify", "--store", tmp_path / "text", "--public-key", KEY),
        ("keys", "show", tmp_path / "text"),
        ("devices", "list", "--registry", tmp_path / "absent"),
        (*collect, "--broker", "x:1", "-k", keys, "-d", tmp_path / "devices"),
        (*collect, "--broker", "localhost", "-k", keys, "-d", tmp_path / "devices"),
        (*collect, "--broker", "localhost:1", "-k", keys, "-d", tmp_path / "devices"),
        (*collect, "--broker", "localhost:1", "-k", tmp_path / "text", "-d", tmp_path),
    ]
    for words in cases:
        assert ran(*words) == 2, words
        told = capsys.readouterr()
        assert told.err.startswith("sluicectl: ")
        assert told.err.count("\n") == 1, told.err


def test_without_words_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("audit",), ("--help",), ("collect", "--help")):
        assert ran(*words) == 0
        assert "Usage: sluicectl" in capsys.readouterr().out


def test_a_bug_is_one_line_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise RuntimeError("secret")

    monkeypatch.setattr(app, "main", fail)
    assert ran("keys") == 70
    told = capsys.readouterr().err
    assert "RuntimeError" in told
    assert "secret" not in told
