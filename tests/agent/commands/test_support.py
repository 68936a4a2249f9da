"""`support-bundle`: complete enough to help, and without a value in it."""

from __future__ import annotations

import base64
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from agent.adapters.configuration import read_config
from agent.adapters.policy.loader import Paths
from agent.commands import support_parts
from agent.commands.support import PARTS, _as_used, _known
from agent.config import parse_config
from agent.main import run
from fleet.main import run as sluicectl
from tests.support.broker import needs_mosquitto
from tests.support.enrolling import Enrolling
from tests.support.gateway import Gateway

if TYPE_CHECKING:
    from pathlib import Path

VIN = "LSVAA4182E2123456"
PASSWORD = "correct-horse-battery"
CONFIG = f"""
device = "{VIN}"
fleet = "north-secret-fleet"
state_dir = "state"
[mqtt]
host = "broker.owner.example"
allow_plaintext = true
username = "gateway-user"
password_file = "password"
[metrics]
socket = "none.sock"
"""


def opened(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {
            member.name.rpartition("/")[2]: stream.read().decode()
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    config = tmp_path / "gw.toml"
    config.write_text(CONFIG)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "password").chmod(0o600)
    assert run(["identity", "-c", str(config)]) == 0  # makes the key
    return config


@pytest.mark.slow
def test_nothing_that_names_or_opens_leaves(
    gateway: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = gateway.with_name("b.tar.gz")
    assert run(["support-bundle", "-c", str(gateway), "--out", str(out)]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    files = opened(out)
    assert set(files) == {*PARTS, "manifest.json"}
    key = (gateway.parent / "state/device.key").read_bytes()
    canaries = [
        VIN, PASSWORD, "north-secret-fleet", "broker.owner.example", "gateway-user",
        "PRIVATE KEY", key.hex(), base64.b64encode(key).decode(),
        key.decode().split()[3],
    ]  # fmt: skip
    said = capfd.readouterr().out
    for canary in canaries:
        for name, text in files.items():
            assert canary not in text, (name, canary)
        assert canary not in said
    told = json.loads(files["configuration.json"])
    assert told["device"].startswith("device-")
    assert told["mqtt"]["host"].startswith("host-")
    assert told["device"] in files["doctor.json"]  # one name is one word
    assert "no answer" in files["status.json"]


def test_a_part_that_leaks_is_left_out(
    gateway: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def still(_: object) -> str:
        return f"told {PASSWORD}"

    some = {"log.txt": (still, "log"), "system.json": PARTS["system.json"]}
    monkeypatch.setattr("agent.commands.support.PARTS", some)
    out = gateway.with_name("b.tar.gz")
    assert run(["support-bundle", "-c", str(gateway), "--out", str(out)]) == 0
    assert opened(out)["log.txt"] == "left out: it held a secret of this device\n"
    assert "LEFT OUT" in capfd.readouterr().out


def test_names_stay_where_asked(gateway: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {"configuration.json": PARTS["configuration.json"]}
    monkeypatch.setattr("agent.commands.support.PARTS", some)
    monkeypatch.chdir(gateway.parent)
    text = gateway.read_text().replace(VIN, "gateway-7")
    gateway.write_text(text)
    assert run(["support-bundle", "-c", str(gateway), "--with-names"]) == 0
    (file,) = gateway.parent.glob("sluicegate-support-*.tar.gz")
    assert json.loads(opened(file)["configuration.json"])["device"] == "gateway-7"


def test_the_broker_of_an_enrolment_is_not_named(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    request = place.begin()
    words = [
        "enrol", "answer", str(request), "--fleet", "north",
        "--broker", "broker.owner.example:8883",
        "--broker-ca", str(tmp_path / "broker.pem"),
        "--ca-cert", str(place.ca), "--ca-key", str(place.ca_key),
        "--devices", str(tmp_path / "devices"), "-o", str(tmp_path / "a"),
    ]  # fmt: skip
    assert sluicectl(words) == 0
    assert place.install(tmp_path / "a") == 0
    paths = Paths(str(place.config), read_config(place.config))
    assert ("host", "broker.owner.example") in [*_known(_as_used(paths))]


def test_no_place_is_one_line(
    gateway: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.commands.support.PARTS", {})
    out = gateway.parent / "absent/b.tar.gz"
    assert run(["support-bundle", "-c", str(gateway), "--out", str(out)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_programs_that_are_not_there_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert support_parts.units(None) == "systemctl is not on this machine"  # type: ignore[arg-type]  # not looked at
    assert support_parts.log(None) == "journalctl is not on this machine"  # type: ignore[arg-type]  # not looked at


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_running_agent_is_in_it_and_on_top(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "gw.toml")
    with Gateway(tmp_path) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: gateway.metric("samples_total") > 100)
        out = tmp_path / "b.tar.gz"
        assert (
            run(["support-bundle", "-c", file, "--out", str(out), "--with-names"]) == 0
        )
        files = opened(out)
        assert json.loads(files["status.json"])["device"] == "gw-1"
        assert "sluicegate_samples_total" in files["metrics.txt"]
        assert json.loads(files["store.json"])["rows"]["entries"] > 0
        capfd.readouterr()

        assert run(["top", "-c", file, "--every", "0.5", "--count", "2", "--json"]) == 0
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert len(lines) == 2
        assert lines[0]["head"]["device"] == "gw-1"
        assert any(flow["rate"] is not None for flow in lines[1]["destinations"])
        assert run(["top", "-c", file, "--every", "0.2"]) == 0
        shown = capfd.readouterr().out
        assert "spool [" in shown
        assert "\x1b" not in shown
        gateway.stop()


def test_no_module_of_the_folder_at_hand_is_run(
    gateway: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []

    def run_once(command: tuple[str, ...], _: float) -> tuple[int, str]:
        commands.append(command)
        return 0, ""

    monkeypatch.setattr(support_parts, "run_once", run_once)
    support_parts.doctor(Paths(str(gateway), parse_config(CONFIG.encode(), "gw.toml")))
    isolated = commands[0][1]
    assert isolated.startswith("-")
    assert "I" in isolated  # root may stand in a folder of anybody's


def test_what_is_no_file_of_secrets_holds_nothing_up(gateway: Path) -> None:
    (gateway.parent / "state" / "pseudonym.key").unlink(missing_ok=True)
    (gateway.parent / "state" / "pseudonym.key").symlink_to("/dev/zero")
    paths = Paths(str(gateway), parse_config(CONFIG.encode(), "gw.toml"))
    assert PASSWORD in support_parts.secrets_of(paths)


def test_a_configuration_of_this_folder_is_as_good_as_any(
    gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gateway.parent / "state").mkdir(exist_ok=True)
    (gateway.parent / "state/store.db").write_bytes(b"")
    monkeypatch.chdir(gateway.parent)
    paths = Paths(gateway.name, parse_config(gateway.read_bytes(), gateway.name))
    told = json.loads(support_parts.store(paths))
    assert told == {"there": True, "error": "OperationalError"}  # empty, and looked at
