"""Certificate requests (PKCS#10, RFC 2986) and chains (RFC 5280) of enrolment. Pure.

Only what both sides must agree on: which keys and names are taken, and what a chain
must be. The broker verifies the device's certificate at every connection; what is
checked here keeps a device from putting one in place that cannot work.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.errors import WireError
from protocols.topics import check_name

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificatePublicKeyTypes,
    )

CSR: Final = "certificate request"
CHAIN: Final = "certificate"
CSR_BYTES_MAX: Final = 8 * 1024
CHAIN_MAX: Final = 8
CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
RSA_BITS: Final = (2048, 4096)
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
# What X.509 from strangers makes the parser say, also late, where a field is asked for:
# some of it is no ValueError.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def spki(key: CertificatePublicKeyTypes) -> bytes:
    """Return a public key as SubjectPublicKeyInfo, DER, to be compared by."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def parse_csr(der: bytes, device: str) -> x509.CertificateSigningRequest:
    """Return the request of ``device``, its own signature verified; WireError else.

    The key is EC P-256 or P-384, or RSA of 2048 to 4096 bits. Of what the request asks
    for nothing but key and name counts; extensions are the issuer's business.
    """
    if len(der) > CSR_BYTES_MAX:
        raise WireError(CSR, f"larger than {CSR_BYTES_MAX} bytes")
    try:
        csr = x509.load_der_x509_csr(der)
        holds = csr.is_signature_valid
        names = [
            one.value for one in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
        key = csr.public_key()
    except (*UNREADABLE, InvalidSignature):
        raise WireError(CSR, "is no readable PKCS#10") from None
    if not holds:
        raise WireError(CSR, "its own signature does not hold")
    if names != [device]:
        raise WireError(CSR, "its common name is not the device")
    check_key(key)
    return csr


def check_key(key: object) -> None:
    """Return where a TLS key is one that we take, else WireError."""
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, CURVES):
            return
        case rsa.RSAPublicKey() if RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
            return
    raise WireError(CSR, "its key is not EC P-256, P-384, or RSA of 2048 to 4096 bits")


def names_of(fleet: str, device: str) -> list[x509.GeneralName]:
    """Return the alternative names of a device: a URI, and a host name where it is one.

    ``urn:sluicegate:FLEET:DEVICE``.
    """
    check_name("fleet", fleet)
    check_name("device", device)
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:sluicegate:{fleet}:{device}")
    ]
    if all(map(_HOST.fullmatch, device.split("."))):
        names.append(x509.DNSName(device))
    return names


def parse_chain(ders: Sequence[bytes]) -> list[x509.Certificate]:
    """Return the certificates, the leaf first; WireError where one is none."""
    if not 1 <= len(ders) <= CHAIN_MAX:
        raise WireError(CHAIN, f"a chain has 1 to {CHAIN_MAX} of them")
    try:
        return [x509.load_der_x509_certificate(der) for der in ders]
    except UNREADABLE:
        raise WireError(CHAIN, "is not readable") from None


def check_chain(chain: Sequence[x509.Certificate], key: bytes, device: str) -> None:
    """Return where ``chain`` may be shown to a broker by who has ``key``.

    ``key``: SubjectPublicKeyInfo, DER. (1) the leaf is of our key (2) and of our name
    (3) it is no authority, and may identify a client (4) each is signed by the next.
    Time is the caller's: ``check_time``. WireError says which does not hold.
    """
    leaf = chain[0]
    try:
        if spki(leaf.public_key()) != key:  # (1)
            raise WireError(CHAIN, "is of another key")
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = {str(one.value) for one in common} | _alternatives(leaf)
        if device not in names:  # (2)
            raise WireError(CHAIN, "does not name the device")
        if _is_authority(leaf):  # (3)
            raise WireError(CHAIN, "is an authority's, not a client's")
        if not _may_identify(leaf):
            raise WireError(CHAIN, "is not for TLS clients (extended key usage)")
        for one, above in itertools.pairwise(chain):  # (4)
            if not _is_authority(above):
                raise WireError(CHAIN, "an issuer in the chain is no authority")
            one.verify_directly_issued_by(above)
    except InvalidSignature:
        raise WireError(CHAIN, "is not signed by the next of its chain") from None
    except UNREADABLE as error:
        if isinstance(error, WireError):
            raise
        raise WireError(CHAIN, "is not signed by the next of its chain") from None


def check_time(certificate: x509.Certificate, now: dt.datetime) -> None:
    """Return where the certificate is valid at ``now`` (UTC), else WireError."""
    if now > certificate.not_valid_after_utc:
        raise WireError(CHAIN, f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        start = certificate.not_valid_before_utc
        raise WireError(CHAIN, f"is not valid before {start:%Y-%m-%d %H:%M} UTC")


def _alternatives(leaf: x509.Certificate) -> set[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {*names.value.get_values_for_type(x509.DNSName)}


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def _may_identify(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    anything = {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
    return bool(anything & {*usage})
