"""A device's answer to a request: the checks of V1.1b3, clause 6, in its order.

What the device does not know is exception 1, a wrong quantity 3, a wrong place 2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from firmware_sim.network.pdus import exception, pack_bits, unpack_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware_sim.network.devices import Device

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_READS: Final = {1: (0, 2000), 2: (1, 2000), 3: (4, 125), 4: (3, 125)}


class Refused(ValueError):
    """The device refuses; ``code`` is the exception."""

    def __init__(self, code: int) -> None:
        """Keep the code."""
        super().__init__(f"exception {code}")
        self.code = code


def answer(device: Device, pdu: bytes) -> bytes | None:
    """Return the reply PDU, or None where the device keeps silent (8/4)."""
    function = pdu[0]
    if function == 8:
        return _diagnostics(device, pdu)
    if device.silent:
        return None
    handler = _HANDLERS.get(function)
    if handler is None:
        return exception(function, ILLEGAL_FUNCTION)
    try:
        return handler(device, pdu)
    except Refused as refused:
        return exception(function, refused.code)


def _sized(pdu: bytes, size: int) -> None:
    if len(pdu) != size:
        raise Refused(ILLEGAL_VALUE)


def _cells(device: Device, table: int, address: int, count: int) -> list[int]:
    if address + count > 65536:
        raise Refused(ILLEGAL_ADDRESS)
    found = device.read(table, address, count)
    if found is None:
        raise Refused(ILLEGAL_ADDRESS)
    return found


def _store(device: Device, table: int, address: int, values: list[int]) -> None:
    code = device.write(table, address, values)
    if code:
        raise Refused(code)


def _read(device: Device, pdu: bytes) -> bytes:
    _sized(pdu, 5)
    function, address, count = struct.unpack(">BHH", pdu)
    table, most = _READS[function]
    if not 1 <= count <= most:
        raise Refused(ILLEGAL_VALUE)
    cells = _cells(device, table, address, count)
    if table in {0, 1}:
        packed = pack_bits(cells)
        return bytes((function, len(packed))) + packed
    return struct.pack(f">BB{count}H", function, 2 * count, *cells)


def _write_one(device: Device, pdu: bytes) -> bytes:
    _sized(pdu, 5)
    function, address, value = struct.unpack(">BHH", pdu)
    if function == 5:
        if value not in {0, 0xFF00}:
            raise Refused(ILLEGAL_VALUE)
        _store(device, 0, address, [value >> 15])
    else:
        _store(device, 4, address, [value])
    return pdu


def _write_many(device: Device, pdu: bytes) -> bytes:
    if len(pdu) < 6:
        raise Refused(ILLEGAL_VALUE)
    function, address, count, size = struct.unpack_from(">BHHB", pdu)
    most, wanted = (1968, (count + 7) // 8) if function == 15 else (123, 2 * count)
    if not 1 <= count <= most or size != wanted or len(pdu) != 6 + size:
        raise Refused(ILLEGAL_VALUE)
    if function == 15:
        _store(device, 0, address, unpack_bits(pdu[6:], count))
    else:
        _store(device, 4, address, list(struct.unpack_from(f">{count}H", pdu, 6)))
    return pdu[:5]


def _mask(device: Device, pdu: bytes) -> bytes:
    _sized(pdu, 7)
    _, address, both, either = struct.unpack(">BHHH", pdu)
    (before,) = _cells(device, 4, address, 1)
    _store(device, 4, address, [(before & both) | (either & ~both & 0xFFFF)])
    return pdu


def _read_write(device: Device, pdu: bytes) -> bytes:
    if len(pdu) < 10:
        raise Refused(ILLEGAL_VALUE)
    address, count, at, size, octets = struct.unpack_from(">HHHHB", pdu, 1)
    fits = octets == 2 * size and len(pdu) == 10 + octets
    if not (1 <= count <= 125 and 1 <= size <= 121 and fits):
        raise Refused(ILLEGAL_VALUE)
    _store(device, 4, at, list(struct.unpack_from(f">{size}H", pdu, 10)))
    cells = _cells(device, 4, address, count)
    return struct.pack(f">BB{count}H", 23, 2 * count, *cells)


def _diagnostics(device: Device, pdu: bytes) -> bytes | None:
    """8/0 echo, 8/1 restart, 8/4 listen only, counters as 0; clause 6.8."""
    if len(pdu) < 5:
        return exception(8, ILLEGAL_VALUE)
    sub = int.from_bytes(pdu[1:3], "big")
    if sub == 1:
        was, device.silent = device.silent, False
        return None if was else pdu
    if device.silent:
        return None
    if sub == 4:
        device.silent = True
        return None
    if sub in {0, 10, 20}:
        return pdu
    if sub == 2 or 11 <= sub <= 18:
        return pdu[:3] + b"\0\0"
    return exception(8, ILLEGAL_FUNCTION)


def _server_id(device: Device, _pdu: bytes) -> bytes:
    text = device.serial.encode("ascii") + b"\xff"
    return bytes((17, len(text))) + text


def _identification(device: Device, pdu: bytes) -> bytes:
    """43/14, basic objects at once; clause 6.21."""
    _sized(pdu, 4)
    _, mei, code, start = pdu
    if mei != 14:
        raise Refused(ILLEGAL_FUNCTION)
    if code not in {1, 2, 3, 4}:
        raise Refused(ILLEGAL_VALUE)
    if code == 4 and start not in device.identity:
        raise Refused(ILLEGAL_ADDRESS)
    # An unknown start begins again at 0, but for a single object (code 4).
    first = start if start in device.identity else 0
    chosen = [
        (number, text)
        for number, text in device.identity.items()
        if (number == first if code == 4 else number >= first)
    ]
    objects = b"".join(bytes((n, len(text))) + text for n, text in chosen)
    return bytes((43, 14, code, 0x81, 0, 0, len(chosen))) + objects


_HANDLERS: Final[dict[int, Callable[[Device, bytes], bytes]]] = {
    **dict.fromkeys((1, 2, 3, 4), _read),
    **dict.fromkeys((5, 6), _write_one),
    **dict.fromkeys((15, 16), _write_many),
    17: _server_id,
    22: _mask,
    23: _read_write,
    43: _identification,
}
