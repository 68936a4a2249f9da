"""Mutated ADUs of hostile masters, and a slow judge that shares no code with the agent.

The policy of the fuzz, in words: units 1 and 2; reads (1 to 4) of addresses 0 to 199;
registers 100 to 109 may be written (6, 16, and the written half of 23) with 0 to 500;
coils 0 to 15 may be written (5, 15). Nothing else.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ_MAX = 199
REGISTERS = range(100, 110)
VALUES = range(501)
COILS = range(16)
UNITS = (1, 2)


# --- the slow judge -------------------------------------------------------------------


def well_formed(pdu: bytes) -> bool:
    """Tell whether a request is exactly as MODBUS V1.1b3, clause 6, has it."""
    function = pdu[0]
    if function in {1, 2, 3, 4}:
        if len(pdu) != 5:
            return False
        address, count = struct.unpack(">HH", pdu[1:])
        most = 2000 if function < 3 else 125
        return 1 <= count <= most and address + count <= 65536
    if function == 5:
        return len(pdu) == 5 and pdu[3:] in {b"\0\0", b"\xff\0"}
    if function == 6:
        return len(pdu) == 5
    if function in {15, 16}:
        if len(pdu) < 6:
            return False
        address, count, size = struct.unpack(">HHB", pdu[1:6])
        most, need = (1968, (count + 7) // 8) if function == 15 else (123, 2 * count)
        sized = size == need == len(pdu) - 6
        return 1 <= count <= most and sized and address + count <= 65536
    if function == 23:
        if len(pdu) < 10:
            return False
        at, count, where, written, size = struct.unpack(">HHHHB", pdu[1:10])
        sized = size == 2 * written == len(pdu) - 10
        counts = 1 <= count <= 125 and 1 <= written <= 121
        return sized and counts and at + count <= 65536 and where + written <= 65536
    return False


def permitted(unit: int, pdu: bytes) -> bool:
    """Tell whether the policy of the fuzz lets a request through."""
    if unit not in UNITS or not pdu or not well_formed(pdu):
        return False
    function = pdu[0]
    address, count = struct.unpack(">HH", pdu[1:5])
    if function in {1, 2, 3, 4}:
        return address + count - 1 <= READ_MAX
    if function == 5:
        return address in COILS
    if function == 6:
        return address in REGISTERS and count in VALUES
    if function == 15:
        return all(address + n in COILS for n in range(count))
    if function == 16:
        values = struct.unpack(f">{count}H", pdu[6:])
        return _writes(address, values)
    where, written = struct.unpack(">HH", pdu[5:9])
    values = struct.unpack(f">{written}H", pdu[10:])
    return address + count - 1 <= READ_MAX and _writes(where, values)


def _writes(address: int, values: tuple[int, ...]) -> bool:
    return all(
        address + n in REGISTERS and value in VALUES for n, value in enumerate(values)
    )


def framed(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield tid, unit and PDU of each ADU; ValueError where ``data`` is not ADUs."""
    while data:
        if len(data) < 8:
            raise ValueError("half an ADU")
        tid, protocol, length, unit = struct.unpack_from(">HHHB", data)
        if protocol or not 2 <= length <= 254 or len(data) < 6 + length:
            raise ValueError("half an ADU, or none")
        yield tid, unit, data[7 : 6 + length]
        data = data[6 + length :]


def fits(request: bytes, reply: bytes) -> bool:
    """Tell whether a reply may be passed on for a request that was permitted."""
    function = request[0]
    if reply[0] == function | 0x80:
        return len(reply) == 2
    if reply[0] != function:
        return False
    count = struct.unpack_from(">H", request, 3)[0]
    if function in {1, 2}:
        size = (count + 7) // 8
        return len(reply) == 2 + size and reply[1] == size
    if function in {3, 4, 23}:
        return len(reply) == 2 + 2 * count and reply[1] == 2 * count
    return reply == request[:5]


# --- hostile masters ------------------------------------------------------------------


