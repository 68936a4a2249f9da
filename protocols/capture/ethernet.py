"""TCP segments of captured packets, all at once: where each payload lies.

Link types (tcpdump.org/linktypes): Ethernet, BSD loopback, raw IP, Linux cooked 1 and
2. IEEE 802.1Q and 802.1ad tags are skipped. RFC 791, RFC 8200, RFC 9293. Checksums are
not verified: what a machine sends itself is captured before its network card has filled
them in. IPv4 and IPv6 fragments are counted, not joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.columns import windows
from protocols.capture.pcap import PacketReader
from protocols.capture.pcap_packets import LINK_SLL, TAIL, Packets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.errors import WireError
    from protocols.frames import I64, U8, U32, Bool

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINK_SLL2: Final = 276
_RAW: Final = (12, 14, 101, 228, 229)  # raw IP; 228 IPv4 only, 229 IPv6 only
_LOOP: Final = 108
LINKS: Final = (LINK_NULL, LINK_ETHERNET, *_RAW, _LOOP, LINK_SLL, LINK_SLL2)

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

ENDPOINT_BYTES: Final = 18  # address (16), port (2, big endian)
_TAGS: Final = (0x8100, 0x88A8, 0x9100)
_TAGS_MAX: Final = 3
_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_TCP: Final = 6
_TCP_BYTES: Final = 20
_IPV4_BYTES: Final = 20
_IPV6_BYTES: Final = 40
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
# Extension headers whose length is (byte 1 + 1) * 8: hop-by-hop, routing, destination.
_EXTENSIONS: Final = (0, 43, 60)
_EXTENSIONS_MAX: Final = 8
_MAPPED: Final = np.array([0] * 10 + [255, 255], np.uint8)  # ::ffff:0:0/96, RFC 4291


@dataclass(frozen=True, slots=True)
class SegmentBatch:
    """N TCP segments in the order of capture, also those without payload.

    ``source`` and ``target``: address (IPv4 as ``::ffff:a.b.c.d``) and port.
    """

    chars: U8  # what ``at`` points into
    time_ns: I64  # [N]
    at: I64  # [N] place of the payload
    size: I64  # [N] bytes of payload that were captured
    source: U8  # [N, ENDPOINT_BYTES]
    target: U8  # [N, ENDPOINT_BYTES]
    sequence: U32  # [N] of the first byte
    acknowledged: U32  # [N] what ``source`` has of ``target``'s bytes, where ACK is set
    flags: U8  # [N] FIN, SYN, RST, ACK and others

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.time_ns)

    def take(self, rows: Bool | slice) -> SegmentBatch:
        """Return the segments that ``rows`` selects."""
        return SegmentBatch(
            self.chars, self.time_ns[rows], self.at[rows], self.size[rows],
            self.source[rows], self.target[rows], self.sequence[rows],
            self.acknowledged[rows], self.flags[rows],
        )  # fmt: skip


def empty_segments() -> SegmentBatch:
    """Return no segments."""
    none = np.empty(0, np.int64)
    ends = np.empty((0, ENDPOINT_BYTES), np.uint8)
    words = np.empty(0, np.uint32)
    return SegmentBatch(
        np.zeros(TAIL, np.uint8), none, none, none, ends, ends, words, words,
        np.empty(0, np.uint8),
    )  # fmt: skip


def concat_segments(batches: Sequence[SegmentBatch]) -> SegmentBatch:
    """Return the segments of all batches, in order."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return empty_segments()
    starts = np.cumsum([0, *(len(one.chars) for one in batches)])[:-1].tolist()
    return SegmentBatch(
        np.concatenate([one.chars for one in batches]),
        np.concatenate([one.time_ns for one in batches]),
        np.concatenate(
            [b.at + start for b, start in zip(batches, starts, strict=True)]
        ),
        np.concatenate([one.size for one in batches]),
        np.concatenate([one.source for one in batches]),
        np.concatenate([one.target for one in batches]),
        np.concatenate([one.sequence for one in batches]),
        np.concatenate([one.acknowledged for one in batches]),
        np.concatenate([one.flags for one in batches]),
    )


class SegmentParser:
    """pcap or pcapng bytes in, TCP segments out; `error` tells where the file breaks.

    Segments before a broken place are returned first. Packets that are no TCP segments
    are counted in `skipped` by cause.
    """

    def __init__(self) -> None:
        """Start before the file header."""
        self._reader = PacketReader(LINKS, "Ethernet or IP")
        self.skipped = self._reader.skipped

    @property
    def error(self) -> WireError | None:
        """Return where and why the file breaks; None while it does not."""
        return self._reader.error

    def feed(self, data: bytes) -> SegmentBatch:
        """Return the segments of the records that ``data`` completes.

        Raises the WireError of an earlier call.
        """
        return concat_segments(
            [
                find_segments(run.packets, run.link, self.skipped)
                for run in self._reader.feed(data)
            ]
        )

    def finish(self) -> None:
        """Take the end of the file: `error` tells where it is inside a record."""
        self._reader.finish()


