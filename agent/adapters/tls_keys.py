"""The device's TLS key: made here, shown to nobody, and its certificate request.

``file``: EC P-256 in PKCS#8 PEM, mode 0600.
``tpm2``: EC P-256 made in the TPM 2.0; the file holds what only that TPM can load (PEM
``TSS2 PRIVATE KEY``, draft-bottomley-tpm2-keys). It is used by OpenSSL's provider
``tpm2`` (Debian: tpm2-openssl), loaded into this process where such a key is named: so
``ssl`` signs with it like with any other, and the key is never in our memory. It needs
a resource manager, the kernel's /dev/tpmrm0: a TPM alone has too few places.
"""

from __future__ import annotations

import base64
import ctypes
import re
import subprocess
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

from agent.adapters.files import read_limited, read_secret, write_durably
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.enrolment import Where

KEY_BYTES_MAX: Final = 16 * 1024
CHAIN_BYTES_MAX: Final = 1024 * 1024  # a key may stand with its chain
TPM_PEM: Final = b"-----BEGIN TSS2 PRIVATE KEY-----"
TPM_S: Final = 60.0  # a TPM makes an EC key in a second, a slow one in ten
TPM_HINT: Final = "Debian: tpm2-openssl; may this user open /dev/tpmrm0?"
_OPENSSL: Final = "/usr/bin/openssl"
_PROVIDERS: Final = (
    "-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2",
)  # fmt: skip
_OID: Final = bytes.fromhex("06082a8648ce3d040302")  # ecdsa-with-SHA256
_ECDSA: Final = b"\x30\x0a" + _OID
_ECDSA_NULL: Final = b"\x30\x0c" + _OID + b"\x05\x00"
# after TPM_ECC_NIST_P256 and TPM_ALG_NULL, no key derivation
_POINT: Final = re.compile(
    rb"\x00\x03\x00\x10\x00\x20(.{32})\x00\x20(.{32})", re.DOTALL
)
_loaded: list[int] = []  # handles of providers, which stay for the process's life


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


def kind_of(path: Path) -> Where:
    """Return where the private half of a key file really is; BadInput if unreadable."""
    return "tpm2" if TPM_PEM in read_limited(path, KEY_BYTES_MAX) else "file"


def make_key(path: Path, kind: Where) -> None:
    """Make a TLS key; Unavailable where there is no TPM to make one."""
    if kind == "tpm2":
        made = _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256")
        if TPM_PEM not in made:
            raise Unavailable("tpm2", "openssl made another kind of key")
        write_durably(path, made)
    else:
        make_file_key(path)


def csr_of(path: Path, device: str) -> bytes:
    """Return a PKCS#10 request (DER) signed with the key in ``path``, for ``device``.

    ``device``: a checked name, nothing that openssl could take for an option or a part
    of a name.
    """
    if kind_of(path) == "tpm2":
        made = _openssl(
            "req", "-new", "-key", str(path), "-subj", f"/CN={device}",
            "-outform", "DER",
        )  # fmt: skip
        return without_null(made)
    return file_csr(path, device)


def without_null(csr: bytes) -> bytes:
    """Return a request (DER) whose ECDSA signature's algorithm has no parameters.

    tpm2-openssl 1.1 writes a NULL there, which RFC 5758 section 3.2 forbids and strict
    readers refuse. The algorithm stands outside of what is signed.
    """
    head = 2 + (csr[1] & 0x7F if len(csr) > 1 and csr[1] & 0x80 else 0)
    body, wrong, tail = csr[head:].rpartition(_ECDSA_NULL)
    if not wrong:
        return csr
    inner = body + _ECDSA + tail
    size = len(inner)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    if size >= 0x80:
        length = bytes([0x80 | len(length)]) + length
    return b"\x30" + length + inner


def tpm_public(pem: bytes) -> ec.EllipticCurvePublicKey | None:
    """Return the public half of a TPM's P-256 key file; None where it is no such file.

    Its TPM2B_PUBLIC (TPM 2.0 part 2, 12.2.5) has the point: x and y, each 32 bytes
    behind their size. Nothing else of the file is looked at: the TPM does that.
    """
    if TPM_PEM not in pem:
        return None
    text = pem.partition(TPM_PEM)[2].partition(b"-----END")[0]
    try:
        match = _POINT.search(base64.b64decode(b"".join(text.split()), validate=True))
        if match is None:
            return None
        point = b"\x04" + match[1] + match[2]
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:  # no base64, or a point beside the curve
        return None


def prepare(key_file: Path) -> None:
    """Let ``ssl`` use the key: for one of a TPM, load OpenSSL's provider into us.

    BadInput where there is no such provider. Once loaded it stays.
    """
    try:
        body = read_limited(key_file, CHAIN_BYTES_MAX)
    except BadInput:
        return  # ``ssl`` tells it
    if _loaded or TPM_PEM not in body:
        return
    try:
        # the library that ``ssl`` has loaded already, by the name that it has there
        library = ctypes.CDLL("libcrypto.so.3")
    except OSError:
        raise BadInput(str(key_file), "", "needs OpenSSL 3", TPM_HINT) from None
    load, prefer = library.OSSL_PROVIDER_load, library.EVP_set_default_properties
    load.restype, load.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
    prefer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    # The first that is loaded is asked first, so that digests and ciphers stay with
    # OpenSSL itself; but it would take the key's public half and miss the private one.
    handles = [load(None, name) for name in (b"default", b"tpm2")]
    if not all(handles) or prefer(None, b"?tpm2.signature=yes") != 1:
        reason = "is a TPM's, and OpenSSL has no provider tpm2"
        raise BadInput(str(key_file), "", reason, TPM_HINT)
    _loaded.extend(handles)


def _openssl(word: str, *words: str) -> bytes:
    """Return what openssl says with the TPM's provider; Unavailable with its reason."""
    try:
        done = subprocess.run(  # noqa: S603  # fixed words; names are checked, no shell
            [_OPENSSL, word, *_PROVIDERS, *words],
            check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=TPM_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("tpm2", f"openssl: {type(error).__name__}") from None
    if done.returncode != 0:
        raise Unavailable("tpm2", f"openssl {word} failed ({TPM_HINT})")
    return done.stdout
