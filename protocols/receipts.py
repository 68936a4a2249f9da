"""Receipts: a collector says, signed, what it has durably (DESIGN section 8).

Body, msgpack: ``[1, device, time ns, [[epoch, [first, last, ...]], ...], log id,
evidence size, evidence root]``. Sequences are inclusive ranges, flat; sequence 0 stands
for the epoch's announcement. Signed for the purpose ``receipt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgpack

from protocols.errors import WireError
from protocols.signed import open_signed, pack_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VERSION: Final = 1
WHAT: Final = "receipt"
EPOCH_BYTES: Final = 16
EPOCHS_MAX: Final = 4096
SEQUENCES_MAX: Final = (
    1_000_000  # in one receipt: a range is small, what it says is not
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a collector has of one device."""

    device: str
    time_ns: int
    epochs: tuple[tuple[bytes, tuple[tuple[int, int], ...]], ...]
    log: bytes = b""  # 8 bytes, or empty: says nothing about evidence
    evidence_size: int = 0
    evidence_root: bytes = b""

    def sequences(self) -> tuple[tuple[bytes, tuple[int, ...]], ...]:
        """Return every sequence, per epoch (bounded by SEQUENCES_MAX at parsing)."""
        return tuple(
            (epoch, tuple(n for low, high in spans for n in range(low, high + 1)))
            for epoch, spans in self.epochs
        )


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return sorted inclusive ranges that hold exactly ``numbers``."""
    spans: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] + 1 == number:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return tuple(spans)


def sign_receipt(receipt: Receipt, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the message of a receipt; ``sign`` gives 64-byte Ed25519 signatures."""
    body = [
        VERSION,
        receipt.device,
        receipt.time_ns,
        [
            [epoch, [n for span in spans for n in span]]
            for epoch, spans in receipt.epochs
        ],
        receipt.log,
        receipt.evidence_size,
        receipt.evidence_root,
    ]
    encoded = msgpack.packb(body, use_bin_type=True)
    assert isinstance(encoded, bytes)
    return pack_signed(WHAT, encoded, sign)


def open_receipt(message: bytes, public_key: bytes) -> Receipt:
    """Return a receipt whose signature holds under ``public_key``; WireError else."""
    body = open_signed(WHAT, message, public_key)
    try:
        parts = msgpack.unpackb(body, raw=False, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException, RecursionError):
        raise WireError(WHAT, "not msgpack") from None
    match parts:
        case [
            int(version), str(device), int(time_ns), list(epochs), bytes(log),
            int(size), bytes(root),
        ]:  # fmt: skip
            pass
        case _:
            raise WireError(WHAT, "not the seven fields of a receipt")
    if version != VERSION:
        raise WireError(WHAT, f"version {version} is not {VERSION}")
    if len(epochs) > EPOCHS_MAX or size < 0:
        raise WireError(WHAT, "too many epochs, or a size below zero")
    return Receipt(device, time_ns, _epochs(epochs), log, size, root)


def _epochs(
    epochs: list[object],
) -> tuple[tuple[bytes, tuple[tuple[int, int], ...]], ...]:
    found = []
    total = 0
    for one in epochs:
        match one:
            case [bytes(epoch), list(flat)] if len(epoch) == EPOCH_BYTES:
                pass
            case _:
                raise WireError(WHAT, "an epoch is not [16 bytes, ranges]")
        if len(flat) % 2 or not all(isinstance(n, int) and n >= 0 for n in flat):
            raise WireError(WHAT, "ranges are not pairs of numbers")
        spans = tuple(zip(flat[::2], flat[1::2], strict=True))
        if any(high < low for low, high in spans):
            raise WireError(WHAT, "a range ends before it begins")
        total += sum(high - low + 1 for low, high in spans)
        if total > SEQUENCES_MAX:
            raise WireError(WHAT, f"more than {SEQUENCES_MAX} sequences")
        found.append((epoch, spans))
    return tuple(found)
