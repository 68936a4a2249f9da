"""Where fuzzing of the Modbus formats starts: what real masters and devices say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.modbus.mbap import build_adu
from protocols.modbus.rtu import build_rtu
from tests.fuzz.targets_modbus import row_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

EXCHANGES: Final = [
    (bytes.fromhex(request), bytes.fromhex(reply))
    for request, reply in (
        ("01 0013 0013", "01 03 cd6b05"), ("02 00c4 0016", "02 03 acdb35"),
        ("03 0000 0003", "03 06 022b 0000 0064"),
        ("04 0000 0003", "04 06 4142430000ff"),
        ("05 0003 ff00", "05 0003 ff00"), ("06 0001 0003", "06 0001 0003"),
        ("07", "07 6d"), ("08 0000 a537", "08 0000 a537"), ("0b", "0b ffff 0108"),
        ("0c", "0c 08 0000 0108 0121 2000"), ("0f 0003 000a 02 cd01", "0f 0003 000a"),
        ("10 0001 0002 04 000a 0102", "10 0001 0002"), ("11", "11 03 5347ff"),
        ("14 0e 06 0004 0001 0002 06 0003 0009 0002",
         "14 0c 05 06 0dfe 0020 05 06 33cd 0040"),
        ("15 09 06 0004 0007 0001 06af", "15 09 06 0004 0007 0001 06af"),
        ("16 0004 00f2 0025", "16 0004 00f2 0025"),
        ("17 0003 0002 0001 0002 04 00ff 00ff", "17 04 00fe 0acd"),
        ("18 04de", "18 0006 0002 01b8 1284"),
        ("2b 0e 01 00", "2b 0e 01 01 00 00 02 00 02 5347 01 00"),
        ("2b 0d 00", "2b 0d 00"), ("5a 00 02", "5a 00 fe 01"),
        ("03 0000 0001", "83 02"),
    )
]  # fmt: skip


def pairs() -> Iterator[bytes]:
    """Yield seeds of ``modbus_pairs``: each alone, and all in one batch."""
    each = [row_bytes(*exchange) for exchange in EXCHANGES]
    yield from each
    yield b"".join(each)
    yield b"".join(row_bytes(*one, how=i) for i, one in enumerate(EXCHANGES))


def frames() -> Iterator[bytes]:
    """Yield seeds of ``modbus_frames``: streams of both directions, in pieces."""
    for side in (0, 1):
        pdus = [one[side] for one in EXCHANGES]
        tcp = [build_adu(tid, 1, pdu) for tid, pdu in enumerate(pdus)]
        yield b"\x07" + b"".join(tcp)
        yield b"\xff" + b"".join(build_rtu(1, pdu) for pdu in pdus)


def lines() -> Iterator[bytes]:
    """Yield seeds of ``modbus_line``: frames apart, in one piece, and cut."""
    told = [build_rtu(1, pdu) for one in EXCHANGES for pdu in one]
    yield b"".join(bytes([9, len(frame)]) + frame for frame in told)
    yield b"".join(bytes([0, len(frame)]) + frame for frame in told[:12])
    cut = [part for frame in told[:12] for part in (frame[:3], frame[3:])]
    yield b"".join(bytes([3, len(part)]) + part for part in cut)
