"""Packets: checksums by hand, and what tshark says of whole captures."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.network.packets import FILE_HEADER, pcap_bytes
from firmware_sim.network.tcp import Connection, Tape


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data + data[:len(data) % 2]) // 2}H",
                              data + b"\0" * (len(data) % 2)))  # fmt: skip
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.lists(st.binary(max_size=70), min_size=1, max_size=6))
def test_checksums_and_lengths(payloads: list[bytes]) -> None:
    rows = [
        (i * 1_500_000_000, 0x0A140015, 0x0A14000B, 50000, 502, i, 7, 0x18, payload)
        for i, payload in enumerate(payloads)
    ]
    data = pcap_bytes(rows[::-1], 10**18)  # written in order of time all the same
    at = len(FILE_HEADER)
    for i, payload in enumerate(payloads):
        seconds, part, size, full = struct.unpack_from("<IIII", data, at)
        assert seconds * 10**9 + part == 10**18 + i * 1_500_000_000
        assert size == full == max(54 + len(payload), 60)
        frame = data[at + 16 : at + 16 + size]
        assert frame[54 : 54 + len(payload)] == payload
        assert not any(frame[54 + len(payload) :])
        assert ones_sum(frame[14:34]) == 0xFFFF
        pseudo = frame[26:34] + struct.pack(">HH", 6, 20 + len(payload))
        assert ones_sum(pseudo + frame[34 : 54 + len(payload)]) == 0xFFFF
        at += 16 + size
    assert at == len(data)


def test_a_capture_without_packets_is_a_header() -> None:
    assert pcap_bytes([], 0) == FILE_HEADER


def test_sequence_numbers_follow_what_was_sent_and_repeat_what_was_lost() -> None:
    tape = Tape()
    connection = Connection(tape, (1, 2), (49152, 502), 0xFFFFFFFA)
    ready = connection.open(0)
    connection.data(ready, 0, b"x" * 12, lost=1)
    connection.data(ready + 300_000_000, 1, b"y" * 9)
    connection.close(ready + 10**9)
    sent = [(row[3], row[5], row[6], row[7], len(row[8])) for row in tape.rows]
    isn = sent[1][1]
    first = 0xFFFFFFFB
    after = (first + 12) & 0xFFFFFFFF  # it wraps
    assert sent == [
        (49152, 0xFFFFFFFA, 0, 0x02, 0),
        (502, isn, first, 0x12, 0),
        (49152, first, isn + 1, 0x10, 0),
        (49152, first, isn + 1, 0x18, 12),
        (49152, first, isn + 1, 0x18, 12),
        (502, isn + 1, after, 0x10, 0),  # 40 ms without data to carry it
        (502, isn + 1, after, 0x18, 9),
        (49152, after, isn + 10, 0x10, 0),
        (49152, after, isn + 10, 0x11, 0),
        (502, isn + 10, after + 1, 0x11, 0),
        (49152, after + 1, isn + 11, 0x10, 0),
    ]
