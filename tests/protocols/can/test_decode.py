"""The vector decoder against cantools on what public files lack, and its counts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cantools
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.can.database import Database, parse_database
from protocols.can.decode import decode
from protocols.can.plan import FrameKind, SignalBinding, compile_plan
from protocols.errors import DatabaseError
from protocols.frames import CAN_EFF_FLAG, CAN_ERR_FLAG, CAN_RTR_FLAG, empty_frames
from protocols.samples import Kind, raw_of_floats
from tests.protocols.can.oracle import Oracle, batch, bind_all, compare
from tests.protocols.can.synthetic import FLOATS, KCD, LONG, NESTED, PLAIN, SYM

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.can.decode import Decoded


def _both(text: str, kind: str = "dbc") -> tuple[Database, Oracle]:
    database = parse_database(text.encode(), kind, f"synthetic.{kind}")
    return database, Oracle(cantools.database.load_string(text, kind))


def _agree(text: str, kind: str, data: list[tuple[int, bytes]], width: int = 8) -> int:
    database, oracle = _both(text, kind)
    plan, names = bind_all(database)
    every = list(oracle.messages)
    frames = [
        (every[pick % len(every)], payload[:width].ljust(width, b"\x00"))
        for pick, payload in data
    ]
    frames = [(i, d[: max(oracle.messages[i].length, 1)]) for i, d in frames]
    return compare(oracle, frames, decode(plan, batch(frames, width)), names)


frames_8 = st.lists(
    st.tuples(st.integers(0, 99), st.binary(min_size=8, max_size=8)),
    min_size=1,
    max_size=40,
)
frames_64 = st.lists(
    st.tuples(st.integers(0, 99), st.binary(min_size=64, max_size=64)),
    min_size=1,
    max_size=10,
)
# Nibbles of 0 to 5 and 9: multiplexers that mostly hit a branch.
few = st.lists(
    st.tuples(
        st.integers(0, 99),
        st.lists(
            st.sampled_from([0x00, 0x01, 0x11, 0x21, 0x31, 0x51, 0x91, 0x02, 0xFF]),
            min_size=8,
            max_size=8,
        ).map(bytes),
    ),
    min_size=1,
    max_size=40,
)


@given(frames_8)
def test_integers_of_all_kinds_equal_cantools(data: list[tuple[int, bytes]]) -> None:
    assert _agree(PLAIN, "dbc", data) > 0


@given(frames_8)
def test_floats_equal_cantools(data: list[tuple[int, bytes]]) -> None:
    assert _agree(FLOATS, "dbc", data) > 0


@given(frames_64)
def test_fd_payloads_equal_cantools(data: list[tuple[int, bytes]]) -> None:
    assert _agree(LONG, "dbc", data, 64) > 0


@given(st.one_of(few, frames_8))
def test_nested_multiplexers_equal_cantools(data: list[tuple[int, bytes]]) -> None:
    _agree(NESTED, "dbc", data)


@given(st.one_of(few, frames_8))
def test_kcd_equals_cantools(data: list[tuple[int, bytes]]) -> None:
    assert _agree(KCD, "kcd", data) > 0


@given(frames_8)
def test_sym_equals_cantools(data: list[tuple[int, bytes]]) -> None:
    assert _agree(SYM, "sym", data) > 0


@given(st.binary(min_size=2, max_size=2))
def test_half_precision_equals_struct(data: bytes) -> None:
    text = KCD.replace('length="32"', 'length="16"')
    database = parse_database(text.encode(), "kcd", "half.kcd")
    plan, names = bind_all(database)
    ident = 0x18FEF100 | CAN_EFF_FLAG
    decoded = decode(plan, batch([(ident, data.ljust(8, b"\x00"))]))
    (value,) = struct.unpack("<e", data)
    assert names[int(decoded.samples.item[0])] == (ident, "F")
    np.testing.assert_equal(decoded.samples.value[0], value)


def _decode(text: str, frames: list[tuple[int, bytes]], width: int = 8) -> Decoded:
    plan, _ = bind_all(parse_database(text.encode(), "dbc", "synthetic.dbc"))
    return decode(plan, batch(frames, width))


def test_samples_come_by_frame_and_raw_is_exact() -> None:
    database, _ = _both(PLAIN)
    plan, names = bind_all(database)
    top = (2**64 - 1).to_bytes(8, "little")
    decoded = decode(plan, batch([(2, top), (4, top), (2, bytes(8))]))
    assert decoded.samples.time_ns.tolist() == [0, 1, 2]
    kinds = {names[item][1]: plan.formats[item].kind for item in plan.formats}
    assert kinds["U64"] is Kind.UINT64
    assert kinds["S64"] is Kind.INT
    assert decoded.samples.raw.view(np.uint64)[0] == 2**64 - 1
    assert decoded.samples.raw[1] == -1
    assert decoded.samples.value.tolist() == [float(2**64 - 1), -7 + 11, 0.0]


def test_unknown_remote_and_error_frames_are_told_apart() -> None:
    flags = [0, CAN_RTR_FLAG, CAN_ERR_FLAG, CAN_EFF_FLAG, CAN_EFF_FLAG | CAN_RTR_FLAG]
    decoded = _decode(PLAIN, [(1 | flag, bytes(8)) for flag in flags] + [(9, b"")])
    low = decoded.message[3]
    assert decoded.message.tolist() == [0, -2, -2, low, -2, -1]
    assert low > 0
    assert decoded.unbound == 1


def test_a_bus_without_database_is_unknown() -> None:
    plan, _ = bind_all(parse_database(PLAIN.encode(), "dbc", "synthetic.dbc"))
    extended = 0x18FEF100 | CAN_EFF_FLAG
    other = decode(plan, batch([(1, bytes(8)), (extended, bytes(8))], bus=7))
    assert other.message.tolist() == [-1, -1]
    assert len(other.samples) == 0


def test_signals_behind_the_end_are_counted_not_decoded() -> None:
    decoded = _decode(PLAIN, [(1, bytes(2)), (1, bytes(8)), (1, b"")])
    assert decoded.short == 3 + 5
    assert len(decoded.samples) == 2 + 5


def test_a_size_above_the_payload_is_not_believed() -> None:
    plan, _ = bind_all(parse_database(LONG.encode(), "dbc", "synthetic.dbc"))
    frames = batch([(1, bytes(8))])
    frames.size[0] = 255
    decoded = decode(plan, frames)
    assert len(decoded.samples) == 1  # FIRST is all that 8 bytes hold
    assert decoded.short == 6


def test_multiplexers_in_no_branch_are_counted() -> None:
    unknown_outer, unknown_inner = bytes([0x0F]) + bytes(7), bytes([0xF1]) + bytes(7)
    decoded = _decode(NESTED, [(1, unknown_outer), (1, unknown_inner), (1, bytes(8))])
    assert decoded.multiplex_unknown == 2
    assert decoded.short == 0


def test_a_signal_whose_multiplexer_is_cut_off_is_short() -> None:
    decoded = _decode(NESTED, [(2, b"")])
    assert len(decoded.samples) == 0
    assert decoded.short == 3  # the switch itself and both that depend on it


def test_only_named_signals_are_decoded_and_the_others_counted() -> None:
    database = parse_database(NESTED.encode(), "dbc", "n.dbc")
    binding = SignalBinding(0, "NESTED", (("DEEP_1", 1),), 3)
    plan = compile_plan([binding], {0: [database]})
    deep = bytes([0x21, 0x01, 0, 0xFE]) + bytes(4)
    decoded = decode(plan, batch([(1, deep), (1, bytes(8)), (2, bytes(4))]))
    assert decoded.samples.item.tolist() == [3]
    assert decoded.samples.value.tolist() == [-2.0]
    # NESTED has two signals that are always there (OUTER, ALWAYS), SIMPLE one.
    assert decoded.unbound == 2 + 2 + 1
    assert plan.messages.unbound.tolist() == [2, 1]


def test_an_item_may_be_a_sum_of_signals() -> None:
    database = parse_database(PLAIN.encode(), "dbc", "n.dbc")
    parts = (("SIGNED_LE", 1), ("SIGNED_BE", 1 / 60))
    bindings = [
        SignalBinding(0, 1, (("ONE_BIT", 1),), 0),
        SignalBinding(0, 1, parts, 1),
        SignalBinding(0, 1, (("ONE_BIT", -2.0),), 2),
    ]
    plan = compile_plan(bindings, {0: [database]})
    assert [plan.formats[k].kind for k in range(3)] == [
        Kind.INT, Kind.FLOAT, Kind.FLOAT,
    ]  # fmt: skip
    frames = [(1, bytes([0x28, 1, 0x7F, 0xF0, 0, 0, 0, 0])), (1, bytes([0xFF, 1]))]
    decoded = decode(plan, batch(frames))
    samples = decoded.samples
    first = (9 * 0.1 - 40) + (0x7FF * -0.5) / 60
    assert samples.item.tolist() == [0, 1, 2, 0, 2]  # half a sum is no value
    assert samples.value.tolist() == [1.0, first, -2.0, 1.0, -2.0]
    assert samples.raw[[1, 2]].tolist() == raw_of_floats(samples.value[[1, 2]]).tolist()
    assert decoded.short == 1


def test_an_empty_batch_and_an_empty_plan() -> None:
    plan, _ = bind_all(parse_database(NESTED.encode(), "dbc", "n.dbc"))
    assert len(decode(plan, empty_frames()).samples) == 0
    assert len(decode(plan, empty_frames(64)).samples) == 0
    nothing = compile_plan([], {})
    decoded = decode(nothing, batch([(1, bytes(8)), (1 | CAN_EFF_FLAG, bytes(8))]))
    assert decoded.message.tolist() == [-1, -1]
    assert decoded.unbound == 2


def test_the_inspector_gets_length_and_kind() -> None:
    def kinds(text: str) -> list[int]:
        database = parse_database(text.encode(), "dbc", "n.dbc")
        return compile_plan([], {0: [database]}).messages.kind.tolist()

    assert kinds(NESTED) == [FrameKind.CLASSIC] * 2
    assert kinds(LONG) == [FrameKind.ANY] * 2  # long, but the file never says FD
    fd = LONG.replace(
        "SIG_VALTYPE_",
        'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","x","y","z",'
        '"a","b","c","d","e","f","g","h","i","StandardCAN_FD","ExtendedCAN_FD";\n'
        'BA_DEF_DEF_ "VFrameFormat" "StandardCAN";\n'
        'BA_ "VFrameFormat" BO_ 1 14;\nSIG_VALTYPE_',
    )
    assert kinds(fd) == [FrameKind.FD, FrameKind.CLASSIC]


@pytest.mark.parametrize(
    ("binding", "reason"),
    [
        (SignalBinding(1, "PLAIN", (("ONE_BIT", 1),), 0), "no database"),
        (SignalBinding(0, "NONE", (("ONE_BIT", 1),), 0), "no such message"),
        (SignalBinding(0, 1, (("NONE", 1),), 0), "no such signal"),
        (SignalBinding(0, 1, (), 0), "names no signal"),
    ],
)
def test_a_binding_that_cannot_be_is_refused(
    binding: SignalBinding, reason: str
) -> None:
    database = parse_database(PLAIN.encode(), "dbc", "n.dbc")
    with pytest.raises(DatabaseError, match=reason):
        compile_plan([binding], {0: [database]})


def test_an_item_is_bound_once() -> None:
    database = parse_database(PLAIN.encode(), "dbc", "n.dbc")
    binding = SignalBinding(0, 1, (("ONE_BIT", 1),), 0)
    with pytest.raises(DatabaseError, match="more than once"):
        compile_plan([binding, binding], {0: [database]})


def test_comma2k19_equals_the_published_reference(data: Path) -> None:
    """Wheel speeds and steering of a real drive, published by others, at 1e-9."""
    folder = data / "can-comma2k19-rav4"
    raw = (folder / "_toyota_2017.dbc").read_bytes()
    database = parse_database(raw, "dbc", "_toyota_2017.dbc")
    times, frames = [], []
    for line in (folder / "rav4_5s.candump.log").read_text().splitlines():
        stamp, _, frame = line.split()
        ident, _, payload = frame.partition("#")
        times.append(stamp.strip("()"))
        frames.append((int(ident, 16), bytes.fromhex(payload)))
    wheels = ("FL", "FR", "RL", "RR")
    bindings = [
        SignalBinding(0, 0xAA, ((f"WHEEL_SPEED_{wheel}", 1),), item)
        for item, wheel in enumerate(wheels)
    ]
    parts = (("STEER_ANGLE", 1), ("STEER_FRACTION", 1))
    bindings.append(SignalBinding(0, 0x25, parts, 4))
    samples = decode(compile_plan(bindings, {0: [database]}), batch(frames)).samples
    at = {
        (times[row], item): value
        for row, item, value in zip(
            samples.time_ns.tolist(),
            samples.item.tolist(),
            samples.value.tolist(),
            strict=True,
        )
    }
    lines = (folder / "rav4_5s.reference.csv").read_text().splitlines()[1:]
    assert len(lines) == 414
    steering = sorted((float(t), v) for (t, item), v in at.items() if item == 4)
    steer_times = np.array([t for t, _ in steering])
    for line in lines:
        stamp, *expected = line.split(",")
        for item in range(4):
            assert at[stamp, item] / 3.6 == pytest.approx(
                float(expected[item]), abs=1e-9
            )
        near = steering[max(0, np.searchsorted(steer_times, float(stamp)) - 1)]
        assert near[1] == pytest.approx(float(expected[4]), abs=1e-9)
