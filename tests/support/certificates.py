"""Certificates of a small plant: authorities, devices, masters with roles."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

Signed: TypeAlias = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
ROLE = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")  # MB-TCP-Security-v21, R-22
DAY = dt.timedelta(days=1)


def certificate(
    name: str,
    signer: Signed | None = None,
    *,
    role: str = "",
    days: int = 30,
    addresses_only: bool = False,
) -> Signed:
    """Return a certificate for localhost and 127.0.0.1; ``days`` < 0: expired.

    ``addresses_only``: it is not for localhost.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address(0x7F000001)),
    ][addresses_only:]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 100 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(signer is None, None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    if role:
        told = bytes([0x0C, len(role.encode())]) + role.encode()  # DER UTF8String
        builder = builder.add_extension(
            x509.UnrecognizedExtension(ROLE, told), critical=False
        )
    made = builder.sign(key if signer is None else signer[1], hashes.SHA256())
    return made, key


def saved(folder: Path, name: str, signed: Signed) -> tuple[str, str]:
    """Write certificate and key as PEM; return the two paths."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(signed[0].public_bytes(Encoding.PEM))
    key.write_bytes(
        signed[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return str(cert), str(key)


def master_context(
    ca_file: str, files: tuple[str, str] | None, *, only: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Return a master's context: whom it trusts, and what it shows."""
    context = ssl.create_default_context(cafile=ca_file)
    if files is not None:
        context.load_cert_chain(*files)
    if only is not None:
        context.minimum_version = context.maximum_version = only
    return context
