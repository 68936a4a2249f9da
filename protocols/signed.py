"""Ed25519 with one domain per kind of message, so that none can pass for another.

The signed bytes are ``sluicegate/1/<what>``, a zero byte and the message's body as it
was sent: nothing is encoded again before it is verified. On the wire: msgpack
``[body, signature]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE_BYTES: Final = 64  # RFC 8032 section 5.1.6
SIGNED_BYTES_MAX: Final = 1536 * 1024  # the largest MQTT message that we take


def signing_input(what: str, body: bytes) -> bytes:
    """Return the bytes that are signed for ``body`` of a message of kind ``what``."""
    return domain(what) + body


def domain(what: str) -> bytes:
    """Return the prefix of a kind: no prefix is the beginning of another."""
    return f"sluicegate/1/{what}\0".encode()


def verify(what: str, body: bytes, signature: bytes, public_key: bytes) -> None:
    """Return where the signature holds (RFC 8032 section 5.1.7), else WireError.

    ``public_key``: the 32 bytes of the signer that the caller trusts for this message.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(signature, signing_input(what, body))
    except (InvalidSignature, ValueError):
        raise WireError(what, "the signature does not hold") from None


def pack_signed(what: str, body: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the message of ``body``; ``sign`` gives 64-byte Ed25519 signatures."""
    encoded = msgpack.packb([body, sign(signing_input(what, body))])
    assert isinstance(encoded, bytes)
    return encoded


def open_signed(
    what: str, message: bytes, public_key: bytes, bytes_max: int = SIGNED_BYTES_MAX
) -> bytes:
    """Return the body of a message whose signature holds; WireError otherwise."""
    body, signature = split_signed(what, message, bytes_max)
    verify(what, body, signature, public_key)
    return body


def split_signed(
    what: str, message: bytes, bytes_max: int = SIGNED_BYTES_MAX
) -> tuple[bytes, bytes]:
    """Return body and signature, NOT verified; WireError where the message is none."""
    if len(message) > bytes_max:
        raise WireError(what, f"larger than {bytes_max} bytes")
    try:
        parts = msgpack.unpackb(message, max_array_len=2, max_bin_len=bytes_max)
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(what, f"is not msgpack: {type(error).__name__}") from None
    match parts:
        case [bytes(body), bytes(signature)] if len(signature) == SIGNATURE_BYTES:
            return body, signature
    raise WireError(what, "is not [body, signature]")
