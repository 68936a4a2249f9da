"""`doctor` and `identity`: every seeded mistake is named, and how to mend it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from agent.adapters.device_key import load_or_create
from agent.main import run
from fleet.keys import generate
from protocols.recipients import encode_card
from tests.policies.building import policy_of, rule_of
from tests.support.broker import Broker, free_port, needs_mosquitto
from tests.support.fleet_trust import FleetTrust
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from pathlib import Path

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
      SPEEDS.FRONT: {item}
"""
EVENTS = rule_of("events", match={"category": "security.event"})


class House:
    """A gateway's files, all of them good; a test spoils one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.text = (
            'device = "gw-1"\nfleet = "test"\nstate_dir = "state"\n'
            'policy = "policy.yaml"\nbindings = ["small.bindings.yaml"]\n'
            'databases = "."\nrecipients = "cards"\n'
            '[[can]]\nname = "can0"\ninterface = "virtual"\nchannel = "doctor"\n'
            f"[mqtt]\nport = {port}\n"
            '[spool]\nmax_bytes = 4194304\n[metrics]\nsocket = "status.sock"\n'
        )
        self.write("gw.toml", self.text)
        self.write("small.dbc", DBC)
        self.write("small.bindings.yaml", BINDINGS.format(item="Vehicle.Speed"))
        self.write(
            "policy.yaml",
            policy_of(
                rules=[EVENTS, rule_of("speed", match={"item": "Vehicle.Speed"})]
            ).decode(),
        )
        (folder / "cards").mkdir()
        (folder / "state").mkdir(mode=0o700)
        for name in ("oem-key", "de-key", "keeper"):
            self.card(name, dt.date(2999, 12, 31))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def card(self, name: str, not_after: dt.date) -> None:
        card = generate(name, dt.date(2026, 1, 1), not_after).card()
        (self.folder / "cards" / f"{name}.card.json").write_bytes(encode_card(card))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, free_port())


def examined(
    house: House, capfd: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Return the exit code, and (verdict, words, mend) of every check."""
    code = run(["doctor", "--json", "-c", str(house.folder / "gw.toml")])
    out, err = capfd.readouterr()
    assert err == ""
    rows = json.loads(out)
    return code, {
        row["what"]: (row["verdict"], row["said"], row["mend"]) for row in rows
    }


@needs_mosquitto
def test_a_good_house_has_nothing_bad(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker") as broker:
        house = House(tmp_path, broker.port)
        load_or_create(tmp_path / "state" / "device.key", "gw-1")
        opened(tmp_path / "state" / "store.db").close()
        code, found = examined(house, capfd)
    told = {
        what: row[0] for what, row in found.items() if what not in {"clock", "disk"}
    }
    assert told == dict.fromkeys(
        ["configuration", "policy", "recipients", "device key", "store", "bus can0",
         "broker"],
        "good",
    )  # fmt: skip
    assert code == 0


def test_a_broker_that_is_away(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    code, found = examined(house, capfd)
    assert found["broker"][0] == "bad"
    assert [what for what, row in found.items() if row[0] == "bad"] == ["broker"]
    assert code == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "what", "verdict", "says"),
    [
        ("gw.toml", "fleet =", "flet =", "configuration", "bad", "flet"),
        ("gw.toml", '"virtual"', '"no-such"', "bus can0", "bad", "no-such"),
        ("gw.toml", '"virtual"', '"socketcan"', "bus can0", "bad", "doctor"),
        ("gw.toml", 'socket = "status.sock"', "", "status", "warn", "no status"),
        ("gw.toml", '"cards"', '"elsewhere"', "policy", "bad", "elsewhere"),
        ("policy.yaml", "security.event", "chassis.controls", "events", "warn",
         "no rule"),
        ("policy.yaml", '"rules"', '"rulez"', "policy", "bad", "policy.yaml"),
        ("small.bindings.yaml", "FRONT:", "REAR:", "policy", "bad", "REAR"),
        ("small.bindings.yaml", "Vehicle.Speed", "Foreign.Thing", "coverage", "warn",
         "Foreign.Thing"),
    ],
    ids=["field", "interface", "no-bus", "no-socket", "no-cards", "no-event-rule",
         "policy", "signal", "unclassified"],
)  # fmt: skip
def test_a_seeded_mistake_is_named(
    house: House,
    capfd: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    what: str,
    verdict: str,
    says: str,
) -> None:
    before = (house.folder / file).read_text(encoding="utf-8")
    assert old in before
    house.write(file, before.replace(old, new))
    code, found = examined(house, capfd)
    assert found[what][0] == verdict
    assert says in found[what][1]
    if verdict == "warn":
        assert found[what][2]  # what to do
    assert code == 1  # the broker is away, if nothing else


