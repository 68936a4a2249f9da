"""Where fuzzing of the Modbus formats starts: what real masters and devices say."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from protocols.modbus.mbap import build_adu
from protocols.modbus.rtu import build_rtu
from tests.fuzz.targets_modbus import row_bytes
from tests.fuzz.targets_streams import record

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


def packets() -> Iterator[bytes]:
    """Yield seeds of ``modbus_packets``: a connection as Ethernet, and as raw IP."""
    for link, begins in ((1, False), (101, True)):
        at, out = [100, 200], []
        said: list[tuple[int, int, bytes]] = [(0, 2, b""), (1, 18, b""), (0, 16, b"")]
        said += [
            (side, 24, build_adu(tid, 1, exchange[side]))
            for tid, exchange in enumerate(EXCHANGES)
            for side in (0, 1)
        ]
        said += [(0, 17, b""), (1, 17, b"")]
        for number, (side, flags, data) in enumerate(said):
            ports = (40_000, 502) if side == 0 else (502, 40_000)
            tcp = struct.pack(
                ">HHIIBBHHH", *ports, at[side], at[1 - side], 80, flags, 9, 0, 0
            )
            hosts = [bytes((10, 0, 0, 7)), bytes((10, 0, 0, 20))]
            ip = struct.pack(
                ">BBHHHBBH", 0x45, 0, 40 + len(data), 1, 0x4000, 64, 6, 0
            ) + hosts[side] + hosts[1 - side]  # fmt: skip
            at[side] += len(data) + bool(flags & 3)
            head = bytes(12) + b"\x08\x00" if link == 1 else b""
            out.append(
                record(
                    head + ip + tcp + data, 2, link, begins=begins and not number % 8
                )
            )
        yield b"".join(out)
