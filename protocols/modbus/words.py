"""Registers and coils of one PDU: bytes to small integers and back."""

from __future__ import annotations

from struct import Struct, pack
from typing import Final

_WORDS: Final = [Struct(f">{count}H").unpack_from for count in range(128)]  # of a PDU


def words(data: bytes) -> tuple[int, ...]:
    """Return registers, which travel big-endian (V1.1b3 clause 4.2)."""
    return _WORDS[len(data) // 2](data)


def packed(registers: tuple[int, ...]) -> bytes:
    """Return registers as they travel."""
    return pack(f">{len(registers)}H", *registers)


def bits(data: bytes, count: int) -> tuple[int, ...]:
    """Return coils as 0/1: the first is the lowest bit of the first byte (6.1)."""
    number = int.from_bytes(data, "little")
    return tuple(number >> place & 1 for place in range(count))
