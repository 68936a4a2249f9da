"""ISO-TP reassembly against an encoder of our own and vectors written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.can.isotp import BYTES_MAX, N_CR_NS, Diagnostics
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    FrameBatch,
    concat_frames,
)
from tests.protocols.can.oracle import batch

VIN = b"1M8GDM9AXKP042788"


def segment(payload: bytes, dl: int, *, padded: bool = False) -> list[bytes]:
    """Segment as ISO 15765-2:2016 clause 9 tells the sender, frames of ``dl`` bytes."""
    if len(payload) <= 7:
        frames = [bytes([len(payload)]) + payload]
    elif dl > 8 and len(payload) <= dl - 2:
        frames = [bytes([0, len(payload)]) + payload]
    else:
        if len(payload) <= 4095:
            head = (0x1000 | len(payload)).to_bytes(2)
        else:
            head = b"\x10\x00" + len(payload).to_bytes(4)
        cut = dl - len(head)
        frames = [head + payload[:cut]]
        rest = payload[cut:]
        for number in range(0, len(rest), dl - 1):
            sequence = (number // (dl - 1) + 1) % 16
            part = rest[number : number + dl - 1]
            frames.append(bytes([0x20 | sequence]) + part)
    if padded:
        frames = [frame.ljust(max(8, len(frame)), b"\xcc") for frame in frames]
    return frames


def frames_of(ident: int, parts: list[bytes], width: int = 8) -> FrameBatch:
    return batch([(ident, part) for part in parts], width)


@given(st.binary(min_size=1, max_size=600), st.sampled_from([8, 12, 64]), st.booleans())
def test_what_is_segmented_comes_together(
    payload: bytes, dl: int, padded: bool
) -> None:
    diagnostics = Diagnostics()
    frames = frames_of(0x7E8, segment(payload, dl, padded=padded), 64)
    (message,) = diagnostics.feed(frames)
    assert message.payload == payload
    assert (message.ident, message.bus) == (0x7E8, 0)
    assert message.time_ns == len(frames) - 1
    assert diagnostics.counters.messages == 1
    assert diagnostics.counters.frames == len(frames)


@given(st.data())
def test_streams_may_interleave_and_batches_may_cut_anywhere(
    data: st.DataObject,
) -> None:
    idents = [0x7E8, 0x7E9, 0x18DAF110 | CAN_EFF_FLAG, 0x18DBF133 | CAN_EFF_FLAG]
    queues = []
    expected: dict[int, list[bytes]] = {}
    for ident in idents:
        payloads = data.draw(st.lists(st.binary(min_size=1, max_size=60), max_size=3))
        expected[ident] = payloads
        queues.append([(ident, f) for p in payloads for f in segment(p, 8)])
    mixed: list[tuple[int, bytes]] = []
    while any(queues):
        queue = data.draw(st.sampled_from([q for q in queues if q]))
        mixed.append(queue.pop(0))
        if data.draw(st.booleans()):
            mixed.append((0x123, b"\x10\x14noise"))  # a counter, not a first frame
    diagnostics = Diagnostics()
    whole = batch(mixed)
    got: dict[int, list[bytes]] = {ident: [] for ident in idents}
    cut = data.draw(st.integers(0, len(mixed)))
    for part in (whole.take(slice(0, cut)), whole.take(slice(cut, None))):
        for message in diagnostics.feed(part):
            got[message.ident].append(message.payload)
    assert got == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x7DF, 0x7E0, 0x7E8, 0x7F0, 0x18DA0000 | CAN_EFF_FLAG]),
            st.binary(max_size=64),
        ),
        max_size=60,
    )
)
def test_any_frames_are_taken_and_counted(frames: list[tuple[int, bytes]]) -> None:
    diagnostics = Diagnostics(streams_max=2)
    messages = diagnostics.feed(batch(frames, 64))
    counters = diagnostics.counters
    assert counters.messages == len(messages)
    assert counters.frames == sum(ident != 0x7F0 for ident, _ in frames)
    assert all(1 <= len(message.payload) <= BYTES_MAX for message in messages)


def test_a_vin_answer_as_it_stands_in_a_trace() -> None:
    """The four frames of a VIN over OBD-II, with the tester's flow control between."""
    lines = [
        "10 14 49 02 01 31 4D 38",
        "21 47 44 4D 39 41 58 4B",
        "22 50 30 34 32 37 38 38",
    ]
    parts = [(0x7E8, bytes.fromhex(line)) for line in lines]
    parts.insert(0, (0x7DF, bytes.fromhex("02 09 02 55 55 55 55 55")))
    parts.insert(2, (0x7E0, bytes.fromhex("30 00 00 00 00 00 00 00")))
    request, answer = Diagnostics().feed(batch(parts))
    assert request.payload == b"\x09\x02"
    assert answer.payload == b"\x49\x02\x01" + VIN


