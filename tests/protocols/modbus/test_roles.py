from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.modbus.roles import ROLE_OID, role_of, roles_of

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hmi")])


def role_value(role: str) -> bytes:
    body = role.encode()
    return bytes((0x0C, len(body))) + body  # DER UTF8String


def certificate(value: bytes | None) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    )
    if value is not None:
        extension = x509.UnrecognizedExtension(ROLE_OID, value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, None).public_bytes(Encoding.DER)


def test_the_role_of_a_certificate() -> None:
    assert roles_of(certificate(role_value("operator"))) == ("operator",)
    assert roles_of(certificate(b"\x0c\x08operator")) == ("operator",)
    assert roles_of(certificate(None)) == ()


@pytest.mark.parametrize(
    "value",
    [b"", b"\x0c\x00", b"\x13\x01a", b"\x0c\x02a", b"\x0c\x01ab", b"\x0c\x01\xff",
     b"\x0c\x01\n", b"\x0c\x81\x01a"],
)  # fmt: skip
def test_an_unreadable_role_is_not_no_role(value: bytes) -> None:
    with pytest.raises(WireError):
        roles_of(certificate(value))


def test_what_is_no_certificate() -> None:
    for wrong in (b"", b"\x30\x03\x02\x01\x01", bytes(70_000)):
        with pytest.raises(WireError):
            roles_of(wrong)


@given(st.text(min_size=1, max_size=30))
def test_what_can_be_printed_is_a_role(role: str) -> None:
    if role.isprintable():
        assert role_of(role_value(role)) == role
    else:
        with pytest.raises(WireError):
            role_of(role_value(role))


@given(st.binary(max_size=140))
def test_any_bytes_give_a_role_or_the_one_error(value: bytes) -> None:
    try:
        role = role_of(value)
    except WireError:
        return
    assert role_value(role) == value
