"""Columnar content: size, exactness, speed of thought, and bytes of an enemy."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from protocols.columns import (
    ROWS_MAX,
    Packed,
    Rows,
    empty_rows,
    pack_columns,
    unpack_columns,
    unzigzag,
    zigzag,
)
from protocols.content import (
    ContentEncoder,
    Definition,
    decode_content,
    empty_content,
    values_of,
)
from protocols.errors import WireError
from protocols.samples import Kind, empty_texts

if TYPE_CHECKING:
    from pathlib import Path

START_NS = 1_767_225_600_000_000_000
MS = 1_000_000
NONE = np.zeros(16, np.bool_)
WORD = Definition("A.B", "m", "c", "p", "", "can0", 0, 0.5, -1.0)


def rows(time_ns: list[int], column: list[int], raw: list[int]) -> Rows:
    return Rows(
        np.array(time_ns, np.int64),
        np.array(column, np.uint32),
        np.array(raw, np.int64),
    )


def example() -> tuple[Rows, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The worked example of docs/formats/envelope.md section 12."""
    times = [0, 10, 21, 30] * 2 + [5, 105]
    floats = np.array([31.25, 31.5]).view(np.int64).tolist()
    is_float = NONE.copy()
    is_float[9] = True
    return rows(
        [START_NS + t * MS for t in times],
        [2] * 4 + [3] * 4 + [9] * 2,
        [8000, 8010, 8025, 8000, 1, 1, 1, 1, *floats],
    ), is_float


def test_the_documents_example_is_what_the_encoder_gives(root: Path) -> None:
    text = (root / "docs" / "formats" / "envelope.md").read_text(encoding="utf-8")
    block = text.split("The section, 59 bytes:")[1].split("```")[1]
    octets = []
    for line in block.strip().splitlines():
        found = re.match(r"(?:[0-9a-f]{2}(?: |$))+", line)
        assert found
        octets.append(bytes.fromhex(found[0]))
    packed = pack_columns(*example())
    assert packed.section == b"".join(octets)
    assert (packed.columns, packed.groups) == (3, 2)
    assert (packed.base_ns, packed.exponent) == (START_NS, 6)


def test_signals_of_one_message_share_their_times() -> None:
    count = 1000
    times = (np.arange(count) * 10 * MS).repeat(30)
    column = np.tile(np.arange(30), count)
    raw = np.zeros(30 * count, np.int64)
    packed = pack_columns(
        Rows(times, column.astype(np.uint32), raw), np.zeros(30, np.bool_)
    )
    assert (packed.columns, packed.groups) == (30, 1)
    assert len(packed.section) < 30 * 8  # all constant: columns cost their entries


def test_columns_that_only_look_alike_keep_their_own_times() -> None:
    """Equal counts and sums of times must not be taken for equal times."""
    made = rows(
        [10, 20, 30, 10, 21, 29, 10, 20, 30], [0, 0, 0, 1, 1, 1, 2, 2, 2], [0] * 9
    )
    packed = pack_columns(made, NONE)
    assert packed.groups == 2
    assert unpack_columns(packed).time_ns.tolist() == made.time_ns.tolist()


def test_a_checksum_collision_is_found_by_comparing() -> None:
    """Times that differ by multiples of 2**64 / weight collide; the values decide."""
    half = 1 << 63  # (2k + 1) * MIX * 2**63 is 2**63 for every k: two of them cancel
    first = [5, 6, 7]
    second = [5, 6 - half, 7 - half]
    made = rows([*first, *second], [0, 0, 0, 1, 1, 1], [0] * 6)
    packed = pack_columns(made, NONE)
    assert packed.groups == 2
    assert unpack_columns(packed).time_ns.tolist() == first + second