def packets_of_rows(data: U8, length: I64, time_ns: I64) -> Packets:
    """Return packets that stand in rows [N, width] as a buffer of their own.

    ``length`` [N]: bytes of each; rows with less than 1 are left out.
    """
    rows = np.flatnonzero(length > 0)
    size = length[rows]
    end = np.cumsum(size)
    chars = np.zeros((int(end[-1]) if len(end) else 0) + TAIL, np.uint8)
    start = end - size
    place = np.repeat(rows * data.shape[1] - start, size)
    chars[: len(place)] = data.reshape(-1)[place + np.arange(len(place))]
    return Packets(chars, start, size, time_ns[rows], np.zeros(len(rows), np.uint8))


def find_segments(packets: Packets, link: int, skipped: dict[str, int]) -> SegmentBatch:
    """Return the TCP segments of packets of one link type; count others by cause.

    Never raises: any bytes are a segment or are counted.
    """
    counter = _Counter(skipped)
    end = (packets.at + packets.captured).astype(np.int64)
    rows, kind, ip = _network(packets, link, end, counter)
    version = packets.chars[ip] >> 4
    four, six = version == 4, version == 6
    if kind is not None:
        named4, named6 = kind == _IPV4, kind == _IPV6
        counter.add("not IP", ~named4 & ~named6)
        counter.add("malformed IP header", (named4 & ~four) | (named6 & ~six))
        four, six = four & named4, six & named6
    else:
        counter.add("not IP", ~four & ~six)
    parts = []
    if four.any():
        parts.append(_version4(packets.chars, rows[four], ip[four], end, counter))
    if six.any():
        parts.append(_version6(packets.chars, rows[six], ip[six], end, counter))
    return _segments(packets, parts, counter)


class _Counter:
    """Adds to the causes why packets were skipped."""

    def __init__(self, skipped: dict[str, int]) -> None:
        self._skipped = skipped

    def add(self, cause: str, rows: Bool) -> None:
        count = int(np.count_nonzero(rows))
        if count:
            self._skipped[cause] = self._skipped.get(cause, 0) + count


@dataclass(frozen=True, slots=True)
class _Layer:
    """N packets whose TCP header is found."""

    row: I64  # [N] index of the packet
    tcp: I64  # [N] place of the TCP header
    end: I64  # [N] where the IP packet ends, as far as it was captured
    addresses: U8  # [N, 32] source and destination

    def take(self, rows: Bool) -> _Layer:
        return _Layer(
            self.row[rows], self.tcp[rows], self.end[rows], self.addresses[rows]
        )


def _network(
    packets: Packets, link: int, end: I64, counter: _Counter
) -> tuple[I64, I64 | None, I64]:
    """Return rows, EtherType (None: raw IP tells by itself) and place of IP headers."""
    rows: I64 = np.arange(len(packets.at))
    at = packets.at.astype(np.int64)
    if link in _RAW or link in (LINK_NULL, _LOOP):
        ip = at + (0 if link in _RAW else 4)
        short = ip >= end
        counter.add("short packet", short)
        return rows[~short], None, ip[~short]
    head = {LINK_ETHERNET: 14, LINK_SLL: 16, LINK_SLL2: 20}[link]
    place = {LINK_ETHERNET: 12, LINK_SLL: 14, LINK_SLL2: 0}[link]
    ip = at + head
    short = ip >= end
    counter.add("short packet", short)
    rows, ip = rows[~short], ip[~short]
    kind = _u16(packets.chars, at[rows] + place)
    for _ in range(_TAGS_MAX):
        tagged = np.isin(kind, _TAGS)
        if not tagged.any():
            break
        short = tagged & (ip + 4 >= end[rows])
        if short.any():
            counter.add("short packet", short)
            rows, ip, kind, tagged = (
                rows[~short], ip[~short], kind[~short], tagged[~short],
            )  # fmt: skip
        kind = np.where(tagged, _u16(packets.chars, ip + 2), kind)
        ip = ip + 4 * tagged
    return rows, kind, ip


