"""TLS keys in files and in a TPM 2.0; the TPM is swtpm's, all else is real."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.adapters.device_key import load_or_create
from agent.adapters.enrolment import RENEWING, Enrolments
from agent.adapters.enrolment_changes import changing
from agent.adapters.tls_keys import csr_of, kind_of, make_key, prepare, tpm_public
from agent.errors import BadInput, Unavailable
from agent.main import run as sluicegate
from protocols.enrolment import open_request_file
from protocols.pki import parse_csr
from tests.support.broker import needs_mosquitto
from tests.support.enrolling import Daemon, Enrolling
from tests.support.tpm import TCTI, needs_tpm, software_tpm

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_key_asks_for_its_device(tmp_path: Path) -> None:
    make_key(tmp_path / "tls.key", "file")
    assert kind_of(tmp_path / "tls.key") == "file"
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600
    parse_csr(csr_of(tmp_path / "tls.key", "gw-1"), "gw-1")
    prepare(tmp_path / "tls.key")
    assert tpm_public((tmp_path / "tls.key").read_bytes()) is None
    prepare(tmp_path / "absent")  # ``ssl`` tells it
    (tmp_path / "tls.key").chmod(0o640)
    with pytest.raises(BadInput, match="others may read"):
        csr_of(tmp_path / "tls.key", "gw-1")


def test_without_a_tpm_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TCTI, "device:/dev/null")
    with pytest.raises(Unavailable, match="tpm2: openssl"):
        make_key(tmp_path / "tls.key", "tpm2")
    assert not (tmp_path / "tls.key").exists()
    place = Enrolling(tmp_path)
    words = ["provision", "begin", "-c", str(place.config), "-o", "-"]
    assert sluicegate([*words, "--tls-key", "tpm2"]) != 0
    assert capfd.readouterr().err.count("\n") == 1
    assert sluicegate([*words, "--tls-key", "pkcs11:token=x"]) == 2
    assert "PKCS#11" in capfd.readouterr().err


def with_another_point(body: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    first, *lines, last = body.splitlines()
    x = key.public_numbers().x.to_bytes(32, "big")
    whole = base64.b64decode(b"".join(lines))
    assert x in whole
    other = whole.replace(x, bytes([x[0] ^ 1]) + x[1:])
    return b"\n".join([first, base64.b64encode(other), last])


@needs_tpm
@needs_mosquitto
@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.alone
def test_a_key_that_never_leaves_the_tpm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Enrolling(tmp_path)
    with software_tpm(tmp_path) as tcti, place.broker() as broker:
        monkeypatch.setenv(TCTI, tcti)
        request = place.begin("--tls-key", "tpm2")
        asked = open_request_file(request.read_bytes())
        assert asked.request.tls_key == "tpm2"
        assert place.begin("--tls-key", "tpm2").read_bytes() == request.read_bytes()
        assert place.install(place.answer(request, broker.port)) == 0
        body = (place.enrolment / "0001/tls.key").read_bytes()
        assert body.startswith(b"-----BEGIN TSS2 PRIVATE KEY-----")
        made = parse_csr(asked.csr, "gw-1").public_key()
        assert tpm_public(body) == made
        assert isinstance(made, ec.EllipticCurvePublicKey)
        assert tpm_public(with_another_point(body, made)) != made
        with Daemon(place) as daemon:
            daemon.until(lambda: daemon.status().get("online"), "online")
        assert "u'gw-1'" in broker.log()
        # a renewal keeps the key, and needs no TPM to ask
        monkeypatch.setenv(TCTI, "device:/dev/null")
        signer = load_or_create(place.state / "device.key", "gw-1")
        now_ns = int(dt.datetime.now(dt.UTC).timestamp() * 1e9)
        with changing(Enrolments(place.state)) as folder:
            made_again = folder.begin(signer, "north", now_ns, RENEWING)
        again = open_request_file(made_again)
        assert again.csr == asked.csr
        assert again.request.tls_key == "tpm2"
        assert again.request.time_ns > asked.request.time_ns
        assert (place.enrolment / "renewing/tls.key").read_bytes() == body
