"""Links as the kernel tells of them over rtnetlink: requests out, facts of CAN in.

Sources: RFC 3549; netlink(7), rtnetlink(7); linux/rtnetlink.h, linux/if_link.h
(IFLA_*, rtnl_link_stats64), linux/can/netlink.h (IFLA_CAN_*, can_bittiming,
can_ctrlmode, can_berr_counter, can_device_stats). All integers are the machine's own.

    datagram    nlmsghdr (length u32, type u16, flags u16, sequence u32, port u32) ...
    RTM_NEWLINK ifinfomsg (family u8, pad, type u16, index i32, flags u32, change u32),
                then attributes: length u16, type u16, payload, padded to 4 bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from protocols.errors import WireError
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

DATAGRAM_BYTES_MAX: Final = 64 * 1024  # a kernel sends at most 32 KiB at once
MESSAGES_MAX: Final = 1024  # of one datagram
NAMES_MAX: Final = 64  # of one link, with its alternative names

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTMGRP_LINK: Final = 1  # the multicast group of links
ARPHRD_CAN: Final = 280  # linux/if_arp.h

_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP: Final = 0x300
_NLMSGHDR: Final = struct.Struct("=IHHII")
_IFINFOMSG: Final = struct.Struct("=BxHiII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_TYPE_MASK: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_IFF_UP: Final = 0x1

_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_TXQLEN: Final = 13
_IFLA_OPERSTATE: Final = 16
_IFLA_LINKINFO: Final = 18
_IFLA_STATS64: Final = 23
_IFLA_CARRIER: Final = 33
_IFLA_PROP_LIST: Final = 52
_IFLA_ALT_IFNAME: Final = 53
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_IFLA_INFO_XSTATS: Final = 3

_IFLA_CAN_BITTIMING: Final = 1
_IFLA_CAN_CLOCK: Final = 3
_IFLA_CAN_STATE: Final = 4
_IFLA_CAN_CTRLMODE: Final = 5
_IFLA_CAN_RESTART_MS: Final = 6
_IFLA_CAN_BERR_COUNTER: Final = 8
_IFLA_CAN_DATA_BITTIMING: Final = 9

# RFC 2863 ifOperStatus, in the order of linux/if.h.
OPERSTATES: Final = (
    "unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up",
)  # fmt: skip
STATES: Final = (
    "error-active", "error-warning", "error-passive", "bus-off", "stopped", "sleeping",
)  # fmt: skip
MODES: Final = {
    0x1: "loopback", 0x2: "listen-only", 0x4: "triple-sampling", 0x8: "one-shot",
    0x10: "berr-reporting", 0x20: "fd", 0x40: "presume-ack", 0x80: "fd-non-iso",
    0x100: "cc-len8-dlc", 0x200: "tdc-auto", 0x400: "tdc-manual",
}  # fmt: skip
_CANFD_MTU: Final = 72
_CANXL_MTU_MIN: Final = 76

Attributes: TypeAlias = dict[int, memoryview]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The part of ``rtnl_link_stats64`` that tells of frames received (and sent)."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    rx_over_errors: int = 0
    rx_fifo_errors: int = 0
    rx_missed_errors: int = 0


@dataclass(frozen=True, slots=True)
class CanCounters:
    """``can_device_stats``: how often each happened since the device was made."""

    bus_error: int = 0
    error_warning: int = 0
    error_passive: int = 0
    bus_off: int = 0
    arbitration_lost: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanLink:
    """All that the kernel says of one interface; of one that is not there, its name.

    What only a controller has (kind "can": state, bit rates, modes, counters) stays at
    its default for vcan and vxcan, and where a driver does not tell.
    """

    name: str
    exists: bool = True
    index: int = 0
    names: tuple[str, ...] = ()  # alternative ones
    is_can: bool = False  # ARPHRD_CAN
    kind: str = ""  # can | vcan | vxcan; "" where the driver names none
    up: bool = False  # as the administrator wants it
    carrier: bool = False
    operstate: str = "unknown"
    mtu: int = 0
    txqueuelen: int = 0
    state: str = ""  # of STATES
    bitrate: int = 0  # bit/s; 0: not set, or none
    sample_point: float = 0.0  # 0 to 1
    data_bitrate: int = 0
    data_sample_point: float = 0.0
    clock_hz: int = 0
    modes: frozenset[str] = frozenset()  # of MODES, those that are on
    restart_ms: int = 0  # after bus-off; 0: never by itself
    tx_errors: int | None = None  # the controller's error counters
    rx_errors: int | None = None
    counters: CanCounters = field(default_factory=CanCounters)
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def is_fd(self) -> bool:
        """Tell whether it takes CAN FD frames."""
        return self.mtu >= _CANFD_MTU

    @property
    def is_xl(self) -> bool:
        """Tell whether it takes CAN XL frames."""
        return self.mtu >= _CANXL_MTU_MIN

    @property
    def has_controller(self) -> bool:
        """Tell whether a real controller (or one on a serial line) is behind it."""
        return bool(self.state)

    @property
    def listen_only(self) -> bool:
        """Tell whether the controller cannot even acknowledge."""
        return "listen-only" in self.modes

    @property
    def condition(self) -> str:
        """Return one word: absent, down, the controller's state, or up."""
        if not self.exists:
            return "absent"
        return (self.state or "up") if self.up else "down"


