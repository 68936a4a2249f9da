"""What a receipt from the collector confirms, once it is believed. Pure.

To believe a receipt: bounded size, signed by the collector's key, well formed, about
this device; ``protocols.receipts.open_receipt`` checks in that order. What it says
about evidence counts for the log it names only: a receipt of the log before a break
says nothing about the one that is written now.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.receipts import open_receipt


@dataclass(frozen=True, slots=True)
class Confirmations:
    """What the store is to do: ``confirm`` each epoch, then ``evidence_receipted``."""

    epochs: tuple[tuple[bytes, range], ...]  # (epoch, sequences), 0: announcement
    evidence: tuple[int, bytes] | None  # (size, root) of our log; None: says nothing


def apply_receipt(
    message: bytes, public_key: bytes, device: str, log_id: bytes
) -> Confirmations:
    """Return what ``message`` confirms for ``device`` and its log ``log_id``.

    Args:
        message: the receipt as received.
        public_key: 32 bytes, Ed25519, of the collector that the owner configured.
        device: our name.
        log_id: 8 bytes, of the log that is written now.

    Raises:
        WireError: too large, not signed by that key, no receipt, of another device.
    """
    receipt = open_receipt(message, public_key, device)
    ours = receipt.log == log_id and receipt.evidence_size > 0
    return Confirmations(
        tuple(
            # a range, not its numbers: what a receipt may say has no bound
            (epoch, range(first, last + 1))
            for epoch, spans in receipt.epochs
            for first, last in spans
        ),
        (receipt.evidence_size, receipt.evidence_root) if ours else None,
    )
