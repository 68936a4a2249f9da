"""CAN packets of a pcap file: from places of packets to frames, all at once.

LINKTYPE_CAN_SOCKETCAN (tcpdump.org/linktypes/LINKTYPE_CAN_SOCKETCAN.html)::

    can_id u32 big endian (flags in bits 29..31)  length u8  FD flags u8  2 bytes
    payload

LINKTYPE_LINUX_SLL: 16 bytes, of which the last two are the protocol (0x000C classic,
0x000D FD), then the same structure with the identifier in the host's byte order, which
the file's own byte order tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.columns import masked_payload, windows
from protocols.frames import (
    CAN_RTR_FLAG,
    CANFD_BRS,
    CANFD_ESI,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
)

if TYPE_CHECKING:
    from protocols.frames import I64, U8, Bool, Index

LINK_SLL: Final = 113
LINK_SOCKETCAN: Final = 227
LINKS: Final = (LINK_SLL, LINK_SOCKETCAN)
LINK_NAMES: Final = {
    0: "BSD loopback", 1: "Ethernet", 12: "raw IP", 101: "raw IP", 105: "IEEE 802.11",
    113: "Linux cooked", 127: "IEEE 802.11 radiotap", 190: "CAN 2.0B of CMU",
    195: "IEEE 802.15.4", 210: "FlexRay", 212: "LIN", 220: "USB", 227: "SocketCAN",
    276: "Linux cooked version 2",
}  # fmt: skip
TAIL: Final = 128

_HEAD: Final = 8  # bytes before the payload
_FD_BYTES: Final = 72  # struct canfd_frame
_XL_FLAG: Final = 0x80  # CANXL_XLF stands where classic frames have their length
_SLL_HEAD: Final = 16
_PROTOCOL_CAN: Final = 0x000C
_PROTOCOL_CANFD: Final = 0x000D


@dataclass(frozen=True, slots=True)
class Packets:
    """N packets of one link type within ``chars``, which has TAIL zeros behind."""

    chars: U8
    at: Index  # [N]
    captured: I64  # [N] bytes that are there
    time_ns: I64  # [N]
    bus: U8  # [N]

    def take(self, rows: Bool) -> Packets:
        """Return the packets that ``rows`` selects."""
        return Packets(
            self.chars, self.at[rows], self.captured[rows], self.time_ns[rows],
            self.bus[rows],
        )  # fmt: skip


def decode_packets(
    packets: Packets, link: int, order: str, skipped: dict[str, int]
) -> FrameBatch:
    """Return the frames of ``packets`` in order; count others in ``skipped``."""

    def keep(packets: Packets, good: Bool, cause: str) -> Packets:
        if good.all():
            return packets
        skipped[cause] = skipped.get(cause, 0) + int((~good).sum())
        return packets.take(good)

    fd_by_link = None
    layout = ">u4"
    if link == LINK_SLL:
        layout = f"{order}u4"
        packets = keep(packets, packets.captured >= _SLL_HEAD, "short packet")
        protocol = windows(packets.chars, packets.at + 14, 2).view(">u2")[:, 0]
        good = (protocol == _PROTOCOL_CAN) | (protocol == _PROTOCOL_CANFD)
        packets = keep(packets, good, "cooked packet that is no CAN")
        packets = Packets(
            packets.chars, packets.at + _SLL_HEAD, packets.captured - _SLL_HEAD,
            packets.time_ns, packets.bus,
        )  # fmt: skip
    packets = keep(packets, packets.captured >= _HEAD, "short packet")
    packets = keep(
        packets, (packets.chars[packets.at + 4] & _XL_FLAG) == 0, "CAN XL frame"
    )
    if link == LINK_SLL:
        protocol = windows(packets.chars, packets.at - 2, 2).view(">u2")[:, 0]
        fd_by_link = protocol == _PROTOCOL_CANFD
    fd = _is_fd(packets) if fd_by_link is None else fd_by_link
    size = packets.chars[packets.at + 4]
    good = size <= np.where(fd, FD_BYTES_MAX, CLASSIC_BYTES_MAX)
    packets, fd = keep(packets, good, "length out of range"), fd[good]
    record = windows(packets.chars, packets.at, _FD_BYTES)
    ident = record[:, :4].copy().view(layout)[:, 0].astype(np.uint32)
    size = record[:, 4].copy()
    held = np.where(ident & CAN_RTR_FLAG, 0, size).astype(np.uint8)
    good = held <= packets.captured - _HEAD
    if not good.all():
        packets = keep(packets, good, "packet cut off by the snap length")
        record, ident, size, held, fd = (
            record[good], ident[good], size[good], held[good], fd[good],
        )  # fmt: skip
    wide = bool((size > CLASSIC_BYTES_MAX).any())
    width = FD_BYTES_MAX if wide else CLASSIC_BYTES_MAX
    payload = record[:, _HEAD : _HEAD + width].copy()
    known = record[:, 5] & np.uint8(CANFD_BRS | CANFD_ESI)
    return FrameBatch(
        packets.time_ns,
        packets.bus,
        ident,
        size,
        np.where(fd, known | CANFD_FDF, 0).astype(np.uint8),
        masked_payload(payload, held),
    )


def _is_fd(packets: Packets) -> Bool:
    """Tell FD frames: by CANFD_FDF (newer libpcap), else by the structure's size."""
    flagged = (packets.chars[packets.at + 5] & CANFD_FDF) != 0
    wide: Bool = flagged | (packets.captured == _FD_BYTES)
    return wide
