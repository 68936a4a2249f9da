"""PDUs by hand, and what a request asks for: written from V1.1b3, clause 6.

The product's codec is not used on purpose: what the simulator writes is what that codec
is tested against.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from protocols.modbus.exchanges import NO_SUB
from protocols.modbus.functions import is_write

if TYPE_CHECKING:
    from collections.abc import Sequence

MBAP: Final = struct.Struct(">HHHB")
_TWO: Final = struct.Struct(">BHH")


def adu(tid: int, unit: int, pdu: bytes, protocol: int = 0) -> bytes:
    """Return a PDU behind its MBAP header."""
    return MBAP.pack(tid, protocol, len(pdu) + 1, unit) + pdu


def read(function: int, address: int, count: int) -> bytes:
    """Return a request of 1 to 4."""
    return _TWO.pack(function, address, count)


def write_one(function: int, address: int, value: int) -> bytes:
    """Return a request of 5 (value FF00 or 0000) or 6."""
    return _TWO.pack(function, address, value)


def write_registers(address: int, values: Sequence[int]) -> bytes:
    """Return a request of 16."""
    size = len(values)
    return struct.pack(f">BHHB{size}H", 16, address, size, 2 * size, *values)


def write_coils(address: int, values: Sequence[int]) -> bytes:
    """Return a request of 15."""
    packed = pack_bits(values)
    return struct.pack(">BHHB", 15, address, len(values), len(packed)) + packed


def write(function: int, address: int, values: Sequence[int]) -> bytes:
    """Return a request of 5, 6, 15 or 16; coils as 0 and 1."""
    if function == 5:
        return write_one(5, address, 0xFF00 if values[0] else 0)
    if function == 6:
        return write_one(6, address, values[0])
    if function == 15:
        return write_coils(address, values)
    return write_registers(address, values)


def identification(code: int = 1, start: int = 0) -> bytes:
    """Return a request of 43/14 (clause 6.21)."""
    return bytes((43, 14, code, start))


def diagnostics(sub: int, data: int = 0) -> bytes:
    """Return a request of 8 (clause 6.8)."""
    return _TWO.pack(8, sub, data)


def exception(function: int, code: int) -> bytes:
    """Return an exception reply (clause 7)."""
    return bytes((function | 0x80, code))


def pack_bits(bits: Sequence[int]) -> bytes:
    """Return bits as bytes, the first the least significant (clause 6.1)."""
    return bytes(
        sum((bit & 1) << place for place, bit in enumerate(bits[at : at + 8]))
        for at in range(0, len(bits), 8)
    )


def unpack_bits(data: bytes, count: int) -> list[int]:
    """Return ``count`` bits of bytes."""
    return [data[place >> 3] >> (place & 7) & 1 for place in range(count)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, as far as its bytes tell; 0 where they do not."""

    function: int
    sub: int
    address: int
    count: int
    write_address: int
    write_count: int
    is_write: bool


_WRITTEN: Final = frozenset({5, 6, 15, 16, 22})


@lru_cache(maxsize=4096)
def asked(pdu: bytes) -> Asked:
    """Return what a request asks for; never raises."""
    function = pdu[0]
    sub = NO_SUB
    if function == 8 and len(pdu) >= 3:
        sub = int.from_bytes(pdu[1:3], "big")
    if function == 43 and len(pdu) >= 3:
        sub = pdu[1] << 8 | pdu[2]
    address, count, write_address, write_count = _extent(function, pdu)
    return Asked(
        function, sub, address, count, write_address, write_count,
        is_write(function, sub),
    )  # fmt: skip


def _extent(function: int, pdu: bytes) -> tuple[int, int, int, int]:
    if function == 24 and len(pdu) >= 3:
        return int.from_bytes(pdu[1:3], "big"), 1, 0, 0  # one queue
    if function not in {1, 2, 3, 4, 5, 6, 15, 16, 22, 23} or len(pdu) < 5:
        return 0, 0, 0, 0
    _, address, second = _TWO.unpack_from(pdu)
    count = 1 if function in {5, 6, 22} else second
    if function in _WRITTEN:
        return address, count, address, count
    if function == 23 and len(pdu) >= 9:
        return address, count, *struct.unpack_from(">HH", pdu, 5)
    return address, count, 0, 0
