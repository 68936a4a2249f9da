"""Receipts that are believed, and those that are not."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.uplink.receipt import apply_receipt
from protocols.errors import WireError
from protocols.receipts import RECEIPT_BYTES_MAX, Receipt, encode_receipt

LOG = b"log-id-8"
EPOCH = bytes(16)


class Collector:
    device = "collector"

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


COLLECTOR = Collector(1)


def receipt(device: str = "gw-1", log: bytes = LOG, size: int = 3) -> bytes:
    epochs = ((EPOCH, ((0, 2), (5, 5))),)
    root = b"r" * 32 if log else b""
    return encode_receipt(Receipt(device, 99, epochs, log, size, root), COLLECTOR.sign)


def test_a_receipt_confirms_sequences_and_evidence() -> None:
    found = apply_receipt(receipt(), COLLECTOR.public_key(), "gw-1", LOG)
    assert found.epochs == ((EPOCH, range(3)), (EPOCH, range(5, 6)))
    assert found.evidence == (3, b"r" * 32)


@pytest.mark.parametrize(("log", "size"), [(b"before!!", 3), (b"", 0), (LOG, 0)])
def test_another_logs_evidence_says_nothing(log: bytes, size: int) -> None:
    message = receipt(log=log, size=size)
    found = apply_receipt(message, COLLECTOR.public_key(), "gw-1", LOG)
    assert found.evidence is None
    assert found.epochs


def test_what_is_not_ours_or_not_signed_is_not_believed() -> None:
    key = COLLECTOR.public_key()
    with pytest.raises(WireError, match="another device"):
        apply_receipt(receipt("gw-2"), key, "gw-1", LOG)
    with pytest.raises(WireError, match="larger"):
        apply_receipt(bytes(RECEIPT_BYTES_MAX + 1), key, "gw-1", LOG)
    with pytest.raises(WireError):
        apply_receipt(receipt(), Collector(2).public_key(), "gw-1", LOG)
    with pytest.raises(WireError):
        apply_receipt(b"", key, "gw-1", LOG)


def test_no_flipped_bit_is_believed() -> None:
    good = receipt()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(WireError):
            apply_receipt(bytes(bad), COLLECTOR.public_key(), "gw-1", LOG)
