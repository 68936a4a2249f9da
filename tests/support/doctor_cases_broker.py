"""Cases of the broker: a real mosquitto."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from agent.main import run as sluicegate
from protocols.enrolment import decode_answer
from tests.support.doctor_brokers import (
    BOTH,
    start,
    with_broker,
    with_tls,
)
from tests.support.doctor_case import Act, Case
from tests.support.enrolling import Enrolling

if TYPE_CHECKING:
    from tests.support.doctor_house import House

PLUGIN = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
DAY_NS = 86_400 * 10**9


def _again(**more: object) -> Act:
    return lambda house, *_: start(house, **more)


def _password(house: House, mode: int = 0o600) -> None:
    file = house.write("password", "secret\n")
    file.chmod(mode)


def _with_password(house: House) -> None:
    _password(house)
    known = house.folder / "known"
    known.write_text("")
    known.chmod(0o600)
    subprocess.run(
        ["mosquitto_passwd", "-b", str(known), "gw", "secret"],
        check=True,
        capture_output=True,
    )
    start(house, settings=("allow_anonymous false", f"password_file {known}"))


def _stop(house: House) -> None:
    house.brokers.close()


def _no_certificate(house: House) -> None:
    house.set("cert_file", "", "[mqtt]")
    house.set("key_file", "", "[mqtt]")


def _access(house: House, *, subscribe: bool) -> None:
    """Have mosquitto's plugin judge: its access file lets all subscriptions pass."""
    defaults = {
        "publishClientSend": True, "publishClientReceive": True, "unsubscribe": True,
        "subscribe": subscribe,
    }  # fmt: skip
    rules = {
        "defaultACLAccess": defaults, "clients": [], "roles": [],
        "groups": [{"groupname": "all", "roles": []}], "anonymousGroup": "all",
    }  # fmt: skip
    file = house.write("access.json", json.dumps(rules))
    start(house, settings=(f"plugin {PLUGIN}", f"plugin_opt_config_file {file}"))


def _enrolled(house: House) -> None:
    house.enrolling = Enrolling(house.folder)
    house.set("fleet", '"north"')
    for field in ("enrolled", "port"):
        house.set(field, "true" if field == "enrolled" else "", "[mqtt]")
    house.enrolling.enrol(1)


def _not_enrolled(house: House) -> None:
    shutil.rmtree(house.state / "enrolment")


def _enrol(house: House, begin: str, install: str) -> None:
    """Do what the fix line says, and in between what the operator does."""
    with contextlib.chdir(house.folder):
        assert sluicegate(shlex.split(begin)[1:]) == 0
        answer = house.enrolling.answer(Path("gw-1.request.json"), 1)
        answer.rename("gw-1.answer.json")
        body = Path("gw-1.answer.json").read_bytes()
        digits = decode_answer(body).fingerprint()
        words = shlex.split(install.replace("FINGERPRINT", digits))
        assert sluicegate(words[1:]) == 0


ENROL = (
    r"run `(sluicegate provision begin [^`]+)`, then have it answered .*"
    r"\(`sluicectl enrol answer`\), then run `(sluicegate provision install [^`]+)`"
)
BROKER = [
    Case(
        "broker.enrolment",
        "none",
        "bad",
        "nothing is installed yet",
        _not_enrolled,
        _enrolled,
        whole=("broker.enrolment",),
        mend=(ENROL, _enrol),
    ),
    Case(
        "tls.renewal",
        "alone",
        "warn",
        "installed without its issuer's certificate",
        lambda house: house.enrolling.install(house.enrolling.alone(1)),
        _enrolled,
        whole=("tls.renewal",),
        mend=(ENROL, _enrol),
    ),
    Case(
        "broker.password",
        "mode",
        "bad",
        "others may read",
        lambda house: (house.folder / "password").chmod(0o644),
        lambda house: (
            _password(house),
            house.set("password_file", '"password"', "[mqtt]"),
            house.set("username", '"gw"', "[mqtt]"),
        ),
        around=with_broker,
    ),
    Case(
        "broker.password",
        "absent",
        "bad",
        "No such file",
        lambda house: (house.folder / "password").unlink(),
        lambda house: (
            _password(house),
            house.set("password_file", '"password"', "[mqtt]"),
            house.set("username", '"gw"', "[mqtt]"),
        ),
        around=with_broker,
        mend=(
            r"^write the password into (\S+): run `(install -m 600 /dev/stdin \S+)`$",
            lambda house, _, command: house.run(f"echo secret | {command}"),
        ),
    ),
    Case(
        "broker.resolve",
        "unknown",
        "bad",
        "Name or service not known",
        lambda house: house.machine.names.add("127.0.0.1"),
        around=with_broker,
        given={"NAME": "localhost"},
    ),
    Case(
        "broker.port",
        "away",
        "bad",
        "Connection refused",
        _stop,
        around=with_broker,
        mend=(r"^start the broker at (127\.0\.0\.1:\d+)", _again()),
    ),
    Case(
        "broker.accept",
        "password",
        "bad",
        "Not authorized",
        _with_password,
        around=with_broker,
        given={"NAME": "gw", "FILE": "password"},
    ),
    Case(
        "broker.accept",
        "certificate",
        "bad",
        "before CONNACK",
        _no_certificate,
        around=with_tls,
        whole=BOTH,
        given={"FILE": "own.pem", "KEY": "own.key"},
    ),
    Case(
        "broker.topics",
        "denied",
        "bad",
        "sg/1/test/gw-1/receipt",
        lambda house: _access(house, subscribe=False),
        around=with_broker,
        mend=(
            r"add `(topic read sg/1/test/gw-1/receipt)`",
            lambda house, _: _access(house, subscribe=True),
        ),
    ),
    Case(
        "broker.packet",
        "small",
        "bad",
        "the broker takes 20000 bytes",
        lambda house: start(house, settings=("max_packet_size 20000",)),
        around=with_broker,
        mend=(
            r"^set `(max_packet_size \d+)` in the broker's",
            lambda house, line: start(house, settings=(line,)),
        ),
    ),
]
CASES = BROKER
