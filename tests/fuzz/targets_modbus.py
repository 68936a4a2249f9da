"""Fuzzing targets of the Modbus formats: PDUs, streams, serial lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.errors import WireError
from protocols.modbus.decode import compile_points, decode
from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.mbap import ADU_BYTES_MAX, MbapFramer
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.readings import readings
from protocols.modbus.rtu import RTU_BYTES_MAX, RtuFramer, crc16
from protocols.modbus.rtu_line import HELD_MAX, RtuLine
from protocols.modbus.rtu_pairing import Ends
from protocols.modbus.values import Point
from tests.reference.slow_pairs import agree
from tests.support.pair_rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.modbus.exchanges import ExchangeBatch
    from protocols.modbus.mbap import Adu

ROWS_MAX: Final = 64
POINTS: Final = (
    Point(0, 0, 1, 4, 1, "u16"), Point(1, 0, 1, 4, 2, "f32"),
    Point(2, 0, 1, 0, 3, "coil"), Point(3, 0, 1, 3, 0, "string", length=3),
)  # fmt: skip


def rows_of(data: bytes) -> Iterator[Row]:
    """Read rows: what is there and what framing found, two lengths, two PDUs."""
    at = 0
    for _ in range(ROWS_MAX):
        if len(data) - at < 3:
            return
        how, asked, told = data[at : at + 3]
        at += 3
        request, reply = data[at : at + asked], data[at + asked : at + asked + told]
        at += asked + told
        found = {0: 0, 1: 1, 2: 2, 3: 1 << 13}[how >> 4 & 3]
        yield Row(
            None if how & 1 else request, None if how & 2 else reply, problems=found
        )


def row_bytes(request: bytes, reply: bytes, how: int = 0) -> bytes:
    """Return what ``rows_of`` reads as one row."""
    return bytes([how, len(request), len(reply)]) + request + reply


def modbus_pairs(data: bytes) -> None:
    """Requests and replies: the columns say what the scalar codec says of each."""
    checked(agree(list(rows_of(data))))


def checked(exchanges: ExchangeBatch) -> None:
    """What was decoded becomes readings, and those samples."""
    made = readings(exchanges)
    assert len(made.values) == int(made.offset[-1])
    assert len(made) <= 2 * len(exchanges)
    decode(compile_points(POINTS), made)


def modbus_frames(data: bytes) -> None:
    """A stream: Modbus TCP in any pieces; RTU over TCP, every byte told or counted."""
    size, stream = (data[0] or 1, data[1:]) if data else (1, b"")
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    try:
        whole: list[Adu] | None = MbapFramer().feed(stream)
    except WireError:
        whole = None
    framer, found = MbapFramer(), []
    try:
        for piece in pieces:
            found += framer.feed(piece)
            assert framer.pending < ADU_BYTES_MAX
    except WireError:
        assert whole is None
    else:
        assert found == whole
    for replies in (False, True):
        rtu = RtuFramer(replies=replies)
        frames = [adu for piece in pieces for adu in rtu.feed(piece)]
        assert rtu.pending < RTU_BYTES_MAX
        told = sum(len(adu.pdu) + 3 for adu in frames)
        assert told + rtu.skipped + rtu.pending == len(stream)


def modbus_line(data: bytes) -> None:
    """A serial line: a pause in ms and a length before each piece of bytes."""
    line = RtuLine(19_200, Ends(1, 1, UNLISTED))
    now_ns = at = fed = 0
    while len(data) - at >= 2:
        now_ns += data[at] * 1_000_000
        piece = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
        fed += len(piece)
        line.feed(piece, now_ns)
        if len(piece) & 1:
            line.idle(now_ns + 2_000_000)
        assert line.due_ns is None or line.due_ns > 0
        assert len(line._held) <= HELD_MAX + 255
    line.close()
    statistics = line.statistics
    assert statistics.skipped <= fed
    batch = line.take()
    if batch is None:
        assert statistics.frames == statistics.broken == 0
        return
    assert len(batch) <= statistics.frames + statistics.broken
    checked(decode_pairs(batch))


def with_crc(frame: bytes) -> bytes:
    """Return a frame with its CRC, for seeds."""
    return frame + crc16(frame).to_bytes(2, "little")
