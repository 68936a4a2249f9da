"""The role in a client's certificate: MODBUS/TCP Security (MB-TCP-Security-v21).

Clause 8.4 there: X.509v3 extension 1.3.6.1.4.1.50316.802.1, one ASN.1 UTF8String. A
certificate without it has no role; several roles in one string are the vendor's own
affair, so the string is taken as it stands.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509

from protocols.errors import WireError
from protocols.pki import UNREADABLE

ROLE_OID: Final = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
ROLE_BYTES_MAX: Final = 127  # of UTF-8, so that its DER length is one byte
CERTIFICATE_BYTES_MAX: Final = 65_536
_UTF8_STRING: Final = 0x0C  # ITU-T X.690, 8.23


def roles_of(der: bytes) -> tuple[str, ...]:
    """Return the roles of a DER certificate: one, or none.

    WireError where the certificate or its role cannot be read: who has an unreadable
    role is not somebody without one.
    """
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise WireError("certificate", f"larger than {CERTIFICATE_BYTES_MAX} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        found = certificate.extensions.get_extension_for_oid(ROLE_OID).value
    except x509.ExtensionNotFound:
        return ()
    except UNREADABLE:
        raise WireError("certificate", "cannot be read") from None
    assert isinstance(found, x509.UnrecognizedExtension)
    return (role_of(found.value),)


def role_of(value: bytes) -> str:
    """Return the string of the extension's DER value; WireError where it is none."""
    if len(value) < 3 or value[0] != _UTF8_STRING or value[1] > ROLE_BYTES_MAX:
        raise WireError("role", "no UTF8String of 1 to 127 bytes")
    if value[1] != len(value) - 2:
        raise WireError("role", "its length does not fit")
    try:
        role = value[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("role", "not UTF-8") from None
    if not role.isprintable():
        raise WireError("role", "holds a control character")
    return role
