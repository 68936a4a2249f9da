"""TCP segments by hand: what a tap hands over, without packets around it."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from protocols.capture.ethernet import ACK, SYN, SegmentBatch

__all__ = ["ACK", "MS", "Seg", "Talk", "batch"]
MS = 1_000_000


class Seg(NamedTuple):
    time_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    sequence: int
    flags: int
    data: bytes


def endpoint(end: tuple[str, int]) -> bytes:
    address = bytes(map(int, end[0].split(".")))
    return bytes(10) + b"\xff\xff" + address + struct.pack(">H", end[1])


def batch(rows: list[Seg]) -> SegmentBatch:
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
        acknowledged=np.zeros(len(rows), np.uint32),
        flags=np.array([row.flags for row in rows], np.uint8),
    )


class Talk:
    """One connection; a segment every millisecond."""

    def __init__(
        self,
        client: tuple[str, int] = ("10.0.0.7", 40_000),
        server: tuple[str, int] = ("10.0.0.20", 502),
        start_ns: int = 0,
    ) -> None:
        self.ends = (client, server)
        self.next = [1000, 2**32 - 5]  # wraps
        self.now_ns = start_ns
        self.rows: list[Seg] = []
        self.send(0, b"", SYN)
        self.send(1, b"", SYN)

    def send(self, side: int, data: bytes, flags: int = 0) -> None:
        self.now_ns += MS
        at = self.next[side]
        source, target = self.ends[side], self.ends[1 - side]
        self.rows.append(Seg(self.now_ns, source, target, at, flags, data))
        self.next[side] = (at + len(data) + (flags == SYN)) % 2**32
