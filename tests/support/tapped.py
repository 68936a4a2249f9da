"""TCP segments by hand: what a tap hands over, without packets around it."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from protocols.capture.ethernet import ACK, FIN, SYN, SegmentBatch
from protocols.modbus.mbap import build_adu
from protocols.modbus.pairs import concat_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.streams import Streams

MS = 1_000_000
SECOND = 1000 * MS
CLIENT, SERVER = 0, 1
WRAP = 1 << 32


class Seg(NamedTuple):
    time_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    sequence: int
    acknowledged: int
    flags: int
    data: bytes


class Row(NamedTuple):
    """An exchange as tests compare it."""

    unit: int
    tid: int
    request: bytes
    reply: bytes
    problems: int = 0


def endpoint(end: tuple[str, int]) -> bytes:
    address = ipaddress.ip_address(end[0])
    packed = address.packed
    if address.version == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    return packed + struct.pack(">H", end[1])


def batch(rows: Sequence[Seg]) -> SegmentBatch:
    sizes = np.array([len(row.data) for row in rows], np.int64)
    ends = b"".join(endpoint(row.source) + endpoint(row.target) for row in rows)
    both = np.frombuffer(ends, np.uint8).reshape(len(rows), 36)
    return SegmentBatch(
        chars=np.frombuffer(b"".join(row.data for row in rows) + bytes(128), np.uint8),
        time_ns=np.array([row.time_ns for row in rows], np.int64),
        at=np.cumsum(sizes) - sizes,
        size=sizes,
        source=both[:, :18],
        target=both[:, 18:],
        sequence=np.array([row.sequence for row in rows], np.uint32),
        acknowledged=np.array([row.acknowledged for row in rows], np.uint32),
        flags=np.array([row.flags for row in rows], np.uint8),
    )


def rows_of(pairs: PairBatch) -> list[Row]:
    chars = pairs.chars.tobytes()

    def part(at: int, size: int) -> bytes:
        return chars[at : at + size] if at >= 0 else b""

    return [
        Row(
            int(pairs.unit[i]), int(pairs.tid[i]),
            part(int(pairs.request_at[i]), int(pairs.request_size[i])),
            part(int(pairs.reply_at[i]), int(pairs.reply_size[i])),
            int(pairs.problems[i]),
        )
        for i in range(len(pairs))
    ]  # fmt: skip


def told(streams: Streams, rows: Iterable[Seg], *, cut: int = 0) -> list[Row]:
    """Feed segments, in batches of ``cut`` (0: all at once), to the end."""
    rows = list(rows)
    step = cut or max(len(rows), 1)
    found = [
        streams.feed(batch(rows[at : at + step])) for at in range(0, len(rows), step)
    ]
    return rows_of(concat_pairs([*found, streams.finish()]))


@dataclass
class Talk:
    """One connection; every segment comes a millisecond after the one before."""

    client: tuple[str, int] = ("10.0.0.7", 40_000)
    server: tuple[str, int] = ("10.0.0.20", 502)
    now_ns: int = 1_700_000_000 * SECOND
    next: list[int] = field(default_factory=lambda: [1000, 9_000_000])
    rows: list[Seg] = field(default_factory=list)

    def send(
        self, side: int, data: bytes = b"", flags: int = ACK, *, lost: bool = False
    ) -> Seg:
        """Add a segment, unless the tap did not see it."""
        self.now_ns += MS
        ends = (self.client, self.server)
        ack = self.next[1 - side] % WRAP if flags & ACK else 0
        row = Seg(
            self.now_ns, ends[side], ends[1 - side], self.next[side] % WRAP, ack,
            flags, data,
        )  # fmt: skip
        self.next[side] += len(data) + bool(flags & SYN) + bool(flags & FIN)
        if not lost:
            self.rows.append(row)
        return row

    def open(self) -> Talk:
        self.send(CLIENT, flags=SYN)
        self.send(SERVER, flags=SYN | ACK)
        self.send(CLIENT)
        return self

    def close(self) -> Talk:
        self.send(CLIENT, flags=FIN | ACK)
        self.send(SERVER, flags=FIN | ACK)
        return self

    def ask(self, tid: int, pdu: bytes, unit: int = 1, *, lost: bool = False) -> Seg:
        return self.send(CLIENT, build_adu(tid, unit, pdu), lost=lost)

    def answer(self, tid: int, pdu: bytes, unit: int = 1, *, lost: bool = False) -> Seg:
        return self.send(SERVER, build_adu(tid, unit, pdu), lost=lost)

    def poll(self, tid: int, unit: int = 1) -> Row:
        """Ask for two registers, and get them; return the row that it is."""
        pdu, reply = read(tid), registers(tid)
        self.ask(tid, pdu, unit)
        self.answer(tid, reply, unit)
        return Row(unit, tid, pdu, reply)


def read(address: int, count: int = 2) -> bytes:
    return struct.pack(">BHH", 3, address % 65_000, count)


def registers(value: int, count: int = 2) -> bytes:
    return struct.pack(">BB", 3, 2 * count) + struct.pack(">H", value % 65_536) * count
