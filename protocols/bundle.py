"""A policy bundle: the files of one TUF repository in one MQTT message.

msgpack ``[1, {name: bytes}]`` in one possible form: names rising, every element in its
shortest form, nothing behind it. Names are TUF's without their folders
(``3.root.json``, ``timestamp.json``, ``<sha256 hex>.policy.yaml``). The renewal on
``sg/1/<fleet>/policy/timestamp`` is a bundle of ``timestamp.json`` alone.
docs/formats/trust.md section 2. Nothing here is authenticated: ``policies.trust`` is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgpack

from protocols.errors import WireError
from protocols.signed import SIGNED_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
BUNDLE: Final = "bundle"
BUNDLE_BYTES_MAX: Final = 1400 * 1024
FILES_MAX: Final = 128
NAME_BYTES_MAX: Final = 160
NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,159}")
TIMESTAMP: Final = "timestamp.json"

assert BUNDLE_BYTES_MAX < SIGNED_BYTES_MAX  # what devices take as one message


class BundleError(WireError):
    """A message that is no bundle; ``rule`` is the stable word for why."""

    def __init__(self, rule: str, reason: str) -> None:
        """Keep the rule (one of ``policies.trust.RULES``) and the reason apart."""
        super().__init__(BUNDLE, reason)
        self.rule = rule


def encode_bundle(files: Mapping[str, bytes]) -> bytes:
    """Return the message of ``files``; BundleError where one cannot be made of them."""
    for name in files:
        _check_name(name)
    if len(files) > FILES_MAX:
        raise BundleError("size", f"more than {FILES_MAX} files")
    message = msgpack.packb([VERSION, dict(sorted(files.items()))])
    assert isinstance(message, bytes)
    if len(message) > BUNDLE_BYTES_MAX:
        raise BundleError("size", f"larger than {BUNDLE_BYTES_MAX} bytes")
    return message


def parse_bundle(message: bytes) -> dict[str, bytes]:
    """Return the files of a bundle; BundleError where it is none.

    Size is looked at before anything is parsed; counts and lengths while parsing.
    """
    if len(message) > BUNDLE_BYTES_MAX:
        raise BundleError("size", f"larger than {BUNDLE_BYTES_MAX} bytes")
    match _unpacked(message):
        case [int(version), dict(found)] if version == VERSION:
            pass
        case [int(version), *_] if version != VERSION:
            raise BundleError("format", f"version {version} is not {VERSION}")
        case _:
            raise BundleError("format", "is not [1, files]")
    files: dict[str, bytes] = {}
    for name, body in found.items():
        if not (isinstance(name, str) and isinstance(body, bytes)):
            raise BundleError("format", "a file is not name and bytes")
        files[_check_name(name)] = body
    if encode_bundle(files) != message:
        raise BundleError("non-canonical", "has another form than its one")
    return files


def _unpacked(message: bytes) -> object:
    try:
        found: object = msgpack.unpackb(
            message,
            max_array_len=2,
            max_map_len=FILES_MAX,
            max_bin_len=BUNDLE_BYTES_MAX,
            max_str_len=NAME_BYTES_MAX,
            max_ext_len=0,
            list_hook=_flat,
            object_hook=_flat,
        )
    except BundleError:
        raise
    except msgpack.ExtraData:
        raise BundleError("non-canonical", "bytes behind its end") from None
    except msgpack.StackError:
        raise BundleError("depth", "is nested") from None
    except (ValueError, msgpack.UnpackException) as error:
        # msgpack tells these apart by its text only
        text = str(error)
        if "incomplete" in text:
            raise BundleError("cut", "is cut off") from None
        if "exceeds max" in text:
            raise BundleError(
                "size", "a name, a file or their number is too large"
            ) from None
        raise BundleError("format", f"no msgpack: {type(error).__name__}") from None
    return found


def _flat(found: list[object] | dict[object, object]) -> object:
    """Return a list or map that may stand in a bundle; BundleError otherwise.

    The inner ones are complete first: a message of nothing but small lists is refused
    at the first of them, before they have taken forty times its size.
    """
    if isinstance(found, dict):
        is_flat = all(isinstance(one, bytes) for one in found.values())
    else:
        is_flat = not found or isinstance(found[0], int)
        is_flat &= not any(isinstance(one, list) for one in found)
    if not is_flat:
        raise BundleError("format", "is not [1, files], or a file is not bytes")
    return found


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise BundleError("format", f"a file's name does not match {NAME.pattern}")
    return name
