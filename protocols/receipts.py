"""What a collector has durably: signed by it, verified on the device.

A record leaves the spool on its receipt (DESIGN section 8). msgpack
``[body, signature]``, Ed25519 under the collector's receipt key, which stands in its
recipient card. docs/formats/envelope.md section 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from protocols.envelope import (
    DIGEST_BYTES,
    EPOCH_BYTES,
    SEQUENCE_MAX,
    VERSION,
    pack,
    unpacked,
)
from protocols.errors import WireError
from protocols.signed import open_signed, pack_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RECEIPT: Final = "receipt"
RECEIPT_BYTES_MAX: Final = 256 * 1024
RANGES_MAX: Final = 4096  # of one epoch
EPOCHS_MAX: Final = 4096
LOG_ID_BYTES: Final = 8

Ranges: TypeAlias = "tuple[tuple[int, int], ...]"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the collector has of one device."""

    device: str
    time_ns: int
    epochs: tuple[tuple[bytes, Ranges], ...]  # (epoch, inclusive ranges of sequences)
    log: bytes = b""  # 8 bytes; empty where it has no evidence yet
    evidence_size: int = 0
    evidence_root: bytes = b""  # 32 bytes where log is told


def ranges(sequences: Iterable[int]) -> Ranges:
    """Return the inclusive ranges, rising, that ``sequences`` make up."""
    merged: list[tuple[int, int]] = []
    for number in sorted(set(sequences)):
        if merged and number == merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], number)
        else:
            merged.append((number, number))
    return tuple(merged)


def encode_receipt(receipt: Receipt, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the signed message. Sequence 0 of an epoch is its announcement."""
    epochs = [
        [epoch, [list(span) for span in spans]] for epoch, spans in receipt.epochs
    ]
    body = pack(
        [
            VERSION,
            receipt.device,
            receipt.time_ns,
            epochs,
            receipt.log,
            receipt.evidence_size,
            receipt.evidence_root,
        ]
    )
    return pack_signed(RECEIPT, body, sign)


def open_receipt(message: bytes, public_key: bytes, device: str) -> Receipt:
    """Return a receipt for ``device`` signed with ``public_key``, else WireError.

    The signature is verified before the body is parsed.
    """
    body = open_signed(RECEIPT, message, public_key, RECEIPT_BYTES_MAX)
    receipt = _parse(body)
    if receipt.device != device:
        raise WireError(RECEIPT, "is for another device")
    return receipt


def _parse(body: bytes) -> Receipt:
    match unpacked(RECEIPT, body, RECEIPT_BYTES_MAX, max(RANGES_MAX, EPOCHS_MAX)):
        case [
            int(version), str(device), int(time_ns), list(epochs), bytes(log),
            int(size), bytes(root),
        ]:  # fmt: skip
            pass
        case _:
            raise WireError(RECEIPT, "has not the seven fields")
    if version != VERSION:
        raise WireError(RECEIPT, f"version {version} is not {VERSION}")
    if (len(log), len(root)) not in {(0, 0), (LOG_ID_BYTES, DIGEST_BYTES)}:
        raise WireError(RECEIPT, "log id and root do not fit together")
    if not 0 <= size <= SEQUENCE_MAX:
        raise WireError(RECEIPT, "evidence size out of range")
    return Receipt(device, time_ns, tuple(map(_epoch, epochs)), log, size, root)


def _epoch(row: object) -> tuple[bytes, Ranges]:
    match row:
        case [bytes(epoch), list(spans)] if len(epoch) == EPOCH_BYTES:
            return epoch, tuple(map(_span, spans))
    raise WireError(RECEIPT, "an epoch is not [epoch, ranges]")


def _span(row: object) -> tuple[int, int]:
    match row:
        case [int(first), int(last)] if 0 <= first <= last <= SEQUENCE_MAX:
            return first, last
    raise WireError(RECEIPT, "a range is not [first, last]")