@dataclass(frozen=True, slots=True)
class LinkTold:
    """RTM_NEWLINK or RTM_DELLINK."""

    link: CanLink
    gone: bool
    sequence: int


@dataclass(frozen=True, slots=True)
class Answer:
    """NLMSG_ERROR (``code``: an errno, 0: done as asked) or NLMSG_DONE."""

    code: int
    sequence: int


Told: TypeAlias = LinkTold | Answer


def request_link(name: str, sequence: int) -> bytes:
    """Return RTM_GETLINK for one interface by its name, or an alternative one."""
    text = name.encode() + b"\0"
    kind = _IFLA_IFNAME if len(text) <= 16 else _IFLA_ALT_IFNAME
    head = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), kind)
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + head + text
    return _request(body, _NLM_F_REQUEST, sequence)


def request_links(sequence: int) -> bytes:
    """Return RTM_GETLINK for all interfaces."""
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0)
    return _request(body, _NLM_F_REQUEST | _NLM_F_DUMP, sequence)


def _request(body: bytes, flags: int, sequence: int) -> bytes:
    body += bytes(-len(body) % 4)
    size = _NLMSGHDR.size + len(body)
    return _NLMSGHDR.pack(size, RTM_GETLINK, flags, sequence, 0) + body


def parse(datagram: bytes) -> list[Told]:
    """Return what one datagram from the kernel tells, in order.

    WireError where it is larger than the limits or cut off; kinds of messages and
    attributes that are none of ours are passed over.
    """
    if len(datagram) > DATAGRAM_BYTES_MAX:
        raise WireError("netlink", f"larger than {DATAGRAM_BYTES_MAX} bytes")
    found: list[Told] = []
    view, at = memoryview(datagram), 0
    for _ in range(MESSAGES_MAX):
        if at >= len(view):
            return found
        if len(view) - at < _NLMSGHDR.size:
            raise WireError("netlink", "message is cut off", at)
        size, kind, _, sequence, _ = _NLMSGHDR.unpack_from(view, at)
        if not _NLMSGHDR.size <= size <= len(view) - at:
            raise WireError("netlink", "message has a wrong length", at)
        body = view[at + _NLMSGHDR.size : at + size]
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            found.append(LinkTold(_link(body), kind == RTM_DELLINK, sequence))
        elif kind in (NLMSG_ERROR, NLMSG_DONE):
            found.append(Answer(_code(body, kind), sequence))
        at += size + -size % 4
    raise WireError("netlink", f"more than {MESSAGES_MAX} messages")


def _code(body: memoryview, kind: int) -> int:
    if kind == NLMSG_DONE:
        return 0
    if len(body) < 4:
        raise WireError("netlink", "an error without its code")
    return -int(struct.unpack_from("=i", body)[0])


