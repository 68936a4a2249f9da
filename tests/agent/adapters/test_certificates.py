"""What a certificate file says, and the files that say nothing."""

from __future__ import annotations

import base64
import datetime as dt
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.certificates import (
    FILE_BYTES_MAX,
    chain_facts,
    facts,
    facts_of,
    parse_chain,
)
from agent.errors import BadInput
from tests.support.certificates import certificate, saved

if TYPE_CHECKING:
    from pathlib import Path


def test_facts_agree_with_openssl(tmp_path: Path) -> None:
    authority = certificate("ca")
    file, _ = saved(tmp_path, "gw", certificate("gateway-1", authority))
    found = facts(tmp_path / "gw.pem")
    assert (found.subject, found.issuer) == ("CN=gateway-1", "CN=ca")
    assert found.san == ("DNS:localhost", "IP:127.0.0.1")
    assert not found.is_ca
    told = subprocess.run(
        ["openssl", "x509", "-in", file, "-noout", "-serial", "-dates", "-fingerprint",
         "-sha256", "-dateopt", "iso_8601"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    words = dict(line.split("=", 1) for line in told.splitlines())
    assert int(words["serial"], 16) == found.serial
    assert words["sha256 Fingerprint"].replace(":", "").lower() == found.sha256
    for word, ns in (
        ("notBefore", found.not_before_ns),
        ("notAfter", found.not_after_ns),
    ):
        moment = dt.datetime.strptime(words[word], "%Y-%m-%d %H:%M:%SZ")  # noqa: DTZ007  # made UTC below
        assert int(moment.replace(tzinfo=dt.UTC).timestamp()) * 10**9 == ns


def test_of_a_chain_the_leaf_comes_first(tmp_path: Path) -> None:
    authority = certificate("ca")
    saved(tmp_path, "gw", certificate("gateway-1", authority))
    with (tmp_path / "gw.pem").open("ab") as file:
        file.write(authority[0].public_bytes(Encoding.PEM))
    leaf, issuer = chain_facts(tmp_path / "gw.pem")
    assert leaf == facts(tmp_path / "gw.pem")
    assert issuer.is_ca
    assert issuer.subject == leaf.issuer


def test_names_cannot_move_a_cursor(tmp_path: Path) -> None:
    saved(tmp_path, "gw", certificate("\x1b[2Jgw\n\u202e" + "x" * 50))
    assert facts(tmp_path / "gw.pem").subject.isprintable()


def test_any_time_that_a_certificate_can_say(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(dt.datetime(1950, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "gw.pem").write_bytes(made.public_bytes(Encoding.PEM))
    found = facts(tmp_path / "gw.pem")
    assert (found.not_before_ns, found.not_after_ns) == (
        -631_152_000 * 10**9,
        253_402_300_799 * 10**9,
    )
    assert (found.san, found.is_ca) == ((), False)


def test_what_is_no_certificate_is_one_line(tmp_path: Path) -> None:
    saved(tmp_path, "gw", certificate("gw"))
    with pytest.raises(BadInput, match=r"absent\.pem: No such file"):
        facts(tmp_path / "absent.pem")
    for body in (b"", b"no", (tmp_path / "gw.key").read_bytes()):
        (tmp_path / "bad.pem").write_bytes(body)
        with pytest.raises(BadInput, match=r"bad\.pem: holds no") as told:
            facts(tmp_path / "bad.pem")
        assert "\n" not in str(told.value)
    (tmp_path / "bad.pem").write_bytes(b"-" * (FILE_BYTES_MAX + 1))
    with pytest.raises(BadInput, match="larger than"):
        facts(tmp_path / "bad.pem")
    with pytest.raises(BadInput, match="more than 1024 certificates"):
        parse_chain(b"-----BEGIN CERTIFICATE-----\n" * 1025, "bad.pem")
    with pytest.raises(BadInput, match="Is a directory"):
        facts(tmp_path)


WHOLE = certificate("gw", certificate("ca"))[0].public_bytes(Encoding.DER)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_damaged_certificate_never_raises_anything_else(at: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= change
    body = b"-----BEGIN CERTIFICATE-----\n"
    body += base64.encodebytes(bytes(damaged)) + b"-----END CERTIFICATE-----\n"
    try:
        found = parse_chain(body, "x.pem")
    except BadInput:
        return
    for one in found:
        assert facts_of(one).subject.isprintable()