def _version4(chars: U8, rows: I64, ip: I64, end: I64, counter: _Counter) -> _Layer:
    held = end[rows] - ip
    short = held < _IPV4_BYTES
    counter.add("short packet", short)
    rows, ip, held = rows[~short], ip[~short], held[~short]
    head = windows(chars, ip, _IPV4_BYTES)
    header = (head[:, 0] & 15).astype(np.int64) * 4
    total = _word(head, 2)
    # Segmentation offload hands over packets that are too large for the field: 0.
    total = np.where(total == 0, held, total)
    fragment = (_word(head, 6) & 0x3FFF) != 0  # more fragments, or an offset
    is_tcp = head[:, 9] == _TCP
    wrong = (header < _IPV4_BYTES) | (total < header)
    counter.add("malformed IP header", wrong)
    counter.add("not TCP", ~wrong & ~is_tcp)
    counter.add("IPv4 fragment", ~wrong & is_tcp & fragment)
    good = ~wrong & is_tcp & ~fragment
    addresses = np.zeros((len(rows), 32), np.uint8)
    addresses[:, :12] = addresses[:, 16:28] = _MAPPED
    addresses[:, 12:16] = head[:, 12:16]
    addresses[:, 28:32] = head[:, 16:20]
    until = np.minimum(ip + total, end[rows])
    return _Layer(rows, ip + header, until, addresses).take(good)


def _version6(chars: U8, rows: I64, ip: I64, end: I64, counter: _Counter) -> _Layer:
    held = end[rows] - ip
    short = held < _IPV6_BYTES
    counter.add("short packet", short)
    rows, ip, held = rows[~short], ip[~short], held[~short]
    head = windows(chars, ip, _IPV6_BYTES)
    length = _word(head, 4)
    total = np.where(length == 0, held, length + _IPV6_BYTES)
    until = np.minimum(ip + total, end[rows])
    following = head[:, 6].astype(np.int64)
    at = ip + _IPV6_BYTES
    fragment = np.zeros(len(rows), np.bool_)
    for _ in range(_EXTENSIONS_MAX):
        fragment |= following == _FRAGMENT
        plain = np.isin(following, _EXTENSIONS)
        extended = (plain | (following == _AUTHENTICATION)) & (at + 8 <= until)
        if not extended.any():
            break
        words = chars[at + 1].astype(np.int64)
        step = np.where(plain, (words + 1) * 8, (words + 2) * 4)
        following = np.where(extended, chars[np.minimum(at, until)], following)
        at = np.where(extended, np.minimum(at + step, until), at)
    is_tcp = following == _TCP
    counter.add("IPv6 fragment", fragment)
    counter.add("not TCP", ~fragment & ~is_tcp)
    return _Layer(rows, at, until, head[:, 8:40]).take(is_tcp & ~fragment)


def _segments(packets: Packets, parts: list[_Layer], counter: _Counter) -> SegmentBatch:
    if not parts:
        return empty_segments()
    layer = parts[0]
    if len(parts) > 1:
        row = np.concatenate([part.row for part in parts])
        order = np.argsort(row, kind="stable")
        layer = _Layer(
            row[order],
            np.concatenate([part.tcp for part in parts])[order],
            np.concatenate([part.end for part in parts])[order],
            np.concatenate([part.addresses for part in parts])[order],
        )
    short = layer.tcp + _TCP_BYTES > layer.end
    if short.any():
        counter.add("short packet", short)
        layer = layer.take(~short)
    head = windows(packets.chars, layer.tcp, _TCP_BYTES)
    header = (head[:, 12] >> 4).astype(np.int64) * 4
    wrong = header < _TCP_BYTES
    if wrong.any():
        counter.add("malformed TCP header", wrong)
        layer, head, header = layer.take(~wrong), head[~wrong], header[~wrong]
    at = np.minimum(layer.tcp + header, layer.end)
    source = np.empty((len(at), ENDPOINT_BYTES), np.uint8)
    target = np.empty_like(source)
    source[:, :16], source[:, 16:] = layer.addresses[:, :16], head[:, 0:2]
    target[:, :16], target[:, 16:] = layer.addresses[:, 16:], head[:, 2:4]
    words = np.ascontiguousarray(head[:, 4:12]).view(">u4").astype(np.uint32)
    return SegmentBatch(
        packets.chars, packets.time_ns[layer.row], at, layer.end - at, source, target,
        words[:, 0], words[:, 1], head[:, 13].copy(),
    )  # fmt: skip


def _u16(chars: U8, at: I64) -> I64:
    """Return big-endian words [N] at places [N]."""
    return chars[at].astype(np.int64) << 8 | chars[at + 1]


def _word(head: U8, at: int) -> I64:
    """Return the big-endian word [N] at one place of each header."""
    return head[:, at].astype(np.int64) << 8 | head[:, at + 1]
