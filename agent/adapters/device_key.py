"""The device's Ed25519 key in a file of its own, made at the first start.

PKCS#8 PEM (RFC 8410), mode 0600, owned by the daemon's user. It appears under its name
only when it is whole and on the disk, so a power cut leaves no key or a good one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.adapters.credentials import is_credential
from agent.adapters.files import make_once
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES_MAX: Final = 4096
OTHERS: Final = 0o077


class DeviceKey:
    """Implements ``agent.ports.Signer``. Never shows its private half."""

    def __init__(self, device: str, key: Ed25519PrivateKey) -> None:
        """Take the device's name and its key."""
        self.device = device
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature (RFC 8032)."""
        return self._key.sign(message)

    def public_key(self) -> bytes:
        """Return the 32-byte Ed25519 public key."""
        return self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        """Name the device and nothing else."""
        return f"DeviceKey({self.device!r})"


def load_or_create(path: Path, device: str) -> DeviceKey:
    """Return the key in ``path``, made now where there is none.

    Raises:
        BadInput: somebody else can read it, or it is no Ed25519 key.
        Unavailable: the folder is absent, read-only or full.
    """
    with contextlib.suppress(FileNotFoundError):
        return DeviceKey(device, _parsed(path, _read(path)))
    _create(path)
    return DeviceKey(device, _parsed(path, _read(path)))


def load(path: Path, device: str) -> DeviceKey:
    """Return the key in ``path``; BadInput where there is none, as it is not ours."""
    try:
        return DeviceKey(device, _parsed(path, _read(path)))
    except FileNotFoundError:
        hint = "bring the file back: no other key is made in its place"
        raise BadInput(str(path), "", "No such file or directory", hint) from None


def _read(path: Path) -> bytes:
    """Return the file's bytes; what is checked is the very file that is read."""
    try:
        # O_NONBLOCK: a pipe put in its place must not hold up the start
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(str(path), "", error.strerror or "cannot be read") from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise BadInput(str(path), "", "not a regular file")
        if is_credential(path, facts.st_mode, facts.st_uid):
            return os.read(handle, KEY_BYTES_MAX + 1)
        if facts.st_mode & OTHERS:
            mode = stat.S_IMODE(facts.st_mode)
            raise BadInput(
                str(path), "", f"others may use it (mode {mode:04o})", "chmod 600"
            )
        if facts.st_uid != os.geteuid():
            raise BadInput(str(path), "", "owned by another user")
        return os.read(handle, KEY_BYTES_MAX + 1)
    finally:
        os.close(handle)


def _parsed(path: Path, body: bytes) -> Ed25519PrivateKey:
    if len(body) > KEY_BYTES_MAX:
        raise BadInput(str(path), "", f"larger than {KEY_BYTES_MAX} bytes")
    try:
        key = serialization.load_pem_private_key(body, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(str(path), "", "not an Ed25519 key in PKCS#8 PEM")
    return key


def _create(path: Path) -> None:
    try:
        make_once(path, _made)
    except OSError as error:
        reason = f"{path.name}: {error.strerror}"
        raise Unavailable("device key", reason) from None


def _made() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