class Hostile:
    """A seeded source of what masters send and devices answer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._makers: tuple[Callable[[], bytes], ...] = (
            self._read, self._read, self._one, self._many, self._many, self._both,
            self._coil, self._coils, self._other,
        )  # fmt: skip

    def request(self) -> bytes:
        """Return an ADU: good, mutated, or nearly good."""
        chance = self._random
        pdu = chance.choice(self._makers)()
        unit = chance.choice((1,) * 12 + (2, 2, 2, 3, 0, 255))
        if chance.random() < 0.25:
            pdu = self._mutated(pdu)
        length = len(pdu) + 1
        protocol = 0
        odd = chance.random()
        if odd < 0.01:
            length = chance.choice((0, 1, length - 1, length + 1, 255, 65535))
        elif odd < 0.013:
            protocol = chance.choice((1, 256, 65535))
        tid = chance.randrange(65536) if chance.random() < 0.7 else 7
        return struct.pack(">HHHB", tid, protocol, length & 0xFFFF, unit) + pdu

    def reply(self, request: bytes) -> bytes | None:
        """Return the device's reply PDU, now and then a wrong one, or None."""
        chance = self._random
        function = request[0]
        count = struct.unpack_from(">H", request, 3)[0]
        if function in {1, 2}:
            size = (count + 7) // 8
            good = bytes([function, size]) + chance.randbytes(size)
        elif function in {3, 4, 23}:
            good = bytes([function, 2 * count]) + chance.randbytes(2 * count)
        else:
            good = request[:5]
        odd = chance.random()
        if odd < 0.01:
            return None
        if odd < 0.05:
            return bytes([function | 0x80, chance.choice((1, 2, 3, 4, 6, 11))])
        return self._mutated(good) if odd < 0.15 else good

    def pieces(self, data: bytes) -> list[bytes]:
        """Cut bytes as a network may."""
        chance = self._random
        if chance.random() < 0.7:
            return [data]
        cuts = sorted(
            chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 4))
        )
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def chance(self, share: float) -> bool:
        """Return True for ``share`` of the calls."""
        return self._random.random() < share

    def below(self, count: int) -> int:
        """Return a number from 0 to ``count`` - 1."""
        return self._random.randrange(count)

    def _mutated(self, pdu: bytes) -> bytes:
        chance, changed = self._random, bytearray(pdu)
        for _ in range(chance.randint(1, 3)):
            how, at = chance.randrange(5), chance.randrange(len(changed))
            if how == 0:
                changed[at] ^= 1 << chance.randrange(8)
            elif how == 1:
                changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif how == 2:
                del changed[max(1, at) :]
            elif how == 3:
                changed += chance.randbytes(chance.randint(1, 4))
            else:
                changed[at:at] = changed[at : at + 2]
        return bytes(changed[:253])

    def _near(self, low: int, high: int) -> int:
        """Return an address within, at the edge of, or beside a range."""
        chance = self._random
        edges = (low, high, low - 1, high + 1, 65535, 0)
        inside = chance.random() < 0.8
        return (chance.randint(low, high) if inside else chance.choice(edges)) & 0xFFFF

    def _value(self) -> int:
        return self._near(0, 500)

    def _read(self) -> bytes:
        count = self._random.choice((1, 1, 2, 5, 10, 20, 100, 125, 126, 2000, 0))
        function = self._random.randint(1, 4)
        return struct.pack(">BHH", function, self._near(0, 199), count)

    def _one(self) -> bytes:
        return struct.pack(">BHH", 6, self._near(100, 109), self._value())

    def _coil(self) -> bytes:
        value = self._random.choice((0, 0xFF00, 1, 0xFF01))
        return struct.pack(">BHH", 5, self._near(0, 15), value)

    def _many(self) -> bytes:
        count = self._random.choice((1, 1, 2, 2, 3, 10, 11, 123))
        values = [self._random.randrange(500) for _ in range(count)]
        if self.chance(0.3):
            values[self._random.randrange(count)] = self._value()
        head = struct.pack(">BHHB", 16, self._near(100, 109), count, 2 * count)
        return head + struct.pack(f">{count}H", *values)

    def _coils(self) -> bytes:
        count = self._random.choice((1, 7, 8, 9, 16, 17))
        size = (count + 7) // 8
        head = struct.pack(">BHHB", 15, self._near(0, 15), count, size)
        return head + self._random.randbytes(size)

    def _both(self) -> bytes:
        count = self._random.choice((1, 2, 3))
        values = [self._value() for _ in range(count)]
        head = struct.pack(
            ">BHHHHB", 23, self._near(0, 199), self._random.choice((1, 10, 125)),
            self._near(100, 109), count, 2 * count,
        )  # fmt: skip
        return head + struct.pack(f">{count}H", *values)

    def _other(self) -> bytes:
        function = self._random.choice(
            (7, 8, 11, 17, 20, 21, 22, 24, 43, 90, 125, 0, 200)
        )
        return bytes([function]) + self._random.randbytes(self._random.randint(0, 12))
