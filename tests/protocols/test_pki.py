"""Certificates and requests that a stranger made: refused by name, never a surprise."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from protocols.errors import WireError
from protocols.pki import check_chain, parse_chain, parse_csr, spki

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw-1")])
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
VERSION_3, VERSION_1 = "a003020102", "020100"  # of a certificate, of a request
SAN = x509.ObjectIdentifier("2.5.29.17")
# GeneralName (RFC 5280, 4.2.1.6): x400Address [3], ediPartyName [5]; and none at all
NAMES = {"x400": "3002a300", "edi": "3002a500", "none": "ffff"}


def leaf(names: str) -> bytes:
    told = x509.UnrecognizedExtension(SAN, bytes.fromhex(names))
    return (
        x509.CertificateBuilder(NAME, NAME, KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(told, critical=False)
        .sign(KEY, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


@pytest.mark.parametrize("names", NAMES)
def test_names_that_nobody_reads_are_refused(names: str) -> None:
    chain = parse_chain([leaf(NAMES[names])])
    with pytest.raises(WireError):
        check_chain(chain, spki(KEY.public_key()), "gw-1")


def test_a_version_that_is_none_is_refused() -> None:
    made = leaf(NAMES["x400"]).hex()
    changed = bytes.fromhex(made.replace(VERSION_3, "a00302017f", 1))
    with pytest.raises(WireError, match="is not readable"):
        parse_chain([changed])
    request = x509.CertificateSigningRequestBuilder(NAME).sign(KEY, hashes.SHA256())
    body = request.public_bytes(Encoding.DER).hex()
    parse_csr(bytes.fromhex(body), "gw-1")
    changed = bytes.fromhex(body.replace(VERSION_1, "02017f", 1))
    with pytest.raises(WireError, match="PKCS#10"):
        parse_csr(changed, "gw-1")
