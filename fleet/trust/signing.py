"""Keys of people and roles: PKCS#8 PEM (0600, passphrase if wanted), and public halves.

``alice.pem`` signs and stays with Alice; roots are made of ``alice.pub.json``.
A passphrase comes from a prompt or a file, never from the command line.
"""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from fleet.errors import BadInput
from fleet.files import read_limited, read_private, write_new, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA: Final = "sluicegate/signer/1"
PEM: Final = ".pem"
PUBLIC: Final = ".pub.json"
FILE_BYTES_MAX: Final = 16 * 1024
NAME_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$(?!\n)"
_KEY_PATTERN: Final = r"^[0-9a-f]{64}$(?!\n)"


class PublicHalf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose key it is, and its 32 bytes in hex."""

    schema: str
    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    ed25519: Annotated[str, msgspec.Meta(pattern=_KEY_PATTERN)]

    def key(self) -> SSlibKey:
        """Return it as TUF metadata hold it."""
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.ed25519))
        return SSlibKey.from_crypto(public)

    @property
    def key_id(self) -> str:
        """Return TUF's id of the key."""
        return str(self.key().keyid)

    @property
    def fingerprint(self) -> str:
        """Return what two people read to each other: 16 digits in fours."""
        digits = self.key_id[:16]
        return " ".join(digits[at : at + 4] for at in range(0, 16, 4))


@dataclass(frozen=True)
class SigningKey:
    """What signs. Never printed: ``repr`` names the owner only."""

    name: str
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"

    def sign(self, message: bytes) -> bytes:
        """Return a 64-byte Ed25519 signature."""
        return self.private.sign(message)

    def public_key(self) -> bytes:
        """Return the 32 bytes of the public half."""
        return self.private.public_key().public_bytes_raw()

    def half(self) -> PublicHalf:
        """Return the public half."""
        return PublicHalf(SCHEMA, self.name, self.public_key().hex())

    def signer(self) -> CryptoSigner:
        """Return it as TUF signs with it."""
        return CryptoSigner(self.private)


class Passphrases:
    """Where passphrases come from: one file for all keys of a command, or a prompt."""

    def __init__(self, file: Path | None = None) -> None:
        """Take the file of ``--passphrase-file``; its first line counts."""
        self._file = file

    def of_file(self) -> bytes | None:
        """Return the file's passphrase; None where there is no file."""
        if self._file is None:
            return None
        line = read_private(self._file, FILE_BYTES_MAX).split(b"\n", 1)[0].rstrip(b"\r")
        if not line:
            raise BadInput(str(self._file), "", "its first line is empty")
        return line

    def ask(self, path: Path) -> bytes:
        """Return the passphrase of a key file; BadInput where nobody can be asked."""
        told = self.of_file()
        if told is not None:
            return told
        if not sys.stdin.isatty():
            hint = "--passphrase-file FILE"
            raise BadInput(str(path), "", "has a passphrase and nobody to ask", hint)
        return getpass.getpass(f"passphrase of {path}: ").encode()


def make_key(name: str, folder: Path, passphrase: bytes | None = None) -> PublicHalf:
    """Make a key and both its files; BadInput where one of them is there already."""
    key = SigningKey(name, Ed25519PrivateKey.generate())
    half = key.half()
    public = folder / f"{name}{PUBLIC}"
    if public.exists():
        raise BadInput(str(public), "", "exists already")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    guard = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, guard)
    write_private(folder / f"{name}{PEM}", pem)
    write_new(public, encode_half(half))
    return half


def load_key(path: Path, passphrases: Passphrases) -> SigningKey:
    """Return the key of a PEM file; BadInput with one clear line, never with a key."""
    data = read_private(path, FILE_BYTES_MAX)
    try:
        try:
            private = load_pem_private_key(data, None)
        except TypeError:  # it is encrypted
            private = load_pem_private_key(data, passphrases.ask(path))
    except TypeError:
        raise BadInput(str(path), "", "has no passphrase", "leave it out") from None
    except ValueError as error:
        wrong = "password" in str(error).lower() or b"ENCRYPTED" in data
        reason = "wrong passphrase" if wrong else "is no private key in PEM"
        raise BadInput(str(path), "", reason) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise BadInput(str(path), "", "is no Ed25519 key")
    return SigningKey(path.name.removesuffix(PEM), private)


def encode_half(half: PublicHalf) -> bytes:
    """Return the file of a public half."""
    return msgspec.json.format(msgspec.json.encode(half), indent=2) + b"\n"


def load_half(path: Path) -> PublicHalf:
    """Return the public half of a file; BadInput otherwise."""
    data = read_limited(path, FILE_BYTES_MAX)
    try:
        half = msgspec.json.decode(data, type=PublicHalf)
    except (msgspec.DecodeError, UnicodeDecodeError):
        hint = f"{PUBLIC} files are made by `sluicectl keys person`"
        raise BadInput(str(path), "", "is no public half of a signer", hint) from None
    if half.schema != SCHEMA:
        raise BadInput(str(path), "schema", f"is not {SCHEMA}")
    return half


def find_key(
    folder: Path, key_ids: Iterable[str], what: str, asked: Passphrases
) -> SigningKey:
    """Return the first key of a folder that ``key_ids`` name; BadInput where none is.

    Public halves are looked at; only the one private file is opened.
    """
    wanted = set(key_ids)
    for path in sorted(folder.glob(f"*{PUBLIC}")):
        pem = path.with_name(path.name.removesuffix(PUBLIC) + PEM)
        if pem.exists() and load_half(path).key_id in wanted:
            return load_key(pem, asked)
    raise BadInput(
        str(folder), "", f"holds no key that signs as {what}", "--keys FOLDER"
    )
