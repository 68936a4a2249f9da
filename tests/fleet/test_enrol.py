"""`sluicectl enrol`: which requests are answered, and what is issued."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from fleet.enrol.issuing import Issuer, issued, read_request
from fleet.main import run as sluicectl
from fleet.registry import load_devices
from tests.support.enrolling import NOW, Enrolling

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def words(place: Enrolling, request: Path, *more: str) -> list[str]:
    return [
        "enrol", "answer", str(request), "--fleet", "north", "--broker", "b.example:1",
        "--broker-ca", str(place.folder / "broker.pem"),
        "--devices", str(place.folder / "devices"),
        "--ca-cert", str(place.ca), "--ca-key", str(place.ca_key),
        "-o", str(place.folder / "a.json"), *more,
    ]  # fmt: skip


def test_what_is_issued_verifies_with_openssl_as_a_clients(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    asked = read_request(place.begin())
    chain = issued(asked, Issuer(place.authority(), 90), NOW)
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(chain[0].public_bytes(Encoding.PEM))
    for purpose, code in (("sslclient", 0), ("sslserver", 2)):
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
             str(place.ca), str(leaf)],
            check=False, capture_output=True,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    whole = NOW.replace(microsecond=0)  # as certificates count
    assert chain[0].not_valid_after_utc - whole == dt.timedelta(days=90)
    late = NOW + dt.timedelta(days=365 * 10 - 450)
    ends = issued(asked, Issuer(place.authority(), 825), late)[0].not_valid_after_utc
    assert ends == chain[1].not_valid_after_utc  # never longer than its authority


def test_a_request_of_another_is_not_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Enrolling(tmp_path)
    request = place.begin()
    form = json.loads(request.read_text())
    wrong = {
        "the signature does not hold": {
            **form, "body": form["body"].replace("gw-1", "gw-2"),
        },
        "schema is not": {**form, "schema": "sluicegate/enrolment-request/2"},
        "unknown field": {**form, "more": 1},
    }  # fmt: skip
    for reason, body in wrong.items():
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps(body))
        assert sluicectl(words(place, bad)) == 2
        assert reason in capsys.readouterr().err
    assert sluicectl(words(place, request, "--fingerprint", "0" * 32)) == 2
    assert "not the request that the device made" in capsys.readouterr().err
    assert sluicectl([*words(place, request), "--fleet", "south"]) == 2
    assert "is of fleet north, not south" in capsys.readouterr().err
    assert not (tmp_path / "devices").exists()
    assert not (tmp_path / "a.json").exists()


def test_a_name_is_one_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Enrolling(tmp_path)
    assert sluicectl(words(place, place.begin())) == 0
    known = load_devices(tmp_path / "devices")
    assert "enrolled" in capsys.readouterr().out
    assert sluicectl(words(place, place.begin())) == 2  # the answer is there
    (tmp_path / "a.json").unlink()
    assert sluicectl(words(place, place.begin())) == 0
    assert "was enrolled already" in capsys.readouterr().out
    for path in (place.state / "device.key", place.enrolment / "pending/request.json"):
        path.unlink()  # another device of the same name
    (tmp_path / "a.json").unlink()
    assert sluicectl(words(place, place.begin())) == 2
    assert "enrolled with another identity key" in capsys.readouterr().err
    assert load_devices(tmp_path / "devices") == known
    assert (
        sluicectl(["devices", "retire", "gw-1", "-d", str(tmp_path / "devices")]) == 0
    )
    assert sluicectl(words(place, place.begin())) == 2
    assert "retired" in capsys.readouterr().err


def test_a_certificate_of_another_pki_must_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Enrolling(tmp_path)
    request = place.begin()
    foreign, _ = place.client("gw-1")  # our name, not our key
    some = [word for word in words(place, request) if word != "--ca-cert"]
    del some[some.index(str(place.ca))]
    at = some.index("--ca-key")
    del some[at : at + 2]
    assert sluicectl([*some, "--cert", foreign]) == 2
    assert "is of another key" in capsys.readouterr().err
    leaf, whole = tmp_path / "leaf.pem", tmp_path / "whole.pem"
    chain = issued(read_request(request), Issuer(place.authority(), 90), NOW)
    pems = [one.public_bytes(Encoding.PEM) for one in chain]
    leaf.write_bytes(pems[0])
    assert sluicectl([*some, "--cert", str(leaf)]) == 2
    assert "certificate alone: it could not be renewed" in capsys.readouterr().err
    assert not (tmp_path / "a.json").exists()
    whole.write_bytes(b"".join(pems))
    assert sluicectl([*some, "--cert", str(whole)]) == 0
    (tmp_path / "a.json").unlink()
    assert sluicectl(some) == 2
    assert "give --ca-cert and --ca-key, or --cert" in capsys.readouterr().err


def test_an_authority_keeps_its_key(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    more = ["--passphrase-file", str(secret)]
    assert sluicectl(["enrol", "ca", "south", "--folder", str(tmp_path), *more]) == 0
    body = (tmp_path / "ca.key").read_bytes()
    assert b"ENCRYPTED" in body
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    assert sluicectl(["enrol", "ca", "south", "--folder", str(tmp_path), *more]) == 2
    assert (tmp_path / "ca.key").read_bytes() == body