def _attributes(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, payload); what is behind a wrong length is not looked at."""
    at = 0
    while len(body) - at >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        if not _ATTRIBUTE.size <= size <= len(body) - at:
            raise WireError("netlink", "attribute has a wrong length", at)
        yield kind & _TYPE_MASK, body[at + _ATTRIBUTE.size : at + size]
        at += size + -size % 4


def _link(body: memoryview) -> CanLink:
    if len(body) < _IFINFOMSG.size:
        raise WireError("netlink", "a link without its ifinfomsg")
    _, hardware, index, flags, _ = _IFINFOMSG.unpack_from(body)
    told: Attributes = dict(_attributes(body[_IFINFOMSG.size :]))
    about: Attributes = dict(_attributes(told.get(_IFLA_LINKINFO, memoryview(b""))))
    kind = _text(about, _IFLA_INFO_KIND)
    common = CanLink(
        name=_text(told, _IFLA_IFNAME),
        index=index,
        names=_names(told),
        is_can=hardware == ARPHRD_CAN,
        kind=kind,
        up=bool(flags & _IFF_UP),
        carrier=bool(_number(told, _IFLA_CARRIER, "=B")),
        operstate=_word(OPERSTATES, _number(told, _IFLA_OPERSTATE, "=B")),
        mtu=_number(told, _IFLA_MTU, "=I"),
        txqueuelen=_number(told, _IFLA_TXQLEN, "=I"),
        traffic=_traffic(told),
    )
    if kind != "can" or _IFLA_INFO_DATA not in about:
        return common
    return _controller(common, about)


def _controller(link: CanLink, about: Attributes) -> CanLink:
    """Return ``link`` with what IFLA_INFO_DATA and _XSTATS say of the controller."""
    told: Attributes = dict(_attributes(about[_IFLA_INFO_DATA]))
    _, on = _numbers(told, _IFLA_CAN_CTRLMODE, "=II")
    bitrate, sample, *_ = _numbers(told, _IFLA_CAN_BITTIMING, "=8I")
    data_bitrate, data_sample, *_ = _numbers(told, _IFLA_CAN_DATA_BITTIMING, "=8I")
    errors = _numbers(told, _IFLA_CAN_BERR_COUNTER, "=HH")
    counted = _IFLA_CAN_BERR_COUNTER in told
    state = _word(STATES, _number(told, _IFLA_CAN_STATE, "=I"))
    return CanLink(
        name=link.name, index=link.index, names=link.names, is_can=link.is_can,
        kind=link.kind, up=link.up, carrier=link.carrier, operstate=link.operstate,
        mtu=link.mtu, txqueuelen=link.txqueuelen, traffic=link.traffic,
        state=state if _IFLA_CAN_STATE in told else "",
        bitrate=bitrate,
        sample_point=sample / 1000,
        data_bitrate=data_bitrate,
        data_sample_point=data_sample / 1000,
        clock_hz=_number(told, _IFLA_CAN_CLOCK, "=I"),
        modes=frozenset(word for bit, word in MODES.items() if on & bit),
        restart_ms=_number(told, _IFLA_CAN_RESTART_MS, "=I"),
        tx_errors=errors[0] if counted else None,
        rx_errors=errors[1] if counted else None,
        counters=CanCounters(*_numbers(about, _IFLA_INFO_XSTATS, "=6I")),
    )  # fmt: skip


def _traffic(told: Attributes) -> Traffic:
    """Return the counters; a kernel older than the header sends fewer."""
    stats = _numbers(told, _IFLA_STATS64, "=16Q")
    return Traffic(
        rx_packets=stats[0],
        tx_packets=stats[1],
        rx_errors=stats[4],
        rx_dropped=stats[6],
        rx_over_errors=stats[11],
        rx_fifo_errors=stats[14],
        rx_missed_errors=stats[15],
    )


def _names(told: Attributes) -> tuple[str, ...]:
    inner = _attributes(told.get(_IFLA_PROP_LIST, memoryview(b"")))
    names = [_plain(text) for kind, text in inner if kind == _IFLA_ALT_IFNAME]
    return tuple(names[:NAMES_MAX])


def _numbers(told: Attributes, kind: int, form: str) -> tuple[int, ...]:
    """Return the numbers of an attribute; zeros where it is absent or shorter."""
    size = struct.calcsize(form)
    payload = bytes(told.get(kind, b"")[:size])
    return struct.unpack(form, payload + bytes(size - len(payload)))


def _number(told: Attributes, kind: int, form: str) -> int:
    return _numbers(told, kind, form)[0]


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else f"state {number}"


def _text(told: Attributes, kind: int) -> str:
    return _plain(told.get(kind, memoryview(b"")))


def _plain(payload: memoryview) -> str:
    raw = bytes(payload).split(b"\0", 1)[0]
    return printable(raw.decode("utf-8", "replace"))