@pytest.mark.parametrize(
    ("unit", "exponent"), [(1, 0), (10, 0), (1000, 3), (MS, 6), (10**9, 9)]
)
def test_the_resolution_of_a_capture_is_taken_out(unit: int, exponent: int) -> None:
    made = rows([START_NS + 7 + unit * k for k in (0, 3, 4)], [0] * 3, [1, 2, 3])
    packed = pack_columns(made, NONE)
    assert packed.exponent == exponent
    assert unpack_columns(packed).time_ns.tolist() == made.time_ns.tolist()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_zigzag_is_its_own_inverse_and_small_for_small(values: list[int]) -> None:
    array = np.array(values, np.int64)
    coded = zigzag(array)
    assert unzigzag(coded).tolist() == values
    assert coded.tolist() == [2 * v if v >= 0 else -2 * v - 1 for v in values]


def test_real_drive_takes_a_third_of_parquet(data: Path) -> None:
    """DESIGN section 11: bytes per sample at most those of Parquet with zstd."""
    from protocols.can.database import load_database
    from protocols.can.decode import decode
    from protocols.capture.candump import CandumpParser
    from protocols.frames import concat_frames
    from tests.protocols.can.oracle import bind_all

    folder = data / "can-comma2k19-rav4"
    plan, names = bind_all(load_database(folder / "_toyota_2017.dbc"))
    parser = CandumpParser()
    log = (folder / "rav4_5s.candump.log").read_bytes()
    frames = concat_frames([parser.feed(log), parser.finish()])
    is_float = np.zeros(len(names), np.bool_)
    encoder = ContentEncoder()
    ours = theirs = count = 0
    for start in range(0, len(frames) - 4095, 4096):
        got = decode(plan, frames.take(slice(start, start + 4096))).samples
        made = Rows(got.time_ns, got.item, got.raw)
        ours += len(encoder.encode(made, is_float, empty_texts(), {}))
        order = np.lexsort((got.time_ns, got.item))
        table = pa.table(
            {"t": got.time_ns[order], "i": got.item[order], "v": got.value[order]}
        )
        sizes = []
        for options in (
            {"use_dictionary": True},
            {
                "use_dictionary": ["i"],
                "column_encoding": {
                    "t": "DELTA_BINARY_PACKED",
                    "v": "BYTE_STREAM_SPLIT",
                },
            },
        ):
            sink = io.BytesIO()
            pq.write_table(table, sink, compression="zstd", **options)
            sizes.append(sink.tell())
        theirs += min(sizes)
        count += len(got)
    assert count > 10_000
    assert ours / count < 0.8
    assert ours < theirs / 3


def test_values_follow_their_kind() -> None:
    raw = np.array([-1, 3], np.int64)
    numbers = Rows(raw, raw.astype(np.uint32), raw)
    assert values_of(Kind.INT, 0.5, 1.0, numbers).tolist() == [0.5, 2.5]
    assert values_of(Kind.UINT64, 1.0, 0.0, numbers).tolist() == [2.0**64, 3.0]
    bits = np.array([1.5, -0.0]).view(np.int64)
    floats = Rows(bits, numbers.column, bits)
    assert values_of(Kind.FLOAT, 9.0, 9.0, floats).tobytes() == bits.tobytes()


def test_a_dictionary_holds_definitions_alone() -> None:
    data = ContentEncoder().encode(*empty_content(), {7: WORD, 2: WORD})
    found = decode_content(data)
    assert found.definitions == {7: WORD, 2: WORD}
    assert len(found.rows) == len(found.texts) == 0
    assert found.rows.time_ns.dtype == empty_rows().time_ns.dtype


# --- bytes of an enemy ----------------------------------------------------------------


def framed(body: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgpack.packb(body))


GOOD = pack_columns(*example())
COLUMNS = [GOOD.columns, GOOD.groups, GOOD.base_ns, GOOD.exponent, GOOD.section]


