"""pcap and pcapng: packets of the link types asked for, and the CAN frames of them.

Formats: draft-ietf-opsawg-pcap and -pcapng; packets: tcpdump.org/linktypes.
Both byte orders, us and ns. Records are a linked list: their places are followed one by
one, their fields are gathered all at once: LINKTYPE_CAN_SOCKETCAN (227) and
LINKTYPE_LINUX_SLL (113) in `pcap_packets`, TCP in `ethernet`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from protocols.capture.columns import NS, BusTable, windows
from protocols.capture.pcap_packets import (
    LINK_NAMES,
    LINKS,
    TAIL,
    Packets,
    decode_packets,
)
from protocols.errors import WireError
from protocols.frames import FrameBatch, concat_frames, empty_frames

if TYPE_CHECKING:
    from collections.abc import Collection

PCAP_MAGICS: Final = {  # first four bytes: byte order, ns in one unit of the fraction
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
PACKET_BYTES_MAX: Final = 262_144  # MAXIMUM_SNAPLEN of libpcap
BLOCK_BYTES_MAX: Final = 16 * 1024 * 1024
INTERFACES_MAX: Final = 1024  # in one section

_SECTION, _INTERFACE, _SIMPLE, _PACKET = 0x0A0D0D0A, 1, 3, 6
_OPTION_NAME, _OPTION_RESOLUTION, _OPTION_OFFSET = 2, 9, 14


def link_type_of(head: bytes) -> int | None:
    """Return the link type of a file's first interface; None where ``head`` has none.

    ``head``: the first bytes of the file, 4 KiB are enough.
    """
    if head[:4] in PCAP_MAGICS and len(head) >= 24:
        order, _ = PCAP_MAGICS[head[:4]]
        (link,) = struct.unpack_from(f"{order}I", head, 20)
        return int(link) & 0xFFFF  # above: length of a frame check sequence
    if not head.startswith(PCAPNG_MAGIC) or len(head) < 12:
        return None
    order = "<" if head[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    at = 0
    while at + 12 <= len(head):
        kind, size = struct.unpack_from(f"{order}II", head, at)
        if kind == _INTERFACE:
            return int(struct.unpack_from(f"{order}H", head, at + 8)[0])
        if size < 12:
            return None
        at += size
    return None


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    bus: int
    base: int  # 10 or 2
    exponent: int
    offset_s: int


class Run(NamedTuple):
    """Packets that follow one another in a file and have one link type."""

    link: int
    order: str  # the file's byte order, "<" or ">"
    packets: Packets


class PcapParser:
    """pcap or pcapng bytes in, frames out; `error` tells where the file breaks.

    Packets that are no CAN frames are counted in `skipped` by cause.
    """

    def __init__(self) -> None:
        """Start before the file header."""
        self._reader = PacketReader(LINKS, "CAN")
        self.skipped = self._reader.skipped

    @property
    def error(self) -> WireError | None:
        """Return where and why the file breaks; None while it does not."""
        return self._reader.error

    @error.setter
    def error(self, error: WireError | None) -> None:
        self._reader.error = error

    @property
    def buses(self) -> list[str]:
        """Names of the buses that ``FrameBatch.bus`` indexes; grows."""
        return self._reader.buses

    def feed(self, data: bytes) -> FrameBatch:
        """Return the frames of the records that ``data`` completes."""
        return concat_frames(
            [
                decode_packets(run.packets, run.link, run.order, self.skipped)
                for run in self._reader.feed(data)
            ]
        )

    def finish(self) -> FrameBatch:
        """Return no frames; `error` tells where the file ends inside a record."""
        self._reader.finish()
        return empty_frames()


class PacketReader:
    """pcap or pcapng bytes in, packets out, in runs of one link type.

    ``links``: the link types that are wanted, ``carries`` what they carry, in words.
    `error` tells where the file breaks; packets of other link types are counted in
    `skipped`. A pcap of another link type, and a pcapng without any, is an error.
    """

    def __init__(self, links: Collection[int], carries: str) -> None:
        """Start before the file header."""
        self._links = frozenset(links)
        self._carries = carries
        self.skipped: dict[str, int] = {}
        self.error: WireError | None = None
        self._table = BusTable()
        self._data = b""
        self._offset = 0  # of _data in the capture
        self._order = ""  # "<" or ">" once it is known
        self._classic: tuple[int, int] | None = None  # link, ns per unit
        self._interfaces: list[_Interface] = []
        self._any_wanted = False

    @property
    def buses(self) -> list[str]:
        """Names of the interfaces that ``Packets.bus`` indexes; grows."""
        return self._table.names

    def feed(self, data: bytes) -> list[Run]:
        """Return the packets of the records that ``data`` completes."""
        if self.error is not None:
            raise self.error
        self._data += data
        parts: list[Run] = []
        place = 0
        try:
            if not self._order and len(self._data) >= 24:
                place = self._header()
            if self._classic is not None:
                place = self._records(place, parts)
            elif self._order:
                place = self._blocks(place, parts)
        except WireError as error:
            self.error = error
        self._data = self._data[place:]
        self._offset += place
        return parts

    def finish(self) -> None:
        """Take the end of the file: `error` tells where it is inside a record."""
        if self.error is not None:
            raise self.error
        if not self._order:
            self.error = WireError("pcap header", "file ends inside it", 0)
        elif self._data:
            reason = f"file ends inside it, after {len(self._data)} bytes"
            self.error = WireError("pcap record", reason, self._offset)
        elif self._classic is None and not self._any_wanted:
            links = sorted({interface.link for interface in self._interfaces})
            named = ", ".join(map(_link_name, links)) or "none"
            reason = f"no {self._carries} interface in the file (link types: {named})"
            self.error = WireError("pcapng", reason)

    def _header(self) -> int:
        """Learn the format; return where records begin."""
        magic = self._data[:4]
        if magic == PCAPNG_MAGIC:
            self._order = _section_order(self._data, 0)
            return 0
        if magic not in PCAP_MAGICS:
            raise WireError("pcap header", "neither pcap nor pcapng", 0)
        self._order, unit = PCAP_MAGICS[magic]
        link = struct.unpack_from(f"{self._order}I", self._data, 20)[0] & 0xFFFF
        if link not in self._links:
            reason = f"link type {_link_name(link)} carries no {self._carries} frames"
            raise WireError("pcap header", reason, 20)
        self._classic = (link, unit)
        self._table.index("can0")
        return 24

    def _records(self, place: int, parts: list[Run]) -> int:
        """Collect the whole records behind ``place``; return where they end."""
        data, end = self._data, len(self._data)
        captured_at = struct.Struct(f"{self._order}I").unpack_from
        places: list[int] = []
        broken: WireError | None = None
        while place + 16 <= end:
            captured = captured_at(data, place + 8)[0]
            if captured > PACKET_BYTES_MAX:
                reason = f"claims {captured} bytes"
                broken = WireError("pcap record", reason, self._offset + place)
                break
            if place + 16 + captured > end:
                break
            places.append(place)
            place += 16 + captured
        if places and self._classic is not None:
            at = np.array(places)
            chars = np.frombuffer(data + bytes(TAIL), np.uint8)
            head = windows(chars, at, 16).view(f"{self._order}u4").astype(np.int64)
            link, unit = self._classic
            time_ns = head[:, 0] * NS + head[:, 1] * unit
            bus = np.zeros(len(at), np.uint8)
            packets = Packets(chars, at + 16, head[:, 2], time_ns, bus)
            parts.append(Run(link, self._order, packets))
        self.error = broken
        return place

    def _blocks(self, place: int, parts: list[Run]) -> int:
        """Follow the whole pcapng blocks behind ``place``; return where they end."""
        data, end = self._data, len(self._data)
        packets: list[int] = []
        try:
            while place + 12 <= end:
                if data[place : place + 4] == PCAPNG_MAGIC:
                    self._packets(packets, parts)
                    packets = []
                    self._order = _section_order(data, place)
                kind, size = self._block_head(place)
                if place + size > end:
                    break
                if kind == _PACKET and size >= 32:
                    packets.append(place)
                else:
                    self._other(kind, place, size)
                place += size
        except WireError as error:
            self.error = error
        self._packets(packets, parts)
        return place

    def _block_head(self, place: int) -> tuple[int, int]:
        """Return type and total size of the block at ``place``."""
        kind, size = struct.unpack_from(f"{self._order}II", self._data, place)
        if not 12 <= size <= BLOCK_BYTES_MAX or size % 4:
            reason = f"block claims {size} bytes"
            raise WireError("pcapng block", reason, self._offset + place)
        return kind, size

    def _other(self, kind: int, place: int, size: int) -> None:
        if kind == _SECTION:
            self._interfaces = []
        elif kind == _INTERFACE and size >= 20:
            self._interface(self._data[place + 8 : place + size - 4])
        elif kind in (_SIMPLE, _PACKET):
            cause = (
                "pcapng packet without a time" if kind == _SIMPLE else "short packet"
            )
            self.skipped[cause] = self.skipped.get(cause, 0) + 1

    def _interface(self, body: bytes) -> None:
        if len(self._interfaces) >= INTERFACES_MAX:
            raise WireError("pcapng", f"more than {INTERFACES_MAX} interfaces")
        link = struct.unpack_from(f"{self._order}H", body)[0]
        name, resolution, offset_s = "", 6, 0
        place = 8
        while place + 4 <= len(body):
            code, size = struct.unpack_from(f"{self._order}HH", body, place)
            value = body[place + 4 : place + 4 + size]
            if code == 0:
                break
            if code == _OPTION_NAME and len(value) <= 64:
                name = value.rstrip(b"\0").decode("ascii", "replace")
            elif code == _OPTION_RESOLUTION and size == 1:
                resolution = value[0]
            elif code == _OPTION_OFFSET and len(value) == 8:
                offset_s = struct.unpack(f"{self._order}q", value)[0]
            place += 4 + size + -size % 4
        base, exponent = (
            (2, resolution & 0x7F) if resolution & 0x80 else (10, resolution)
        )
        if exponent > (32 if base == 2 else 18) or abs(offset_s) > 2**33:
            raise WireError("pcapng interface", "time resolution is out of range")
        is_wanted = link in self._links
        self._any_wanted |= is_wanted
        default = f"can{len(self._interfaces)}"
        usable = name if name.isprintable() and " " not in name else ""
        bus = self._table.index(usable or default) if is_wanted else 0
        self._interfaces.append(_Interface(link, bus, base, exponent, offset_s))

    def _packets(self, places: list[int], parts: list[Run]) -> None:
        """Decode the enhanced packet blocks at ``places``, in runs of one link type."""
        if not places:
            return
        at = np.array(places)
        chars = np.frombuffer(self._data + bytes(TAIL), np.uint8)
        head = windows(chars, at, 28).view(f"{self._order}u4").astype(np.int64)
        number = head[:, 2]
        known = number < len(self._interfaces)
        fits = head[:, 5] <= head[:, 1] - 32
        self._count("packet of an unknown interface", int((~known).sum()))
        self._count("packet longer than its block", int((known & ~fits).sum()))
        time_ns = np.zeros(len(at), np.int64)
        bus = np.zeros(len(at), np.uint8)
        link = np.zeros(len(at), np.int64)
        ticks = head[:, 3].astype(np.uint64) << np.uint64(32) | head[:, 4].astype("u8")
        usable = known & fits
        for index in np.unique(number[usable]).tolist():  # interfaces, not packets
            interface = self._interfaces[index]
            rows = usable & (number == index)
            time_ns[rows] = _nanoseconds(ticks[rows], interface)
            bus[rows], link[rows] = interface.bus, interface.link
        late = usable & (time_ns < 0)
        self._count("time out of range", int(late.sum()))
        usable &= ~late
        for kind in np.unique(link[usable]).tolist():
            rows = usable & (link == kind)
            if kind not in self._links:
                self._count(f"link type {_link_name(kind)}", int(rows.sum()))
        edges = np.flatnonzero(np.diff(np.where(usable, link, -1))) + 1
        for run in np.split(np.arange(len(at)), edges):  # runs of one link type
            kind = int(link[run[0]])
            if usable[run[0]] and kind in self._links:
                packets = Packets(
                    chars, at[run] + 28, head[run, 5], time_ns[run], bus[run]
                )
                parts.append(Run(kind, self._order, packets))

    def _count(self, cause: str, packets: int) -> None:
        if packets:
            self.skipped[cause] = self.skipped.get(cause, 0) + packets


def _link_name(link: int) -> str:
    return f"{link} ({LINK_NAMES[link]})" if link in LINK_NAMES else str(link)


def _section_order(data: bytes, place: int) -> str:
    mark = data[place + 8 : place + 12]
    if mark == b"\x4d\x3c\x2b\x1a":
        return "<"
    if mark == b"\x1a\x2b\x3c\x4d":
        return ">"
    raise WireError("pcapng section", "unknown byte order", place + 8)


def _nanoseconds(
    ticks: np.ndarray[tuple[int], np.dtype[np.uint64]], interface: _Interface
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return times [N] in ns; -1 where they do not fit."""
    units = interface.base**interface.exponent
    second = (ticks // np.uint64(units)).astype(np.int64)
    part = ticks % np.uint64(units)
    if units <= 2**32:
        part = part * np.uint64(NS) // np.uint64(units)
    else:
        part = part // np.uint64(max(units // NS, 1))
    second = second + interface.offset_s
    late = (second < 0) | (second > 2**33)
    return np.where(late, -1, np.where(late, 0, second) * NS + part.astype(np.int64))
