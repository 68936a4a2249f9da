"""SocketCAN structs: round trips, flags, and what is refused or counted."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.can.socketcan import CAN_MTU, CANFD_MTU, pack, unpack
from protocols.errors import WireError
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CANFD_BRS,
    CANFD_FDF,
    FrameBatch,
    empty_frames,
)

NATIVE = "<" if sys.byteorder == "little" else ">"


@st.composite
def batches(draw: st.DrawFn, width: int) -> FrameBatch:
    """Any batch as the rest of the project makes them."""
    rows = draw(
        st.lists(
            st.tuples(
                st.one_of(
                    st.integers(0, 0x7FF),
                    st.integers(0, 0x1FFFFFFF).map(lambda i: i | CAN_EFF_FLAG),
                ),
                st.sampled_from([0, CAN_RTR_FLAG, CAN_ERR_FLAG]),
                st.binary(max_size=width),
                st.integers(0, 2**62),
            ),
            max_size=20,
        )
    )
    payload = np.zeros((len(rows), width), np.uint8)
    flags = np.zeros(len(rows), np.uint8)
    for at, (_, flag, data, _) in enumerate(rows):
        if flag != CAN_RTR_FLAG:
            payload[at, : len(data)] = np.frombuffer(data, np.uint8)
        if len(data) > 8:
            flags[at] = CANFD_FDF | CANFD_BRS
    return FrameBatch(
        np.array([r[3] for r in rows], np.int64),
        np.full(len(rows), 3, np.uint8),
        np.array([r[0] | r[1] for r in rows], np.uint32),
        np.array([len(r[2]) for r in rows], np.uint8),
        flags,
        payload,
    )


def _same(one: FrameBatch, other: FrameBatch) -> None:
    for name in ("time_ns", "bus", "ident", "size", "flags", "payload"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)


@given(batches(8), st.booleans())
def test_classic_frames_round_trip(frames: FrameBatch, big: bool) -> None:
    data = pack(frames, CAN_MTU, big_endian=big)
    assert len(data) == 16 * len(frames)
    result = unpack(data, CAN_MTU, frames.time_ns, 3, big_endian=big)
    _same(result.frames, frames)
    assert (result.xl, result.malformed) == (0, 0)


@given(batches(64), st.booleans())
def test_fd_frames_round_trip(frames: FrameBatch, big: bool) -> None:
    data = pack(frames, CANFD_MTU, big_endian=big)
    assert len(data) == 72 * len(frames)
    _same(unpack(data, CANFD_MTU, frames.time_ns, 3, big_endian=big).frames, frames)


@given(st.binary(max_size=400), st.sampled_from([CAN_MTU, CANFD_MTU]))
def test_any_bytes_add_up(data: bytes, frame_bytes: int) -> None:
    data = data[: len(data) // frame_bytes * frame_bytes]
    count = len(data) // frame_bytes
    result = unpack(data, frame_bytes, np.zeros(count, np.int64), 0)
    assert len(result.frames) + result.xl + result.malformed == count
    assert (result.frames.size <= frame_bytes - 8).all()
    behind = np.arange(frame_bytes - 8) >= result.frames.size[:, None]
    assert not result.frames.payload[behind].any()


def test_the_struct_as_the_kernel_writes_it() -> None:
    one = struct.pack(f"{NATIVE}IB3x8s", 0x123, 3, b"\x01\x02\x03garb")
    remote = struct.pack(f"{NATIVE}IB3x8s", 0x7FF | CAN_RTR_FLAG, 8, b"whatever")
    result = unpack(one + remote, CAN_MTU, np.array([5, 6]), 2)
    frames = result.frames
    assert frames.ident.tolist() == [0x123, 0x7FF | CAN_RTR_FLAG]
    assert frames.size.tolist() == [3, 8]
    assert frames.payload[0].tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    assert not frames.payload[1].any()  # a remote frame carries none
    assert frames.bus.tolist() == [2, 2]
    assert frames.time_ns.tolist() == [5, 6]


def test_link_type_227_has_a_big_endian_identifier() -> None:
    data = struct.pack(">IB3x8s", 0x18DAF110 | CAN_EFF_FLAG, 8, b"12345678")
    result = unpack(data, CAN_MTU, np.array([0]), 0, big_endian=True)
    assert int(result.frames.ident[0]) == 0x18DAF110 | CAN_EFF_FLAG


def test_slots_of_an_fd_socket_are_told_apart_by_their_size() -> None:
    """Classic, FD, XL and a stub, each in a 72-byte slot of one receive buffer."""
    slots = [
        struct.pack(f"{NATIVE}IBB2x64s", 1, 8, 0xFF, b"12345678stale"),
        struct.pack(f"{NATIVE}IBB2x64s", 2, 8, CANFD_BRS, b"12345678"),
        struct.pack(f"{NATIVE}IBB2x64s", 3, 0x80, 1, b""),
        struct.pack(f"{NATIVE}IBB2x64s", 4, 8, 0, b""),
        struct.pack(f"{NATIVE}IBB2x64s", 5, 12, 0, b""),
    ]
    received = np.array([16, 72, 76, 7, 16], np.int32)
    result = unpack(b"".join(slots), CANFD_MTU, np.arange(5), 0, received=received)
    assert result.frames.ident.tolist() == [1, 2]
    assert result.frames.flags.tolist() == [0, CANFD_FDF | CANFD_BRS]
    assert bytes(result.frames.payload[0]) == b"12345678" + bytes(56)
    assert result.rows.tolist() == [0, 1]
    assert (result.xl, result.malformed) == (1, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(WireError, match="byte 16: is cut off"):
        unpack(bytes(17), CAN_MTU, np.zeros(1, np.int64), 0)
    with pytest.raises(WireError, match="time stamps"):
        unpack(bytes(16), CAN_MTU, np.zeros(2, np.int64), 0)
    with pytest.raises(WireError, match="16 or 72"):
        unpack(b"", 20, np.zeros(0, np.int64), 0)
    frames = unpack(
        struct.pack(f"{NATIVE}IBB66x", 1, 4, CANFD_FDF), 72, np.zeros(1, np.int64), 0
    ).frames
    with pytest.raises(WireError, match="does not fit"):
        pack(frames, CAN_MTU)


def test_no_frames_are_no_bytes() -> None:
    assert pack(empty_frames(), CAN_MTU) == b""
    assert len(unpack(b"", CANFD_MTU, np.zeros(0, np.int64), 0).frames) == 0
