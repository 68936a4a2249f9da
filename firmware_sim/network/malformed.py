"""Requests by hand: one for each Problem that can be shown over TCP, and probes.

CHECKSUM needs a serial line. Problems of replies are in ``middle.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from firmware_sim.network.pdus import read, write_coils, write_one, write_registers
from protocols.modbus.exchanges import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where no device has anything: a probe of a writing function changes nothing.
NOWHERE: Final = 0xEE00
_PROBES: Final[dict[int, bytes]] = {
    **{code: read(code, 0, 1) for code in (1, 2, 3, 4)},
    5: write_one(5, NOWHERE, 0xFF00),
    6: write_one(6, NOWHERE, 1),
    8: bytes((8, 0, 0, 0xEE, 1)),  # echo
    15: write_coils(NOWHERE, [1]),
    16: write_registers(NOWHERE, [1]),
    20: struct.pack(">BBBHHH", 20, 7, 6, 1, 0, 1),
    21: struct.pack(">BBBHHHH", 21, 9, 6, 1, 0, 1, 0),
    22: struct.pack(">BHHH", 22, NOWHERE, 0xFFFF, 0),
    23: struct.pack(">BHHHHBH", 23, 0, 1, NOWHERE, 1, 2, 1),
    24: struct.pack(">BH", 24, NOWHERE),
    43: bytes((43, 14, 1, 0)),
    **{code: bytes((code,)) for code in (7, 11, 12, 17)},
}


def probe(function: int) -> bytes:
    """Return a well-formed request of any function that changes nothing."""
    return _PROBES.get(function, bytes((function, 0, 1)))


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what is wrong with it."""

    pdu: bytes
    problems: int
    tid: int | None = None
    protocol: int = 0
    joined: bool = False
    waits: bool = True


def malformed() -> Iterator[tuple[Case, ...]]:
    """Yield each class: what is sent at once."""
    yield (Case(read(3, 0, 2), Problem.PROTOCOL, protocol=0x4D42),)
    yield (Case(read(3, 0, 2)[:3], Problem.LENGTH),)
    yield (Case(read(3, 0, 126), Problem.QUANTITY),)
    yield (Case(read(3, 0, 0), Problem.QUANTITY),)
    yield (Case(read(3, 65530, 10), Problem.RANGE),)
    lying = struct.pack(">BHHBHHH", 16, 0, 2, 6, 1, 2, 3)
    yield (Case(lying, Problem.BYTE_COUNT),)
    yield (Case(write_one(5, 0, 0x1234), Problem.VALUE),)
    yield (Case(bytes((66, 1, 2, 3)), Problem.UNKNOWN),)
    twice = read(3, 0, 2)
    yield (
        Case(twice, 0, tid=0x7777, joined=True, waits=False),
        Case(twice, Problem.REPEATED, tid=0x7777, waits=False),
    )
