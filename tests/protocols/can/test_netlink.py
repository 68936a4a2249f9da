"""Links over rtnetlink: what iproute2 says of the same messages is the oracle.

`netlink-links.jsonl` was recorded on Linux 6.12: vcan, vxcan, and slcan (a real CAN
device of kind "can", on a pseudo terminal that played its adapter). Each row has the
kernel's datagram and what `ip -details -statistics -json link show` printed then.
What slcan has not (sample points, data bit rate, error counters) is built here by the
structs of linux/can/netlink.h.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.can import netlink
from protocols.can.netlink import Answer, CanLink, LinkTold, parse
from protocols.errors import WireError

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("netlink-links.jsonl").read_text().splitlines()
]


def link_of(datagram: bytes) -> CanLink:
    (told,) = parse(datagram)
    assert isinstance(told, LinkTold)
    return told.link


@pytest.mark.parametrize("row", ROWS, ids=[row["label"] for row in ROWS])
def test_the_kernels_words_are_what_iproute2_reads(row: dict[str, Any]) -> None:
    link, theirs = link_of(bytes.fromhex(row["hex"])), row["ip"]
    assert link.name == theirs["ifname"]
    assert link.names == tuple(theirs.get("altnames", ()))
    assert link.up == ("UP" in theirs["flags"])
    assert link.operstate == theirs["operstate"].lower()
    assert (link.mtu, link.txqueuelen) == (theirs["mtu"], theirs["txqlen"])
    assert link.is_can == (theirs["link_type"] == "can")
    rx = theirs["rx"]
    traffic = link.traffic
    assert traffic.rx_packets == rx["packets"]
    assert traffic.rx_errors == rx["errors"]
    assert traffic.rx_dropped == rx["dropped"]
    assert traffic.rx_over_errors == rx["over_errors"]
    info = theirs["linkinfo"]
    assert link.kind == info["info_kind"]
    data = info.get("info_data", {})
    assert link.state == data.get("state", "").lower()
    assert link.bitrate == data.get("bittiming_bitrate", 0)
    assert link.restart_ms == data.get("restart_ms", 0)
    assert link.modes == {mode.lower() for mode in data.get("ctrlmode", ())}
    for name, count in info.get("info_xstats", {}).items():
        assert getattr(link.counters, name) == count


def test_the_record_has_every_state() -> None:
    links = {row["label"]: link_of(bytes.fromhex(row["hex"])) for row in ROWS}
    conditions = {label: link.condition for label, link in links.items()}
    assert conditions["vcan down"] == "down"
    assert conditions["vcan fd up"] == conditions["vxcan"] == "up"
    assert conditions["can bus-off"] == "bus-off"
    assert conditions["can stopped"] == "down"
    assert links["can listen-only up"].listen_only
    assert links["can overrun"].traffic.rx_over_errors == 1
    assert links["vcan fd up"].is_fd
    assert not links["can bus-off"].is_fd
    assert CanLink(name="x", exists=False).condition == "absent"


# --- built by the headers -------------------------------------------------------------


def attribute(kind: int, payload: bytes, flags: int = 0) -> bytes:
    head = struct.pack("=HH", 4 + len(payload), kind | flags)
    return head + payload + bytes(-len(payload) % 4)


def message(body: bytes, kind: int = 16, sequence: int = 9) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body


def newlink(*attributes: bytes, flags: int = 1, hardware: int = 280) -> bytes:
    head = struct.pack("=BxHiII", 0, hardware, 7, flags, 0)
    return head + b"".join(attributes)


def controller(*data: bytes, xstats: bytes = b"") -> bytes:
    info = attribute(1, b"can\0") + attribute(2, b"".join(data), 0x8000)
    if xstats:
        info += attribute(3, xstats)
    return newlink(attribute(3, b"can7\0"), attribute(18, info, 0x8000))


def test_what_only_a_controller_with_fd_has() -> None:
    timing = struct.pack("=8I", 500_000, 875, 125, 6, 7, 2, 1, 5)
    data = struct.pack("=8I", 2_000_000, 750, 25, 7, 7, 5, 1, 1)
    on = 0x2 | 0x8 | 0x10 | 0x20 | 0x200
    link = link_of(
        message(
            controller(
                attribute(1, timing),
                attribute(3, struct.pack("=I", 40_000_000)),
                attribute(4, struct.pack("=I", 2)),
                attribute(5, struct.pack("=II", 0xFFFF, on)),
                attribute(6, struct.pack("=I", 100)),
                attribute(8, struct.pack("=HH", 128, 96)),
                attribute(9, data),
                attribute(16, b"\1\2\3\4", 0x8000),  # IFLA_CAN_TDC: none of ours
                xstats=struct.pack("=6I", 1, 2, 3, 4, 5, 6),
            )
        )
    )
    assert (link.bitrate, link.sample_point) == (500_000, 0.875)
    assert (link.data_bitrate, link.data_sample_point) == (2_000_000, 0.75)
    assert link.clock_hz == 40_000_000
    assert link.condition == "error-passive"
    assert link.modes == {"listen-only", "one-shot", "berr-reporting", "fd", "tdc-auto"}
    assert (link.restart_ms, link.tx_errors, link.rx_errors) == (100, 128, 96)
    counters = link.counters
    assert (counters.bus_error, counters.error_warning) == (1, 2)
    assert (counters.error_passive, counters.bus_off) == (3, 4)
    assert (counters.arbitration_lost, counters.restarts) == (5, 6)


def test_a_driver_that_tells_less_is_read_all_the_same() -> None:
    link = link_of(message(controller(attribute(4, b"\0\0\0\0"))))
    assert link.condition == "error-active"
    assert (link.bitrate, link.tx_errors, link.modes) == (0, None, frozenset())
    odd = link_of(message(controller(attribute(4, struct.pack("=I", 99)))))
    assert odd.state == "state 99"


def test_the_part_of_the_statistics_that_is_ours() -> None:
    numbers = list(range(1, 26))
    link = link_of(
        message(
            newlink(attribute(3, b"c\0"), attribute(23, struct.pack("=25Q", *numbers)))
        )
    )
    traffic = link.traffic
    # rtnl_link_stats64: rx_packets, tx_packets, 2 of bytes, rx_errors, ...
    assert (traffic.rx_packets, traffic.tx_packets, traffic.rx_errors) == (1, 2, 5)
    assert (traffic.rx_dropped, traffic.rx_over_errors) == (7, 12)
    assert (traffic.rx_fifo_errors, traffic.rx_missed_errors) == (15, 16)


def test_answers_and_strangers_in_one_datagram() -> None:
    stranger = message(b"\1\2\3", kind=20)
    refused = message(struct.pack("=i", -19) + bytes(16), kind=2)
    gone = message(newlink(attribute(3, b"can0\0")), kind=17)
    done = message(struct.pack("=i", 0), kind=3)
    padded = stranger + bytes(-len(stranger) % 4)
    told = parse(padded + refused + gone + done)
    assert told[0] == Answer(19, 9)
    assert isinstance(told[1], LinkTold)
    assert told[1].gone
    assert told[2] == Answer(0, 9)


def test_names_of_others_move_no_cursor() -> None:
    link = link_of(message(newlink(attribute(3, b"\x1b[2J\xff\n\0"))))
    assert link.name.isprintable()


def test_what_is_cut_off_or_too_large_is_refused() -> None:
    whole = bytes.fromhex(ROWS[0]["hex"])
    for size in (1, 15, 16, 31, 40, len(whole) - 4):
        with pytest.raises(WireError):
            parse(whole[:size])
    with pytest.raises(WireError, match="larger than"):
        parse(bytes(netlink.DATAGRAM_BYTES_MAX + 1))
    with pytest.raises(WireError, match="more than 1024"):
        parse(message(b"", kind=1) * 1025)
    with pytest.raises(WireError, match="without its code"):
        parse(message(b"", kind=2))


@given(
    st.integers(0, 11), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)))
)
def test_any_bytes_are_read_or_refused(
    number: int, edits: list[tuple[int, int]]
) -> None:
    data = bytearray.fromhex(ROWS[number % len(ROWS)]["hex"])
    for at, value in edits:
        data[at % len(data)] = value
    try:
        told = parse(bytes(data))
    except WireError:
        return
    for one in told:
        if isinstance(one, LinkTold):
            assert one.link.name.isprintable()
            assert one.link.condition


def test_requests_are_what_the_kernel_expects() -> None:
    one = netlink.request_link("vcan0", 5)
    size, kind, flags, sequence, port = struct.unpack_from("=IHHII", one)
    assert (size, kind, flags, sequence, port) == (len(one), 18, 1, 5, 0)
    assert len(one) % 4 == 0
    assert one[32:36] == struct.pack("=HH", 10, 3)
    long = netlink.request_link("powertrain-with-a-long-name", 5)
    assert long[34:36] == struct.pack("=H", 53)
    every = netlink.request_links(6)
    assert struct.unpack_from("=IHH", every) == (32, 18, 0x301)
