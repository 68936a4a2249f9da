"""TCP as a tap sees it: handshakes, sequence numbers, acknowledgements, ends.

A ``Tape`` collects packets as rows; ``packets.py`` makes bytes of them all at once.
Segments pass the tap at the moment they are sent; acknowledgements that are not carried
by data come after 40 ms, as Linux sends them (RFC 1122, 4.2.3.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
ACK_AFTER_NS: Final = 40_000_000
HANDSHAKE_NS: Final = 300_000
AGAIN_NS: Final = 200_000_000  # first retransmission; then doubled
SEQ_MASK: Final = 0xFFFFFFFF

# time, source, destination, their ports, sequence, acknowledged, flags, payload
Packet: TypeAlias = tuple[int, int, int, int, int, int, int, int, bytes]


@dataclass(slots=True)
class Tape:
    """Packets in any order; 1 row each."""

    rows: list[Packet] = field(default_factory=list)


class Connection:
    """One TCP connection. Side 0 is the client, side 1 the server."""

    def __init__(
        self, tape: Tape, hosts: tuple[int, int], ports: tuple[int, int], isn: int
    ) -> None:
        """Take the IPv4 addresses as numbers, ports, and where sequences begin."""
        self._rows = tape.rows
        self._hosts = hosts
        self.ports = ports
        self._next = [isn & SEQ_MASK, (isn * 7 + 11) & SEQ_MASK]
        self._due: list[int | None] = [None, None]  # when a side must acknowledge
        self.opened_ns = 0
        self.tid = 0
        self.busy_ns = 0  # until when it waits for an answer
        self.is_over = False
        self.held = b""  # what goes into the next segment

    def _send(self, now_ns: int, side: int, flags: int, payload: bytes = b"") -> None:
        other = 1 - side
        ack = self._next[other] if flags & ACK else 0
        self._rows.append(
            (
                now_ns, self._hosts[side], self._hosts[other], self.ports[side],
                self.ports[other], self._next[side], ack, flags, payload,
            )
        )  # fmt: skip
        if flags & ACK:
            self._due[side] = None
        step = len(payload) + bool(flags & (SYN | FIN))
        self._next[side] = (self._next[side] + step) & SEQ_MASK

    def settle(self, now_ns: int) -> None:
        """Write the acknowledgements that were due before now."""
        for side in (0, 1):
            due = self._due[side]
            if due is not None and due <= now_ns:
                self._send(due, side, ACK)

    def open(self, now_ns: int) -> int:
        """Shake hands; return when the client may send."""
        self.opened_ns = now_ns
        self._send(now_ns, 0, SYN)
        self._send(now_ns + HANDSHAKE_NS, 1, SYN | ACK)
        self._send(now_ns + 2 * HANDSHAKE_NS // 2 + 50_000, 0, ACK)
        return now_ns + HANDSHAKE_NS + 100_000

    def knock(self, now_ns: int) -> None:
        """Send a SYN that nobody answers, and once more after a second."""
        self._send(now_ns, 0, SYN)
        self._next[0] -= 1
        self._send(now_ns + 1_000_000_000, 0, SYN)

    def data(self, now_ns: int, side: int, payload: bytes, lost: int = 0) -> int:
        """Send a segment, and ``lost`` times again. Return when it arrives."""
        self.settle(now_ns)
        sequence = self._next[side]
        self._send(now_ns, side, PSH | ACK, payload)
        after, wait = now_ns, AGAIN_NS
        for _ in range(lost):
            after += wait
            wait *= 2
            self._next[side] = sequence
            self._send(after, side, PSH | ACK, payload)
        self._due[1 - side] = after + ACK_AFTER_NS
        return after

    def unheard(self, now_ns: int, payload: bytes) -> None:
        """Send to a server that is away: repeated, never acknowledged."""
        self.data(now_ns, 0, payload, lost=3)
        self._due[1] = None

    def close(self, now_ns: int) -> None:
        """End it from the client's side, both ways."""
        self.is_over = True
        self.settle(now_ns)
        self._send(now_ns, 0, FIN | ACK)
        self._send(now_ns + HANDSHAKE_NS, 1, FIN | ACK)
        self._send(now_ns + HANDSHAKE_NS + 50_000, 0, ACK)

    def reset(self, now_ns: int, side: int) -> None:
        """End it at once."""
        self.is_over = True
        self.settle(now_ns)
        self._send(now_ns, side, RST | ACK)
        self._due = [None, None]

    def finish(self) -> None:
        """Write what is still due: the capture ends."""
        self.settle(1 << 62)
