"""Packets to a capture file, all at once: Ethernet, IPv4, TCP, with checksums.

pcap with nanoseconds (magic a1b23c4d), LINKTYPE_ETHERNET. Short frames are padded to
60 bytes, as a switch does. Sources: RFC 791, RFC 1071, RFC 9293, IEEE 802.3.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_sim.schema import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware_sim.network.tcp import Packet
    from protocols.frames import I64, U8

RECORD: Final = 16
ETHERNET: Final = 14
HEADERS: Final = 54
FRAME_MIN: Final = 60
WINDOW: Final = 64240
MAC_PREFIX: Final = (0x02, 0x00)  # locally administered
FILE_HEADER: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)


def pcap_bytes(rows: Sequence[Packet], start_ns: int) -> bytes:
    """Return the capture; rows in any order, their times since ``start_ns``."""
    if not rows:
        return FILE_HEADER
    times = np.array([row[0] for row in rows], np.int64)
    order = np.argsort(times, kind="stable")
    payloads = [rows[i][8] for i in order.tolist()]
    sizes = np.array([len(one) for one in payloads], np.int64)
    fields = np.array([row[1:8] for row in rows], np.int64)[order]
    content = np.frombuffer(b"".join(payloads), np.uint8)
    headers = _headers(fields, sizes, content)
    lengths = np.maximum(sizes + HEADERS, FRAME_MIN)
    ends = np.cumsum(lengths + RECORD)
    starts = ends - lengths - RECORD
    out = np.zeros(int(ends[-1]), np.uint8)
    stamps = _records(times[order] + start_ns, lengths)
    out[starts[:, None] + np.arange(RECORD)] = stamps
    out[starts[:, None] + RECORD + np.arange(HEADERS)] = headers
    out[_places(starts + RECORD + HEADERS, sizes)] = content
    return FILE_HEADER + out.tobytes()


def _places(starts: I64, sizes: I64) -> I64:
    """Return where each payload byte goes."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _records(times: I64, lengths: I64) -> U8:
    words = np.empty((len(times), 4), "<u4")
    words[:, 0] = times // NS
    words[:, 1] = times % NS
    words[:, 2] = words[:, 3] = lengths
    return words.view(np.uint8)


def _put(out: U8, at: int, values: I64, size: int) -> None:
    """Write a column of big-endian numbers."""
    for place in range(size):
        out[:, at + place] = values >> (8 * (size - 1 - place)) & 0xFF


def _headers(fields: I64, sizes: I64, content: U8) -> U8:
    source, target, sport, dport, sequence, ack, flags = fields.T
    count = len(sizes)
    out = np.zeros((count, HEADERS), np.uint8)
    for at, host in ((0, target), (6, source)):
        out[:, at : at + 2] = MAC_PREFIX
        _put(out, at + 2, host, 4)
    out[:, 12:14] = (0x08, 0x00)
    out[:, 14] = 0x45
    _put(out, 16, sizes + 40, 2)
    # Identification counts by packet; DF; time to live 64; protocol TCP.
    _put(out, 18, np.arange(count) & 0xFFFF, 2)
    out[:, 20] = 0x40
    out[:, 22:24] = (64, 6)
    _put(out, 26, source, 4)
    _put(out, 30, target, 4)
    _put(out, 24, _folded(_sums(out[:, 14:34])), 2)
    _put(out, 34, sport, 2)
    _put(out, 36, dport, 2)
    _put(out, 38, sequence, 4)
    _put(out, 42, ack, 4)
    out[:, 46] = 5 << 4
    out[:, 47] = flags
    _put(out, 48, np.full(count, WINDOW), 2)
    total = _sums(out[:, 26:54]) + 6 + 20 + sizes + _payload_sums(sizes, content)
    _put(out, 50, _folded(total), 2)
    return out


def _sums(part: U8) -> I64:
    """Return each row's sum of 16-bit words."""
    high: I64 = part[:, 0::2].sum(axis=1, dtype=np.int64)
    low: I64 = part[:, 1::2].sum(axis=1, dtype=np.int64)
    return (high << 8) + low


def _payload_sums(sizes: I64, content: U8) -> I64:
    """Return each payload's sum of 16-bit words, an odd last byte being a high one."""
    ends = np.cumsum(sizes)
    begins = ends - sizes
    inside = np.arange(len(content)) - np.repeat(begins, sizes)
    weighted = content.astype(np.int64) << (8 * (1 - (inside & 1)))
    sums = np.concatenate([[0], np.cumsum(weighted)])
    found: I64 = sums[ends] - sums[begins]
    return found


def _folded(total: I64) -> I64:
    """Return the ones' complement of a sum, carries added in (RFC 1071)."""
    folded = (total & 0xFFFF) + (total >> 16)
    folded = (folded & 0xFFFF) + (folded >> 16)
    complement: I64 = ~folded & 0xFFFF
    return complement


def address_number(text: str) -> int:
    """Return an IPv4 address as a number."""
    a, b, c, d = (int(part) for part in text.split("."))
    return a << 24 | b << 16 | c << 8 | d
