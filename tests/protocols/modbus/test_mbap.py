from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.modbus.mbap import ADU_BYTES_MAX, Adu, MbapFramer, build_adu, split

ADUS = st.lists(
    st.builds(
        Adu,
        st.integers(0, 0xFFFF),
        st.integers(0, 255),
        st.binary(min_size=1, max_size=253),
        st.just(0),
    ),
    max_size=12,
)


def stream(adus: list[Adu]) -> bytes:
    return b"".join(build_adu(a.tid, a.unit, a.pdu) for a in adus)


@given(ADUS, st.lists(st.integers(0, 3000), max_size=20))
def test_any_split_gives_the_same_adus(adus: list[Adu], cuts: list[int]) -> None:
    data = stream(adus)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    framer = MbapFramer()
    found = [
        adu for first, last in pairwise(places) for adu in framer.feed(data[first:last])
    ]
    assert found == adus
    assert framer.pending == 0


@given(ADUS)
def test_byte_by_byte(adus: list[Adu]) -> None:
    framer = MbapFramer()
    data = stream(adus[:3])
    found = [adu for at in range(len(data)) for adu in framer.feed(data[at : at + 1])]
    assert found == adus[:3]


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_any_bytes_give_adus_or_the_one_error(pieces: list[bytes]) -> None:
    framer = MbapFramer()
    for piece in pieces:
        try:
            framer.feed(piece)
        except WireError:
            assert framer.pending == 0
        assert framer.pending < ADU_BYTES_MAX


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("000100010006", "protocol"),
        ("000101000006", "protocol"),
        ("000100000001", "length"),
        ("000100000000", "length"),
        ("0001000000ff", "length"),
        ("00010000ffff", "length"),
    ],
)
def test_a_header_that_cannot_be_is_refused_before_its_body(
    header: str, reason: str
) -> None:
    with pytest.raises(WireError, match=reason):
        MbapFramer().feed(bytes.fromhex(header))


def test_the_shortest_and_the_longest() -> None:
    short, long = Adu(7, 1, b"\x07"), Adu(8, 255, bytes(range(253)))
    assert MbapFramer().feed(stream([short, long])) == [short, long]
    assert len(build_adu(long.tid, long.unit, long.pdu)) == ADU_BYTES_MAX
    for wrong in (b"", bytes(254)):
        with pytest.raises(ValueError, match="1 to 253"):
            build_adu(0, 0, wrong)


def test_what_stands_before_a_bad_header_is_told_by_split() -> None:
    good = Adu(1, 1, b"\x03\0\0\0\x01")
    found, rest, lost = split(stream([good]) + b"\0\x02\0\x09\0\x06\x01")
    assert (found, rest[:2]) == ([good], b"\0\x02")
    assert lost
