"""The enrolled devices: one JSON file each, with the public key that its owner vouches.

Whoever can write this folder can enrol a device; the key is compared by people when the
device is installed (``sluicegate doctor`` prints it).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fleet.errors import BadInput
from fleet.files import read_limited, replace, write_new
from protocols.errors import WireError
from protocols.topics import check_name

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = "sluicegate/device/1"
SUFFIX: Final = ".device.json"
FILE_BYTES_MAX: Final = 4096
KEY_BYTES: Final = 32
DEVICES_MAX: Final = 1_000_000


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    device: str
    ed25519: str  # base64, 32 bytes
    retired: str = ""  # the day from which nothing of it is taken any more


@dataclass(frozen=True, slots=True)
class Device:
    """A device that was enrolled: its Ed25519 key (32 bytes); retired since a day."""

    key: bytes
    retired: str = ""


def public_key(text: str, file: str = "", place: str = "public key") -> bytes:
    """Return the 32 bytes of a base64 Ed25519 public key; BadInput if it is none."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(file, place, "is not base64") from None
    if len(found) != KEY_BYTES:
        raise BadInput(file, place, f"has {len(found)} bytes, not {KEY_BYTES}")
    return found


def add_device(folder: Path, device: str, key: bytes) -> Path:
    """Enrol a device; BadInput where it is enrolled already or the name is none."""
    try:
        check_name("device", device)
    except WireError as error:
        raise BadInput("", "device", error.reason) from None
    form = _File(SCHEMA, device, base64.b64encode(key).decode("ascii"))
    path = folder / f"{device}{SUFFIX}"
    write_new(path, msgspec.json.format(msgspec.json.encode(form), indent=2) + b"\n")
    return path


def retire_device(folder: Path, device: str, day: str) -> None:
    """Take no more from a device, from ``day`` on; its history can still be checked.

    BadInput where it is not enrolled, or was retired before.
    """
    known = load_registry(folder).get(device)
    if known is None:
        raise BadInput(str(folder), "device", f"{device!r} is not enrolled")
    if known.retired:
        raise BadInput(
            str(folder), "device", f"{device!r} is retired ({known.retired})"
        )
    key = base64.b64encode(known.key).decode("ascii")
    form = _File(SCHEMA, device, key, day)
    body = msgspec.json.format(msgspec.json.encode(form), indent=2) + b"\n"
    replace(folder / f"{device}{SUFFIX}", body)


def load_devices(folder: Path, *, retired: bool = False) -> dict[str, bytes]:
    """Return device -> Ed25519 public key; with ``retired``, of those that were, too.

    Whoever takes something from devices leaves them out; whoever checks what they said
    needs them. BadInput names the bad file.
    """
    return {
        name: one.key
        for name, one in load_registry(folder).items()
        if retired or not one.retired
    }


def load_registry(folder: Path) -> dict[str, Device]:
    """Return every device that was ever enrolled; BadInput names the bad file."""
    if not folder.is_dir():
        raise BadInput(
            str(folder), "", "no such folder of devices", "see `sluicectl devices add`"
        )
    return {
        path.name.removesuffix(SUFFIX): _load(path)
        for path in sorted(folder.glob(f"*{SUFFIX}"))[:DEVICES_MAX]
    }


def load_device(folder: Path, device: str) -> bytes | None:
    """Return the key of one device; None where it is not enrolled, or retired."""
    path = folder / f"{check_name('device', device)}{SUFFIX}"
    found = _load(path) if path.exists() else None
    return None if found is None or found.retired else found.key


def _load(path: Path) -> Device:
    try:
        form = msgspec.json.decode(read_limited(path, FILE_BYTES_MAX), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), "", str(error)) from None
    if form.schema != SCHEMA:
        raise BadInput(str(path), "schema", f"is not {SCHEMA}")
    if form.device != path.name.removesuffix(SUFFIX):
        raise BadInput(str(path), "device", "is not the name of the file")
    key = public_key(form.ed25519, str(path), "ed25519")
    return Device(key, form.retired)


def key_beside(store: Path | None) -> bytes:
    """Return the public key of the device key that lies beside a store.

    `sluicegate scan` leaves ``NAME.key`` there, the daemon ``device.key``. Empty where
    there is none: then somebody else has to vouch for the key.
    """
    if store is None:
        return b""
    for path in (store.with_suffix(".key"), store.with_name("device.key")):
        if path.is_file():
            return _public_half(path)
    return b""


def _public_half(path: Path) -> bytes:
    try:
        key = load_pem_private_key(read_limited(path, FILE_BYTES_MAX), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadInput(str(path), "", "is no Ed25519 key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(str(path), "", "is no Ed25519 key")
    return key.public_key().public_bytes_raw()
