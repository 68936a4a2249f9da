"""`sluicegate doctor` as it is typed: rows, options, exit codes, who looks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.adapters.device_key import load_or_create
from agent.commands.doctor.command import as_page, examine
from agent.commands.doctor.table import CHECKS
from agent.main import run
from tests.support.broker import Broker, free_port, needs_mosquitto
from tests.support.doctor_house import House
from tests.support.status_stub import StatusStub

ROOT = Path(__file__).resolve().parents[4]
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, free_port())


def examined(
    house: House, capfd: pytest.CaptureFixture[str], *only: str
) -> tuple[int, dict[str, dict[str, str]]]:
    code = examine(house.config, True, only, house.machine)
    out, err = capfd.readouterr()
    assert err == ""
    return code, {row["id"]: row for row in json.loads(out)}


@needs_mosquitto
def test_a_good_house_has_nothing_to_mend(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    port = int(house.sections["[mqtt]"]["port"])
    load_or_create(house.state / "device.key", "gw-1")
    house.store()
    with Broker(house.folder, port=port):
        code, found = examined(house, capfd)
    wrong = {name: row for name, row in found.items() if row["verdict"] != "good"}
    assert {*wrong} == {"status.answers"}  # it does not run
    assert code == 0


def test_one_bad_row_is_exit_code_1(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    code, found = examined(house, capfd)
    bad = [name for name, row in found.items() if row["verdict"] == "bad"]
    assert bad == ["broker.port"]
    assert code == 1
    assert found["broker.accept"]["said"] == "skipped, because broker.port is bad"


def test_only_what_is_chosen_is_told(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    code, found = examined(house, capfd, "clock", "policy.floor")
    assert code == 0
    assert {one.partition(".")[0] for one in found} == {"clock", "policy"}
    assert "policy.parse" not in found


def test_a_name_that_is_no_check_is_bad_input(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "-c", str(house.config), "--only", "nothing"]) == 2
    assert "no check is named nothing (see --list)" in capfd.readouterr().err


def test_a_person_reads_one_line_a_thing(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    assert examine(house.config, False, (), house.machine) == 1
    out, err = capfd.readouterr()
    assert err == ""
    assert "\x1b" not in out  # no colours where no terminal is
    line = next(one for one in out.splitlines() if one.startswith("bad"))
    assert line.split()[:2] == ["bad", "broker.port"]
    assert "-> start the broker at 127.0.0.1:" in line
    skipped = [one for one in out.splitlines() if one.startswith("skipped")]
    assert len(skipped) == 1  # one line for one cause
    assert "broker.topics, broker.packet, too" in skipped[0]
    assert out.splitlines()[-1].startswith("1 bad, ")


def test_the_list_looks_at_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--list"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [check.id for check in CHECKS]
    assert run(["doctor", "--list", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert all({*row} == {"id", "looks", "red", "fix"} for row in rows)


def test_the_page_has_the_table_of_the_code() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert "\n".join(as_page()) in page, "make it anew: see docs/doctor.md's end"


@pytest.mark.slow
def test_a_broker_that_says_nothing_does_not_hold_it_up(
    house: House, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.adapters.mqtt.CONNECT_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        house.set("port", str(server.getsockname()[1]), "[mqtt]")
        code, found = examined(house, capfd, "broker")
    assert code == 1
    assert found["broker.port"]["verdict"] == "good"
    assert found["broker.accept"]["verdict"] == "bad"
    assert found["broker.accept"]["fix"]


def _child(house: House, *only: str) -> dict[str, dict[str, str]]:
    chosen = [word for one in only for word in ("--only", one)]
    done = subprocess.run(
        [sys.executable, "-m", "agent.main", "doctor", "-c", str(house.config),
         "--json", *chosen],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p)),
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    return {row["id"]: row for row in json.loads(done.stdout)}


def _to(house: House, *places: Path) -> None:
    for folder in [house.folder, *house.folder.parents[:3]]:
        folder.chmod(0o755)
    for place in places:
        os.chown(place, NOBODY, NOBODY)


@as_root
@pytest.mark.slow
def test_root_looks_as_the_agents_user(house: House) -> None:
    """Root could read and write everything; what it finds is what the agent would."""
    (house.folder / "run").mkdir(mode=0o755)
    house.set("socket", '"run/status.sock"', "[metrics]")
    _to(house, house.state, house.folder / "run")
    names = ("state.ownership", "status.folder", "config.readable")
    before = _child(house, *names, "user.identity")
    assert {row["verdict"] for row in before.values()} == {"good"}
    assert "looking as nobody, as the agent would" in before["user.identity"]["said"]

    load_or_create(house.state / "device.key", "gw-1")  # root did that, by mistake
    os.chown(house.folder / "run", 0, 0)
    after = _child(house, *names)
    assert "belongs to root, not to nobody" in after["state.ownership"]["said"]
    assert "nobody may not write in it" in after["status.folder"]["said"]
    for name in names[:2]:
        house.follow(after[name]["fix"], {})

    house.config.chmod(0o600)
    hidden = _child(house, *names)
    assert hidden["state.ownership"]["verdict"] == "skipped"
    assert "nobody may not read it" in hidden["config.readable"]["said"]
    house.follow(hidden["config.readable"]["fix"], {})
    mended = _child(house, *names)
    assert {row["verdict"] for row in mended.values()} == {"good"}


def test_a_backlog_that_drains_is_no_stall(house: House) -> None:
    said: dict[str, object] = {
        "agent": "0", "online": True, "problems": [], "autonomy_h": 9.0,
        "oldest_ns": 1, "spool_records": 5,
    }  # fmt: skip
    with StatusStub(house.folder / "status.sock", lambda: json.dumps(said)):
        assert house.verdicts("status.receipts") == {"status.receipts": "bad"}
        house.machine.meanwhile = lambda: said.update(oldest_ns=2)
        assert house.verdicts("status.receipts") == {"status.receipts": "good"}


def test_credentials_of_a_unit_that_does_not_run_are_skipped(house: House) -> None:
    for field in ("ca_file", "cert_file", "key_file"):
        house.set(field, f'"credential:{field}"', "[mqtt]")
    found = house.verdicts("config.permissions", "tls")
    assert found.pop("config.permissions") == "good"
    assert found.pop("tls.plaintext") == "good"
    assert {*found.values()} == {"skipped"}
    rows = house.examined("tls.files")
    assert rows[0].said == (
        "skipped, because credential:ca_file is seen by the running unit only"
    )