def test_a_link_that_nobody_answers(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    more = f'[[modbus]]\nname = "plc1"\nport = {free_port()}\n'
    more += '[[modbus]]\nname = "plc2"\nkind = "rtu"\ndevice = "/dev/no-such"\n'
    house.write("gw.toml", house.text + more)
    _, found = examined(house, capfd)
    assert found["link plc1"][0] == found["link plc2"][0] == "bad"
    assert "/dev/no-such is not there" in found["link plc2"][1]


@pytest.mark.parametrize(
    ("days", "verdict"), [(-1, "bad"), (10, "warn")], ids=["over", "soon"]
)
def test_a_card_that_ends(
    house: House, capfd: pytest.CaptureFixture[str], days: int, verdict: str
) -> None:
    today = dt.datetime.now(dt.UTC).date()  # the doctor asks the machine's clock
    house.card("oem-key", today + dt.timedelta(days))
    _, found = examined(house, capfd)
    assert found["recipients"][0] == verdict
    assert "oem-key" in found["recipients"][1]
    assert "sluicectl keys new" in found["recipients"][2]


def test_a_recipient_without_a_card(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    (house.folder / "cards" / "oem-key.card.json").unlink()
    _, found = examined(house, capfd)
    assert found["policy"][0] == "bad"
    assert "oem-key" in found["policy"][1]


def test_a_damaged_store_and_a_foreign_key(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    state = house.folder / "state"
    opened(state / "store.db").close()
    body = bytearray((state / "store.db").read_bytes())
    body[8192 * 2 : 8192 * 2 + 64] = bytes(range(64))
    (state / "store.db").write_bytes(body)
    (state / "device.key").write_bytes(b"no key")
    (state / "device.key").chmod(0o600)
    before = (state / "store.db").read_bytes()
    _, found = examined(house, capfd)
    assert found["store"][0] == found["device key"][0] == "bad"
    assert (state / "store.db").read_bytes() == before  # it only looks


def test_the_pinned_root_is_told_with_its_digest(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    house.write("gw.toml", house.text + '[trust]\nroot = "root.json"\n')
    _, found = examined(house, capfd)
    assert found["trust"][0] == "bad"
    root = FleetTrust(name="test").roots[0]
    (house.folder / "root.json").write_bytes(root)
    _, found = examined(house, capfd)
    said = f"fleet test, {hashlib.sha256(root).hexdigest()[:16]}..."
    assert found["trust"][:2] == ("good", said)


def test_a_consents_file_is_looked_at(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    head = '{"schema": "sluicegate/consents/1", "consents": []'
    house.write("state/consents.json", head)
    _, found = examined(house, capfd)
    assert found["consents"][0] == "bad"
    assert "consents.json: is no JSON" in found["consents"][1]
    house.write("state/consents.json", head + "}")
    _, found = examined(house, capfd)
    assert found["consents"][:2] == (
        "good", "0 written; `sluicegate consent list` says which of them hold",
    )  # fmt: skip


def test_a_first_start_is_no_mistake(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(house.folder / "state")
    _, found = examined(house, capfd)
    assert found["state"] == (
        "warn", f"{house.folder / 'state'}: not there yet", "made at the first start"
    )  # fmt: skip
    assert not (house.folder / "state").exists()


def test_a_person_reads_one_line_a_check(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "-c", str(house.folder / "gw.toml")]) == 1
    out, err = capfd.readouterr()
    assert err == ""
    assert any(line.split()[:2] == ["bad", "broker"] for line in out.splitlines())


def test_identity_is_made_once(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["identity", "-c", str(house.folder / "gw.toml")]
    assert run(command) == 0
    device, key = capfd.readouterr().out.split()
    assert (device, len(base64.b64decode(key))) == ("gw-1", 32)
    assert run(command) == 0
    assert capfd.readouterr().out.split() == [device, key]
    stored = load_or_create(house.folder / "state" / "device.key", "gw-1")
    assert base64.b64decode(key) == stored.public_key()
