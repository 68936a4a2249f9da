"""Who talks to whom over TCP, and where each direction stands: a bounded table.

A connection has a row, its two directions a slot each (``2 * row + side``; side 0 is
what the lower endpoint sends). State lies in arrays by slot, so that a batch is checked
against it all at once; Python runs once per new connection.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.ethernet import ACK, SYN
from protocols.modbus.exchanges import UNLISTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from protocols.capture.ethernet import SegmentBatch
    from protocols.frames import I64, U8, U64, Bool
    from protocols.modbus.peers import Peers

CONNECTIONS_MAX: Final = 16_384
EVICT_AT_ONCE: Final = 1024
UNKNOWN_SIDE: Final = -1
_MIXERS: Final = (
    0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
    0x27D4EB2F165667C5, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53,
)  # fmt: skip


class Connections:
    """The table. ``ports`` empty: every TCP connection is taken for Modbus."""

    def __init__(
        self,
        ports: Sequence[int],
        links: Mapping[tuple[str, int], int],
        peers: Peers,
        rows_max: int = CONNECTIONS_MAX,
    ) -> None:
        """Begin empty. ``links``: (address, port) of devices to link numbers."""
        named = {port for _, port in links}
        self._ports = np.array(sorted({*ports, *named}) if ports else [], np.int64)
        self._listed = frozenset(ports)
        self._links = dict(links)
        self._peers = peers
        self._max = rows_max
        self._rows: dict[bytes, int] = {}
        self._keys: list[bytes] = [b""] * rows_max
        self._free = list(range(rows_max - 1, -1, -1))
        self._born = 0
        self.told: list[Callable[[int], None]] = []  # whom a row that is freed concerns
        rows, slots = rows_max, 2 * rows_max
        self.serial: I64 = np.zeros(rows, np.int64)  # of the connection; 0 no such row
        self.seen_ns: I64 = np.zeros(rows, np.int64)
        self.client_side: I64 = np.full(rows, UNKNOWN_SIDE, np.int64)
        self.number: I64 = np.zeros(slots, np.int64)  # of the sender in ``Peers``
        self.link_of: I64 = np.full(slots, UNLISTED, np.int64)  # were it the server
        self.next: I64 = np.zeros(slots, np.int64)  # sequence number, modulo 2**32
        self.begun: I64 = np.full(slots, -1, np.int64)  # of the SYN; -1 not seen
        self.known: Bool = np.zeros(slots, np.bool_)  # ``next`` is
        self.synced: Bool = np.zeros(slots, np.bool_)  # an ADU begins at ``next``
        self.ended: Bool = np.zeros(slots, np.bool_)  # FIN or RST seen
        self.acked: I64 = np.full(slots, -1, np.int64)  # by the other side
        self.lost_ns: I64 = np.full(slots, -1, np.int64)  # when bytes were missed last

    def __len__(self) -> int:
        """Return how many connections are held."""
        return len(self._rows)

    def wanted(self, segments: SegmentBatch) -> Bool:
        """Tell [N] segments from or to a port that Modbus has."""
        if not len(self._ports):
            return np.ones(len(segments), np.bool_)
        found: Bool = np.isin(port_of(segments.source), self._ports) | np.isin(
            port_of(segments.target), self._ports
        )
        return found

    def rows_of(self, segments: SegmentBatch) -> tuple[I64, int]:
        """Return the slot [N] of each segment, and how many live ones made room.

        At most ``rows_max - EVICT_AT_ONCE`` segments at once.
        """
        lower = _is_lower(segments.source, segments.target)
        key = np.empty((len(segments), 36), np.uint8)
        swap = ~lower[:, None]
        key[:, :18] = np.where(swap, segments.target, segments.source)
        key[:, 18:] = np.where(swap, segments.source, segments.target)
        first, which = _distinct(key)
        rows = np.empty(len(first), np.int64)
        evicted = 0
        fresh: list[int] = []
        for index, at in enumerate(first.tolist()):  # connections, not segments
            name = key[at].tobytes()
            row = self._rows.get(name, -1)
            if row < 0:
                fresh.append(index)
            rows[index] = row
        if len(fresh) > len(self._free):
            evicted = self._evict(rows[rows >= 0], len(fresh))
        for index in fresh:
            rows[index] = self._open(key[first[index]].tobytes())
        np.maximum.at(self.seen_ns, rows[which], segments.time_ns)
        slot: I64 = 2 * rows[which] + ~lower
        self._find_clients(segments, slot)
        return slot, evicted

    def forget(self, row: int) -> None:
        """Free a row, and tell those who hold something of it."""
        del self._rows[self._keys[row]]
        self.serial[row] = 0
        self._free.append(row)
        for tell in self.told:
            tell(row)

    def idle(self, before_ns: int) -> list[int]:
        """Return rows of which nothing was seen since ``before_ns``."""
        found: list[int] = np.flatnonzero(
            (self.serial > 0) & (self.seen_ns < before_ns)
        ).tolist()
        return found

    def restart(self, row: int) -> None:
        """Begin anew with the same endpoints: another connection than before."""
        self._born += 1
        self.serial[row] = self._born
        slots = slice(2 * row, 2 * row + 2)
        self.begun[slots] = self.acked[slots] = self.lost_ns[slots] = -1
        self.known[slots] = self.synced[slots] = self.ended[slots] = False

    def begin(self, slot: int, sequence: int) -> None:
        """Put a direction behind its SYN."""
        self.begun[slot] = sequence
        self.next[slot] = (sequence + 1) % (1 << 32)
        self.known[slot] = self.synced[slot] = True

    def _open(self, key: bytes) -> int:
        row = self._free.pop()
        self._rows[key] = row
        self._keys[row] = key
        self.restart(row)
        self.seen_ns[row] = 0
        self.client_side[row] = UNKNOWN_SIDE
        is_listed, is_link = [False, False], [False, False]
        for side in (0, 1):
            address = address_text(key[18 * side : 18 * side + 16])
            port = int.from_bytes(key[18 * side + 16 : 18 * side + 18], "big")
            link = self._links.get((address, port), UNLISTED)
            self.number[2 * row + side] = self._peers.number(address)
            self.link_of[2 * row + side] = link
            is_listed[side], is_link[side] = port in self._listed, link != UNLISTED
        for named in (is_link, is_listed):
            if named[0] != named[1]:
                self.client_side[row] = int(named[0])
                break
        return row

    def _evict(self, in_use: I64, needed: int) -> int:
        """Free what ended, then what was silent longest; return how many of these."""
        age = self.seen_ns.copy()
        ended = self.ended[::2] & self.ended[1::2]
        age[ended] = -1
        age[self.serial == 0] = np.iinfo(np.int64).max
        age[in_use] = np.iinfo(np.int64).max
        count = min(len(self._rows) - len(in_use), max(needed, EVICT_AT_ONCE))
        oldest = np.argsort(age, kind="stable")[:count]
        for row in oldest.tolist():
            self.forget(row)
        return int(np.count_nonzero(~ended[oldest]))

    def _find_clients(self, segments: SegmentBatch, slot: I64) -> None:
        """Learn from SYN, else from the first data, who asks on which connections."""
        unknown = self.client_side[slot >> 1] == UNKNOWN_SIDE
        if not unknown.any():
            return
        flags = segments.flags & (SYN | ACK)
        side = slot & 1
        asks = np.where(flags == SYN, side, np.where(flags == SYN | ACK, 1 - side, -1))
        for tells, told in (
            (unknown & (asks >= 0), asks),
            (unknown & (segments.size > 0), side),  # a server speaks when asked
        ):
            rows = np.flatnonzero(tells)[::-1]  # so that the first one stays
            rows = rows[self.client_side[slot[rows] >> 1] == UNKNOWN_SIDE]
            self.client_side[slot[rows] >> 1] = told[rows]


def address_text(raw: bytes) -> str:
    """Return 16 address bytes as text, IPv4 in its own form."""
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def port_of(endpoint: U8) -> I64:
    """Return the ports [N] of endpoints [N, 18]."""
    return endpoint[:, 16].astype(np.int64) << 8 | endpoint[:, 17]


def _words(endpoint: U8) -> U64:
    """Return an endpoint as three big-endian words: [N, 3]."""
    wide = np.zeros((len(endpoint), 24), np.uint8)
    wide[:, :18] = endpoint
    return wide.view(">u8").astype(np.uint64)


def _is_lower(source: U8, target: U8) -> Bool:
    """Tell whether the source comes first in the order of bytes."""
    a, b = _words(source), _words(target)
    lower: Bool = a[:, 2] < b[:, 2]
    for word in (1, 0):
        lower = np.where(a[:, word] == b[:, word], lower, a[:, word] < b[:, word])
    return lower


def _distinct(key: U8) -> tuple[I64, I64]:
    """Return the first row of each distinct key [N, 36], and which one [N] has."""
    wide = np.zeros((len(key), 48), np.uint8)
    wide[:, :36] = key
    words = wide.view(np.uint64)
    mixed = np.zeros(len(key), np.uint64)
    for column, mixer in enumerate(_MIXERS):
        mixed = (mixed ^ words[:, column]) * np.uint64(mixer)
        mixed ^= mixed >> np.uint64(29)
    _, first, which = np.unique(mixed, return_index=True, return_inverse=True)
    if not np.array_equal(words[first[which]], words):  # two keys with one sum
        _, first, which = np.unique(
            np.ascontiguousarray(key).view("V36")[:, 0],
            return_index=True, return_inverse=True,
        )  # fmt: skip
    return first.astype(np.int64), which.astype(np.int64)
