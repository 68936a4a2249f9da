"""A fleet's own small certificate authority: one key, certificates of devices.

For those who run no PKI. EC P-256, no revocation lists: certificates are short, and a
device that may not come any more is taken out of the registry, so that nobody renews.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet.errors import BadInput
from fleet.files import read_limited, read_private, write_new, write_private
from protocols.pki import UNREADABLE, names_of, spki

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificatePublicKeyTypes,
    )

    from fleet.trust.signing import Passphrases

KEY_BYTES_MAX: Final = 16 * 1024
CHAIN_BYTES_MAX: Final = 64 * 1024
BACKDATED: Final = dt.timedelta(hours=1)  # a gateway's clock may be a little behind
USAGE: Final = {
    "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
    "key_agreement": False, "encipher_only": False, "decipher_only": False,
}  # fmt: skip


@dataclass(frozen=True)
class Authority:
    """What issues: its certificate first, then those above it; and its key."""

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    def __repr__(self) -> str:
        """Name the subject and nothing else."""
        return f"Authority({self.chain[0].subject.rfc4514_string()!r})"


def found(
    name: str, folder: Path, years: int, now: dt.datetime, secret: bytes | None
) -> tuple[Path, Path]:
    """Make an authority; return its certificate's file and its key's (0600)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} devices")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=365 * years))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False, key_cert_sign=True, crl_sign=True, **USAGE
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "ca.pem", folder / "ca.key"
    if certificate.exists():
        raise BadInput(str(certificate), "", "exists already")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    guard = BestAvailableEncryption(secret) if secret else NoEncryption()
    write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, guard))
    write_new(certificate, made.public_bytes(Encoding.PEM))
    return certificate, private


def load(certificate: Path, key: Path, passphrases: Passphrases) -> Authority:
    """Return an authority; BadInput where key and certificate are no pair."""
    chain = load_chain(certificate)
    data = read_private(key, KEY_BYTES_MAX)
    try:
        try:
            private = load_pem_private_key(data, None)
        except TypeError:  # it has a passphrase
            private = load_pem_private_key(data, passphrases.ask(key))
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput(str(key), "", "is no key, or another passphrase") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise BadInput(str(key), "", "is neither an EC nor an RSA key")
    if spki(private.public_key()) != spki(chain[0].public_key()):
        raise BadInput(str(key), "", f"is not the key of {certificate.name}")
    return Authority(tuple(chain), private)


def load_chain(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file; BadInput where there is none."""
    try:
        chain = x509.load_pem_x509_certificates(read_limited(path, CHAIN_BYTES_MAX))
    except UNREADABLE:
        raise BadInput(str(path), "", "holds no certificate (PEM)") from None
    if not chain:
        raise BadInput(str(path), "", "holds no certificate (PEM)")
    return chain


def issue(
    authority: Authority,
    key: CertificatePublicKeyTypes,
    names: tuple[str, str],
    days: int,
    now: dt.datetime,
) -> list[x509.Certificate]:
    """Return the chain of a new certificate for TLS clients, the leaf first.

    ``names``: (fleet, device). It never outlives its authority.
    """
    fleet, device = names
    issuer = authority.chain[0]
    end = min(now + dt.timedelta(days=days), issuer.not_valid_after_utc)
    if end <= now:
        raise BadInput("", "--ca-cert", "has expired", "sluicectl enrol ca")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=False, crl_sign=False, **USAGE
            ),
            critical=True,
        )
        .add_extension(usage, critical=False)
        .add_extension(
            x509.SubjectAlternativeName(names_of(fleet, device)), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                authority.key.public_key()
            ),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return [leaf, *authority.chain]
