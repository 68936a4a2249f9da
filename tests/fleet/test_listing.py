"""Tables: aligned, wrapped to a terminal, whole lines in a pipe, nothing obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from fleet.listing import write, write_table
from protocols.listing import NARROW, aligned

if TYPE_CHECKING:
    import pytest

HEAD = ("n", "name", "what")
ROWS = [("1", "a", "short"), ("22", "bcd", "a longer text that is wrapped somewhere")]


def test_a_pipe_gets_whole_lines() -> None:
    assert list(aligned(HEAD, ROWS, (0,), 0)) == [
        " n  name  what",
        " 1  a     short",
        "22  bcd   a longer text that is wrapped somewhere",
    ]


def test_a_terminal_gets_the_last_column_wrapped() -> None:
    lines = list(aligned(HEAD, ROWS, (0,), 36))
    assert lines[2:] == [
        "22  bcd   a longer text that is",
        "          wrapped somewhere",
    ]


def test_where_there_is_no_room_the_last_column_goes_below() -> None:
    lines = list(aligned(HEAD, ROWS, (0,), 30))
    assert lines[-3:] == [
        "22  bcd",
        "    a longer text that is",
        "    wrapped somewhere",
    ]


def test_nothing_is_written_for_no_rows_and_nothing_is_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_table(HEAD, [])
    assert capsys.readouterr().out == ""
    write("a\x1b[31mb\nc")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 1


CELLS = st.text("ab c", max_size=20)


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4),
    st.integers(NARROW + 10, 120),
)
def test_no_word_is_lost_and_no_line_of_the_last_column_is_too_wide(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    lines = list(aligned(HEAD, rows, (), width))
    words = " ".join(" ".join(row) for row in (HEAD, *rows)).split()
    assert sorted(" ".join(lines).split()) == sorted(words)
    assert all(len(line) <= max(width, 20 + 20 + 4 + NARROW) for line in lines)


def test_a_table_may_have_no_head() -> None:
    assert list(aligned((), [("a", "b"), ("cd", "")], (), 0)) == ["a   b", "cd"]
    assert not list(aligned((), [], (), 0))
