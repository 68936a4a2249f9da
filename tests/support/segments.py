"""One connection by hand that acknowledges nothing: for RTU over TCP."""

from __future__ import annotations

from protocols.capture.ethernet import ACK, SYN
from tests.support.tapped import MS, Seg, batch

__all__ = ["ACK", "MS", "Seg", "Talk", "batch"]


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
        self.rows.append(Seg(self.now_ns, source, target, at, 0, flags, data))
        self.next[side] = (at + len(data) + (flags == SYN)) % 2**32
