"""The device's TLS key: made here, shown to nobody, and its certificate request.

``file``: EC P-256 in PKCS#8 PEM, mode 0600.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from agent.adapters.files import read_secret, write_durably
from agent.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES_MAX: Final = 16 * 1024


def make_file_key(path: Path) -> None:
    """Make a key in a file of its own, whole on the disk or not there."""
    key = ec.generate_private_key(ec.SECP256R1())
    body = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_durably(path, body)


def file_csr(path: Path, device: str) -> bytes:
    """Return a PKCS#10 request (DER) of the key in ``path``, for ``device``.

    BadInput where others may read the key, or it is none of ours.
    """
    body = read_secret(path, KEY_BYTES_MAX)
    try:
        key = load_pem_private_key(body, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadInput(str(path), "", "is no EC key in PKCS#8 PEM")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