def with_section(change: slice, octets: bytes) -> list[object]:
    section = bytearray(GOOD.section)
    section[change] = octets
    return [*COLUMNS[:4], bytes(section)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([[], []], "is not"),
        ({1: 1}, "not msgpack"),
        ([[], [], 5], "columns are not"),
        ([[], [], [1, 1, 2**63, 0, b""]], "columns are not"),
        ([[], [], [0, 0, 0, 0, b""]], "out of range"),
        ([[], [], [1, 2, 0, 0, b""]], "out of range"),
        ([[], [], [ROWS_MAX + 1, 1, 0, 0, b""]], "out of range"),
        ([[], [], [*COLUMNS[:3], 10, GOOD.section]], "exponent"),
        ([[], [], [*COLUMNS[:4], GOOD.section[:-1]]], "cut short"),
        ([[], [], [*COLUMNS[:4], GOOD.section + b"\0"]], "behind the end"),
        ([[], [], with_section(slice(0, 1), b"\x09")], "width above 8"),
        ([[], [], with_section(slice(2, 3), b"\x00")], "do not rise"),
        ([[], [], with_section(slice(7, 8), b"\x02")], "no such time group"),
        ([[], [], with_section(slice(9, 10), b"\x00")], "rows of a time group"),
        ([[], [], with_section(slice(23, 24), b"\x20")], "flags"),
        ([[], [], with_section(slice(23, 24), b"\x09")], "width above 8"),
        ([[[1, "a"]], [], None], "definition"),
        ([[[1, *"abcdef", 9, 1.0, 0.0]], [], None], "definition"),
        ([[[1, *"abcdef", 0, 1, 0]], [], None], "definition"),
        ([[[1, *"abcdef", 0, 1.0, 0.0]] * 2, [], None], "twice"),
        ([[], [[1, 2]], None], "text"),
        ([[], [[1, 2**63, b""]], None], "text"),
        ([[], [[1, 2, "str"]], None], "text"),
    ],
)
def test_a_content_that_is_none_is_refused_with_its_reason(
    body: object, reason: str
) -> None:
    with pytest.raises(WireError, match=reason):
        decode_content(framed(body))


def test_rows_that_cost_no_bytes_are_counted_before_they_are_made() -> None:
    """A million columns of a million constant rows would be a bomb of 100 bytes."""
    columns = 1000
    section = (
        b"\x01" + b"\x01" * columns  # numbers
        + b"\x00"  # all in group 0
        + b"\x03" + (200_000).to_bytes(3, "little")
        + b"\x00\x00\x00" + bytes(columns) + b"\x00"
    )  # fmt: skip
    with pytest.raises(WireError, match="more than"):
        unpack_columns(Packed(columns, 1, 0, 0, section))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zstd"),
        (b"\x00" * 40, "zstd"),
        (framed([[], [], None]) + b"x", "zstd"),
        (framed([[], [], None])[:-1], "zstd"),
        (zstandard.ZstdCompressor().compress(bytes(17 * 1024 * 1024)), "larger"),
        (
            zstandard.ZstdCompressor(write_content_size=False).compress(b"\x93"),
            "larger",
        ),
    ],
)
def test_a_frame_that_is_none_or_hides_its_size_is_refused(
    data: bytes, reason: str
) -> None:
    with pytest.raises(WireError, match=reason):
        decode_content(data)


@given(st.binary(max_size=120), st.integers(1, 4), st.integers(1, 4))
def test_any_section_is_rows_or_refused(data: bytes, columns: int, groups: int) -> None:
    try:
        found = unpack_columns(Packed(columns, groups, 0, 0, data))
    except WireError:
        return
    assert len(found.time_ns) == len(found.column) == len(found.raw) <= ROWS_MAX


@given(st.data())
def test_any_changed_section_is_rows_or_refused(draw: st.DataObject) -> None:
    section = bytearray(GOOD.section)
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(section) - 1))
        section[place] = draw.draw(st.integers(0, 255))
    try:
        found = unpack_columns(Packed(3, 2, START_NS, 6, bytes(section)))
    except WireError:
        return
    assert len(found.time_ns) == len(found.column) == len(found.raw) <= ROWS_MAX


@pytest.mark.parametrize("place", range(4))
def test_a_true_among_the_numbers_of_the_columns_is_refused(place: int) -> None:
    rows = Rows(np.array([1, 2]), np.array([0, 0], np.uint32), np.array([3, 4]))
    data = ContentEncoder().encode(rows, np.array([False]), empty_texts(), {})
    body = msgpack.unpackb(zstandard.decompress(data))
    body[2][place] = True
    spoilt = zstandard.compress(msgpack.packb(body))
    with pytest.raises(WireError, match="columns"):
        decode_content(spoilt)
