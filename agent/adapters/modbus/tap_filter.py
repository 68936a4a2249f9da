"""The kernel's packet filter of a tap: TCP from or to a few ports, and nothing else.

Classic BPF (Documentation/networking/filter.rst): what no Modbus port has never leaves
the kernel. Up to two VLAN tags may stand in the frame (802.1Q, 802.1ad). Later
fragments of TCP over IPv4 carry no ports: they pass, so that the reader can count them.
TCP behind IPv6 extension headers does not pass.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PORTS_MAX: Final = 16  # jumps of classic BPF reach 255 instructions

_LOAD_WORD: Final = 0x20  # linux/bpf_common.h: ld [k]
_LOAD_HALF: Final = 0x28  # ldh [k]
_LOAD_BYTE: Final = 0x30  # ldb [k]
_LOAD_HALF_AT: Final = 0x48  # ldh [x + k]
_HEADER_TO_X: Final = 0xB1  # ldxb 4*([k]&0xf)
_ZERO_TO_X: Final = 0x01  # ldx #k
_EQUAL: Final = 0x15  # jeq #k
_ANY_BIT: Final = 0x45  # jset #k
_RETURN: Final = 0x06  # ret #k
_PACKET_TYPE: Final = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE
_OUTGOING: Final = 4  # PACKET_OUTGOING, linux/if_packet.h
_WHOLE: Final = 0x40000  # bytes of a packet that are kept: more than any has

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_TAGS: Final = (0x8100, 0x88A8)
_TCP: Final = 6
_FRAGMENT_OFFSET: Final = 0x1FFF


def build_filter(ports: Sequence[int], *, outgoing: bool) -> bytes:
    """Return ``struct sock_filter[N]`` for Ethernet frames of TCP ``ports``.

    Without ``outgoing``, what this machine sends does not pass: a loopback interface
    shows each packet going out and coming in. ValueError for no port, more than
    PORTS_MAX, or one outside 1..65535.
    """
    wanted = sorted(set(ports))
    if not 1 <= len(wanted) <= PORTS_MAX:
        raise ValueError(f"{len(wanted)} ports: 1..{PORTS_MAX} can be filtered")
    if wanted[0] < 1 or wanted[-1] > 0xFFFF:
        raise ValueError("a TCP port is 1..65535")
    program = b""
    if not outgoing:
        program += _code(_LOAD_WORD, _PACKET_TYPE)
        program += _code(_EQUAL, _OUTGOING, 0, 1) + _code(_RETURN, 0)
    for tags in range(3):
        program += _layer(14 + 4 * tags, wanted, last=tags == 2)
    return program


def _layer(start: int, ports: list[int], *, last: bool) -> bytes:
    """Return the steps for an IP header at ``start``; else they go on to the next."""
    version4 = _version4(start, ports)
    version6 = _version6(start, ports)
    four, six = len(version4) // 8, len(version6) // 8
    kind = _code(_LOAD_HALF, start - 2)
    if last:
        kind += _code(_EQUAL, _IPV4, 2, 0)
        kind += _code(_EQUAL, _IPV6, 1 + four, 0)
        return kind + _code(_RETURN, 0) + version4 + version6
    kind += _code(_EQUAL, _IPV4, 4, 0)
    kind += _code(_EQUAL, _IPV6, 3 + four, 0)
    kind += _code(_EQUAL, _TAGS[0], 2 + four + six, 0)
    kind += _code(_EQUAL, _TAGS[1], 1 + four + six, 0)
    return kind + _code(_RETURN, 0) + version4 + version6


def _version4(start: int, ports: list[int]) -> bytes:
    return (
        _code(_LOAD_BYTE, start + 9)
        + _code(_EQUAL, _TCP, 1, 0)
        + _code(_RETURN, 0)
        + _code(_LOAD_HALF, start + 6)
        + _code(_ANY_BIT, _FRAGMENT_OFFSET, 0, 1)
        + _code(_RETURN, _WHOLE)
        + _code(_HEADER_TO_X, start)
        + _ports(start, ports)
    )


def _version6(start: int, ports: list[int]) -> bytes:
    return (
        _code(_LOAD_BYTE, start + 6)
        + _code(_EQUAL, _TCP, 1, 0)
        + _code(_RETURN, 0)
        + _code(_ZERO_TO_X, 40)
        + _ports(start, ports)
    )


def _ports(start: int, ports: list[int]) -> bytes:
    """Return the steps that end: TCP's header is at ``start`` + x."""
    program = b""
    for field in (0, 2):  # source, destination
        program += _code(_LOAD_HALF_AT, start + field)
        for port in ports:
            program += _code(_EQUAL, port, 0, 1) + _code(_RETURN, _WHOLE)
    return program + _code(_RETURN, 0)


def _code(code: int, k: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, k)
