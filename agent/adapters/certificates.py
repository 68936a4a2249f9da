"""What a certificate file says: whose, by whom, until when. Never a key.

Limits come before parsing; a file that is no certificate is one clear line. Names in a
certificate are its maker's words: what is not printable is written out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from agent.adapters.files import read_limited
from agent.errors import BadInput
from protocols.pki import UNREADABLE
from protocols.plain import printable

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX: Final = 1024 * 1024  # a bundle of all public authorities is 250 KiB
CERTIFICATES_MAX: Final = 1024
NAME_CHARACTERS_MAX: Final = 256
SAN_MAX: Final = 64
HINT: Final = "a PEM file that begins with -----BEGIN CERTIFICATE-----"
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One X.509 certificate (RFC 5280), its texts printable and cut."""

    subject: str  # RFC 4514, such as CN=gateway-1
    issuer: str
    not_before_ns: int  # since the epoch, UTC
    not_after_ns: int
    serial: int
    san: tuple[str, ...]  # DNS:name, IP:address, URI:uri; SAN_MAX at most
    sha256: str  # of the DER form, hex
    is_ca: bool


def facts(path: Path) -> Certificate:
    """Return what the first certificate of a PEM file says: of a chain, the leaf.

    BadInput names the file and the reason.
    """
    return chain_facts(path)[0]


def chain_facts(path: Path) -> tuple[Certificate, ...]:
    """Return what every certificate of a PEM file says, in its order; one at least.

    BadInput names the file and the reason.
    """
    return tuple(map(facts_of, load_chain(path)))


def load_chain(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, one at least; BadInput otherwise."""
    return parse_chain(read_limited(path, FILE_BYTES_MAX), str(path))


def parse_chain(body: bytes, file: str) -> list[x509.Certificate]:
    """Return the certificates of PEM text, one at least; BadInput otherwise."""
    if len(body) > FILE_BYTES_MAX:
        raise BadInput(file, "", f"larger than {FILE_BYTES_MAX} bytes")
    if body.count(b"-----BEGIN ") > CERTIFICATES_MAX:
        raise BadInput(file, "", f"more than {CERTIFICATES_MAX} certificates")
    try:
        found = x509.load_pem_x509_certificates(body)
    except UNREADABLE:
        raise BadInput(file, "", "holds no readable certificate", HINT) from None
    if not found:
        raise BadInput(file, "", "holds no certificate", HINT)
    return found


def facts_of(certificate: x509.Certificate) -> Certificate:
    """Return what a parsed certificate says."""
    return Certificate(
        _name(certificate, "subject"),
        _name(certificate, "issuer"),
        _ns(certificate.not_valid_before_utc),
        _ns(certificate.not_valid_after_utc),
        certificate.serial_number,
        _alternatives(certificate),
        certificate.fingerprint(hashes.SHA256()).hex(),
        _is_authority(certificate),
    )


def _name(certificate: x509.Certificate, which: str) -> str:
    try:
        text: str = getattr(certificate, which).rfc4514_string()
    except UNREADABLE:  # a name that is no text is parsed late
        return "?"
    return _shown(text)


def _shown(text: str) -> str:
    return printable(text[:NAME_CHARACTERS_MAX])


def _ns(moment: dt.datetime) -> int:
    """Return ns since the epoch, exactly: certificates count in seconds."""
    return (moment - _EPOCH) // dt.timedelta(seconds=1) * 1_000_000_000


def _alternatives(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ()
    found: list[str] = []
    for name in list(names)[:SAN_MAX]:
        match name:
            case x509.DNSName():
                found.append(_shown(f"DNS:{name.value}"))
            case x509.IPAddress():
                found.append(_shown(f"IP:{name.value}"))
            case x509.UniformResourceIdentifier():
                found.append(_shown(f"URI:{name.value}"))
            case x509.RFC822Name():
                found.append(_shown(f"email:{name.value}"))
    return tuple(found)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
