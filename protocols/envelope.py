"""A batch on the wire, sealed or in the open but signed.

msgpack ``[header bytes, ciphertext]``, or ``[header bytes, content, signature]``;
docs/formats/envelope.md sections 3 to 5.

The header bytes as sent are the associated data of the AEAD (AES-256-GCM); they are
never encoded again. The nonce is the sequence number, and a key never outlives its
process, so no (key, nonce) pair occurs twice. This module makes and reads the frame and
derives keys; sealing is ``agent/protection``'s, opening is the fleet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgpack
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import WireError
from protocols.labels import unpack
from protocols.signed import SIGNATURE_BYTES, domain

VERSION: Final = 1
OPEN: Final = "open"
X25519: Final = "x25519-aes256gcm"
MLKEM768X25519: Final = "mlkem768x25519-aes256gcm"
SUITES: Final = {OPEN: 0, X25519: 1, MLKEM768X25519: 2}  # 3: sm2-sm4gcm, later
SUITE_NAMES: Final = {code: name for name, code in SUITES.items()}

MESSAGE_BYTES_MAX: Final = 1024 * 1024
HEADER_BYTES_MAX: Final = 512
EPOCH_BYTES: Final = 16
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
DIGEST_BYTES: Final = 32
NAME_BYTES_MAX: Final = 128  # device and destination names, as UTF-8
SEQUENCE_MAX: Final = 2**63 - 1
BATCH: Final = "batch"  # the domain of an open batch's signature


@dataclass(frozen=True, slots=True)
class Header:
    """What anybody may read of a batch; authenticated with its content."""

    suite: str
    device: str
    epoch: bytes  # 16 random bytes; (device, epoch, sequence) names the batch for ever
    sequence: int  # 1, 2, 3 ... within the epoch
    policy: bytes  # SHA-256 of the policy that decided, 32 bytes
    label: int  # packed label (protocols.labels)
    destination: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed batch; nothing of it is authenticated yet."""

    header: Header
    header_bytes: bytes  # as sent: the associated data
    body: bytes  # ciphertext and 16-byte tag; the content itself where suite is open
    signature: bytes  # 64 bytes where suite is open, else empty


@dataclass(frozen=True, slots=True)
class EpochKeys:
    """What the data key of an epoch gives."""

    key: bytes  # AES-256-GCM
    commitment: bytes  # announced; tells whether a data key is the epoch's one key


def derive_keys(data_key: bytes, suite: str, device: str, epoch: bytes) -> EpochKeys:
    """Return AEAD key and commitment: HKDF-SHA-256 (RFC 5869) with two info strings.

    AES-GCM does not commit to its key; who checks the commitment first cannot be shown
    two different plaintexts of one ciphertext by two data keys.
    """
    context = pack([SUITES[suite], device, epoch])

    def expand(what: str) -> bytes:
        info = domain(what) + context
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(data_key)

    return EpochKeys(expand("batch-key"), expand("key-commitment"))


def nonce(sequence: int) -> bytes:
    """Return the 96-bit nonce of a sequence number: 4 zero bytes, 8 big-endian."""
    return bytes(4) + sequence.to_bytes(8, "big")


def open_signing_body(header_bytes: bytes, content: bytes) -> bytes:
    """Return what the signature of an open batch covers (behind its domain prefix)."""
    return pack([header_bytes, content])


def encode_header(header: Header) -> bytes:
    """Return the header's bytes."""
    return pack(
        [
            VERSION,
            SUITES[header.suite],
            header.device,
            header.epoch,
            header.sequence,
            header.policy,
            header.label,
            header.destination,
            header.created_ns,
        ]
    )


def encode_envelope(header_bytes: bytes, body: bytes, signature: bytes = b"") -> bytes:
    """Return the message of a sealed batch, or of an open one with its signature."""
    return pack([header_bytes, body, signature] if signature else [header_bytes, body])


def parse_envelope(message: bytes, bytes_max: int = MESSAGE_BYTES_MAX) -> Envelope:
    """Return the batch's parts; WireError where the format forbids the bytes."""
    if len(message) > bytes_max:
        raise WireError("envelope", f"larger than {bytes_max} bytes")
    match unpacked("envelope", message, bytes_max):
        case [bytes(header_bytes), bytes(body)]:
            signature = b""
        case [bytes(header_bytes), bytes(body), bytes(signature)] if (
            len(signature) == SIGNATURE_BYTES
        ):
            pass
        case _:
            raise WireError("envelope", "is not [header, body(, signature)]")
    header = _parse_header(header_bytes)
    if (header.suite == OPEN) != bool(signature):
        raise WireError("envelope", "suite and signature do not fit together")
    if header.suite != OPEN and len(body) < TAG_BYTES:
        raise WireError("envelope", "the body is shorter than a tag")
    return Envelope(header, header_bytes, body, signature)


def _parse_header(header_bytes: bytes) -> Header:
    if len(header_bytes) > HEADER_BYTES_MAX:
        raise WireError("envelope header", f"larger than {HEADER_BYTES_MAX} bytes")
    match unpacked("envelope header", header_bytes, HEADER_BYTES_MAX):
        case [
            int(version), int(suite), str(device), bytes(epoch), int(sequence),
            bytes(policy), int(label), str(destination), int(created_ns),
        ]:  # fmt: skip
            pass
        case _:
            raise WireError("envelope header", "has not the nine fields")
    if version != VERSION:
        raise WireError("envelope header", f"version {version} is not {VERSION}")
    if not 1 <= sequence <= SEQUENCE_MAX or len(policy) != DIGEST_BYTES:
        raise WireError("envelope header", "sequence or policy digest out of range")
    if not -(2**63) <= created_ns < 2**63:
        raise WireError("envelope header", "time out of range")
    check_place("envelope header", device, epoch, destination, label)
    name = suite_name("envelope header", suite)
    return Header(name, device, epoch, sequence, policy, label, destination, created_ns)


def suite_name(what: str, code: int) -> str:
    """Return the suite of a code; WireError where there is none. Never a fallback."""
    name = SUITE_NAMES.get(code)
    if name is None:
        raise WireError(what, f"unknown suite {code}")
    return name


def check_place(
    what: str, device: str, epoch: bytes, destination: str, label: int
) -> None:
    """Return where the four are in range, else WireError."""
    if len(epoch) != EPOCH_BYTES:
        raise WireError(what, f"an epoch of {len(epoch)} bytes")
    for name in (device, destination):
        if not 1 <= len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
            raise WireError(what, "a name is empty or too long")
    try:
        unpack(label)
    except ValueError:
        raise WireError(what, "no such label") from None


def pack(parts: list[object]) -> bytes:
    """Return msgpack of ``parts`` in the shortest form of every element."""
    encoded = msgpack.packb(parts)
    assert isinstance(encoded, bytes)
    return encoded


def _no_extension(code: int, data: bytes) -> object:
    """Refuse what no format here has; a timestamp comes as a type that no field is."""
    raise ValueError(f"extension {code} of {len(data)} bytes")


def unpacked(what: str, data: bytes, bytes_max: int, array_max: int = 16) -> object:
    """Return what msgpack ``data`` holds; WireError where it is broken or too large."""
    try:
        body: object = msgpack.unpackb(
            data,
            max_array_len=array_max,
            max_bin_len=bytes_max,
            max_str_len=bytes_max,
            max_map_len=0,
            ext_hook=_no_extension,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(what, f"is not msgpack: {type(error).__name__}") from None
    return body
