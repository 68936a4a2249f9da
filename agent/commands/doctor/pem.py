"""Certificates as files and as a broker shows them: who, until when, with which key."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent.adapters.certificates import facts_of
from agent.adapters.files import read_limited
from agent.adapters.tls_keys import prepare, tpm_public
from agent.errors import BadInput
from protocols.pki import UNREADABLE

PEM_BYTES_MAX: Final = 1024 * 1024  # a bundle of authorities
CONNECT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Handshake:
    """What TLS with a broker came to."""

    code: int = 0  # X509_V_ERR of OpenSSL (verify(1)); 0: the certificate is good
    reason: str = ""  # "": it worked
    names: tuple[str, ...] = ()  # that its certificate stands for
    not_after_ns: int = 0  # of its certificate
    issuer: str = ""


def public_key_of(key_file: str) -> bytes:
    """Return the public half of a private key, DER; BadInput where it is none."""
    body = read_limited(Path(key_file), PEM_BYTES_MAX)
    if (in_tpm := tpm_public(body)) is not None:
        return _der(in_tpm)
    try:
        key = serialization.load_pem_private_key(body, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadInput(key_file, "", "holds no private key without password") from None
    return _der(key.public_key())


def public_key_in(certificate: x509.Certificate) -> bytes:
    """Return a certificate's public key, DER."""
    return _der(certificate.public_key())


def _der(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    out: bytes = key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]  # every kind of public key has it
    return out


def shake_hands(
    place: tuple[str, int], ca_file: str, cert_file: str, key_file: str
) -> Handshake:
    """Return what TLS with ``place`` comes to, asked as the agent asks.

    OSError where there is no TCP connection; ssl.SSLError where a file is unusable.
    """
    if cert_file:
        prepare(Path(key_file))
    strict = ssl.create_default_context(cafile=ca_file)
    if cert_file:
        strict.load_cert_chain(cert_file, key_file)
    try:
        _shown(place, strict)
    except ssl.SSLCertVerificationError as error:
        code, reason = error.verify_code, error.verify_message
    except ssl.SSLError as error:
        return Handshake(-1, error.reason or "no TLS")
    except ConnectionResetError:
        return Handshake(-1, "the peer hung up")
    else:
        code, reason = 0, ""
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE  # only to read what is shown; nothing is said
    if cert_file:
        lax.load_cert_chain(cert_file, key_file)
    try:
        told = facts_of(x509.load_der_x509_certificate(_shown(place, lax)))
    except UNREADABLE:
        return Handshake(-1, "its certificate cannot be read")
    names = tuple(name.partition(":")[2] for name in told.san)
    return Handshake(code, reason, names, told.not_after_ns, told.issuer)


def _shown(place: tuple[str, int], context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(place, CONNECT_S) as raw,
        context.wrap_socket(raw, server_hostname=place[0]) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None  # a TLS server always shows one
    return der