def test_only_diagnostic_identifiers_are_looked_at() -> None:
    first = bytes.fromhex("03 22 F1 90")
    idents = [
        0x7DE, 0x7DF, 0x7E0, 0x7EF, 0x7F0, 0x000,
        0x7E8 | CAN_EFF_FLAG, 0x7E8 | CAN_RTR_FLAG, 0x7E8 | CAN_ERR_FLAG,
        0x18D90000 | CAN_EFF_FLAG, 0x18DA0000 | CAN_EFF_FLAG,
        0x18DBFFFF | CAN_EFF_FLAG, 0x18DC0000 | CAN_EFF_FLAG, 0x740, 0x748,
    ]  # fmt: skip
    frames = batch([(ident, first) for ident in idents])
    assert [idents[m.time_ns] for m in Diagnostics().feed(frames)] == [
        0x7DF, 0x7E0, 0x7EF, 0x18DA0000 | CAN_EFF_FLAG, 0x18DBFFFF | CAN_EFF_FLAG,
    ]  # fmt: skip
    extra = Diagnostics(extra=frozenset({0x740, 0x748})).feed(frames)
    assert [m.ident for m in extra][-2:] == [0x740, 0x748]
    assert len(extra) == 7


def test_streams_of_two_buses_do_not_mix() -> None:
    one, two = segment(b"a" * 20, 8), segment(b"b" * 20, 8)
    diagnostics = Diagnostics()
    messages = []
    for part_one, part_two in zip(one, two, strict=True):
        messages += diagnostics.feed(batch([(0x7E8, part_one)], bus=0))
        messages += diagnostics.feed(batch([(0x7E8, part_two)], bus=1))
    assert [(m.bus, m.payload) for m in messages] == [(0, b"a" * 20), (1, b"b" * 20)]


@pytest.mark.parametrize(
    ("change", "counter"),
    [
        (lambda parts: [parts[0], parts[2]], "sequence_errors"),
        (lambda parts: [parts[0], parts[1], parts[1]], "sequence_errors"),
        (lambda parts: parts[1:], "orphans"),
        (lambda parts: [parts[0], *parts], "interrupted"),
        (lambda parts: [parts[0], b"\x01\x3e"], "interrupted"),
        (lambda parts: [*parts, b"\x08" + bytes(7)], "malformed"),
        (lambda parts: [*parts, b"\x00" + bytes(7)], "malformed"),
        (lambda parts: [*parts, b"\x05\x01"], "malformed"),
        (lambda parts: [*parts, b"\x10\x06" + bytes(6)], "malformed"),
        (lambda parts: [*parts, b"\x40"], "malformed"),
        (lambda parts: [*parts, b""], "malformed"),
        (lambda parts: [*parts, b"\x10\x00" + b"\x00\x01\x00\x00ab"], "oversize"),
    ],
)
def test_what_is_wrong_is_counted_by_cause(change: object, counter: str) -> None:
    assert callable(change)
    diagnostics = Diagnostics()
    diagnostics.feed(frames_of(0x7E8, change(segment(b"x" * 20, 8))))
    counted = {
        name: getattr(diagnostics.counters, name)
        for name in diagnostics.counters.__slots__
        if name not in {"frames", "messages"} and getattr(diagnostics.counters, name)
    }
    assert counter in counted
    assert set(counted) <= {counter, "orphans"}  # frames after a dropped stream


def test_a_stream_waits_one_second() -> None:
    first, second, third = segment(b"x" * 20, 8)
    for late, messages in ((0, 1), (1, 0)):
        diagnostics = Diagnostics()
        frames = frames_of(0x7E8, [first, second, third])
        frames.time_ns[:] = [0, N_CR_NS, 2 * N_CR_NS + late]
        assert len(diagnostics.feed(frames)) == messages
        assert diagnostics.counters.timeouts == late


def test_the_number_of_streams_is_bounded() -> None:
    diagnostics = Diagnostics(streams_max=3)
    first, *rest = segment(b"x" * 20, 8)
    frames = [frames_of(0x7E0 + k, [first]) for k in range(5)]
    diagnostics.feed(concat_frames(frames))
    assert diagnostics.counters.evicted == 2
    late = concat_frames([frames_of(0x7E0 + k, rest) for k in range(5)])
    assert [m.ident for m in diagnostics.feed(late)] == [0x7E2, 0x7E3, 0x7E4]
    assert diagnostics.counters.orphans == 4


def test_nothing_is_shown_of_a_payload() -> None:
    diagnostics = Diagnostics()
    parts = segment(b"\x49\x02\x01" + VIN, 8)
    diagnostics.feed(frames_of(0x7E8, parts[:2]))
    shown = repr(diagnostics)
    (message,) = diagnostics.feed(frames_of(0x7E8, parts[2:]))
    shown += repr(message) + str(message)
    assert "1M8G" not in shown
    assert "bytearray" not in shown
    assert len(np.unique([shown])) == 1
