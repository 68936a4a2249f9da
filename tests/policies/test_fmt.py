"""One layout that keeps comments and meaning: examples, a table, and a messy writer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.fmt import formatted
from policies.yaml_tree import BYTES_MAX, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = sorted((Path(__file__).parents[2] / "policies").glob("*/*.yaml"))


def laid(text: str) -> str:
    return formatted(text.encode(), "t.yaml", BYTES_MAX).decode()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_laid_out(path: Path) -> None:
    text = path.read_bytes()
    assert formatted(text, path.name, 4 * BYTES_MAX) == text


@pytest.mark.parametrize(
    ("messy", "neat"),
    [
        ("a: 1", "a: 1\n"),
        ("\n\na:   1  \n\n\n\nb :  2\n\n", "a: 1\n\nb: 2\n"),
        ("a:\n    b:\n        c: 1\n    d: 2\n", "a:\n  b:\n    c: 1\n  d: 2\n"),
        ("a:\n- 1\n-   2\nb: 3\n", "a:\n  - 1\n  - 2\nb: 3\n"),
        ("a:\n-   b: 1\n    c:\n    - 2\n", "a:\n  - b: 1\n    c:\n      - 2\n"),
        ("a:\n  -\n      b: 1\n", "a:\n  -\n    b: 1\n"),
        ("a: { b : 1,c: [ 2,3 ] }\n", "a: {b: 1, c: [2, 3]}\n"),
        ("a: 1 # why\n", "a: 1  # why\n"),
        ("a:  1     # why\n", "a: 1      # why\n"),
        ("#x\na:\n    # of b\n    b: 1\n", "#x\na:\n  # of b\n  b: 1\n"),
        (
            "a:\n- b: 1\n  # behind b\n- c: 2\n# end\n",
            "a:\n  - b: 1\n    # behind b\n  - c: 2\n# end\n",
        ),
        ("a:\n   - {b: 1,\n      c: 2}\n", "a:\n  - {b: 1,\n     c: 2}\n"),
        ("a: [\n    1,  # one\n    2,\n  ]\n", "a: [\n    1,  # one\n    2,\n  ]\n"),
        ("a:\r\n  b: 1\r\n", "a:\n  b: 1\n"),
        ('a:   "x  # y"   # z\n', 'a: "x  # y"     # z\n'),
        ("a:\n      |\n       x\n", "a:\n  |\n       x\n"),
        ("a:\n    b: |\n        x\n          y\n\n    c: 1\n",
         "a:\n  b: |\n      x\n        y\n\n  c: 1\n"),
        ("a:\n    b: >-\n      x # no comment\n", "a:\n  b: >-\n    x # no comment\n"),
        ("a: 'b\n  c'\nd: e\n   f\n", "a: 'b\n  c'\nd: e\n   f\n"),
        ("---\na: 1\n", "---\na: 1\n"),
    ],
)  # fmt: skip
def test_the_layout(messy: str, neat: str) -> None:
    assert laid(messy) == neat
    assert laid(neat) == neat


CAPTURE = "(1.0) can0 0D8#00\n(1.1) can0 0C4#00\n"  # YAML says: one scalar


def test_what_is_no_file_of_ours_is_refused() -> None:
    for text in ("a: [", "a: &x 1\n", "\t", "a: 1\na: 2\n", "- a\n", CAPTURE):
        with pytest.raises(PolicyError):
            laid(text)


# --- A writer of messy files ----------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "name", "do", "x-y", "0x1"])
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.none(),
    st.sampled_from(["x", "07:00", "NO", "a # b", "#", "- a", "{", "it's", "a: b", ""]),
    st.text("ab #:-{}[],'\"\\é\n", max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)
Draw = "Callable[[st.SearchStrategy[Any]], Any]"


class Messy:
    """Writes a value as YAML in as many ways as the format allows."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self.comments: list[str] = []

    def document(self, value: dict[str, Any]) -> str:
        return "\n".join([*self._extra(0), *self._block(value, 0), *self._extra(0)])

    def _spaces(self, least: int) -> str:
        return " " * self._draw(st.integers(least, least + 3))

    def _one_in(self, many: int) -> bool:
        return bool(self._draw(st.integers(1, many)) == 1)

    def _extra(self, column: int) -> list[str]:
        """Return blank lines and comments."""
        out: list[str] = []
        if self._one_in(4):
            out.append(self._spaces(0))
        if self._one_in(4):
            out.append(" " * column + self._comment())
        return out

    def _comment(self) -> str:
        text = f"# {len(self.comments)} {{a: 'b\" - x:  y"
        self.comments.append(text)
        return text

    def _tail(self) -> str:
        return (
            f" {self._spaces(0)}{self._comment()}"
            if self._one_in(4)
            else self._spaces(0)
        )

    def _block(self, value: Any, column: int) -> list[str]:
        pad = " " * column
        out: list[str] = []
        if isinstance(value, dict):
            for key, inner in value.items():
                out += self._extra(column)
                out += self._entry(
                    f"{pad}{json.dumps(key)}{self._spaces(0)}:", inner, column
                )
            return out
        for inner in value:
            out += self._extra(column)
            is_map = isinstance(inner, dict) and inner
            if is_map and self._one_in(2):
                gap = self._spaces(1)
                lines = self._block(inner, column + 1 + len(gap))
                first = next(n for n, one in enumerate(lines) if re.match(r' *"', one))
                head = lines[first]
                lines[first] = f"{pad}-{gap}{head.lstrip(' ')}"
                out += lines
            else:
                out += self._entry(f"{pad}-", inner, column, is_item=True)
        return out

    def _entry(
        self, head: str, inner: Any, column: int, *, is_item: bool = False
    ) -> list[str]:
        if isinstance(inner, dict | list) and inner and self._one_in(2):
            flush = isinstance(inner, list) and not is_item and self._one_in(2)
            below = column if flush else column + self._draw(st.integers(1, 5))
            return [head + self._tail(), *self._block(inner, below)]
        return [f"{head}{self._spaces(1)}{self._flow(inner)}{self._tail()}"]

    def _flow(self, value: Any) -> str:
        gap = self._spaces(0)
        if isinstance(value, dict):
            parts = [
                f"{json.dumps(k)}:{self._spaces(1)}{self._flow(v)}"
                for k, v in value.items()
            ]
            return f"{{{gap}{f'{gap},{gap}'.join(parts)}{gap}}}"
        if isinstance(value, list):
            parts = [self._flow(one) for one in value]
            return f"[{gap}{f'{gap},{gap}'.join(parts)}{gap}]"
        return json.dumps(value)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), st.data())
def test_meaning_and_comments_stay_and_twice_is_once(
    value: dict[str, Any], data: st.DataObject
) -> None:
    writer = Messy(data.draw)
    messy = writer.document(value)
    assert read_tree(messy.encode(), "t", BYTES_MAX).value == value
    neat = laid(messy)
    assert read_tree(neat.encode(), "t", BYTES_MAX).value == value
    assert laid(neat) == neat
    for comment in writer.comments:
        assert neat.count(comment) == 1
    assert not re.search(r"(?m: $)|\n\n\n|\A\n|\n\n\Z", neat)


@given(st.text("ab #:-{}[],'\"|>%?!&*\n\t  é01", max_size=40))
def test_any_text_is_laid_out_the_same_or_refused(text: str) -> None:
    try:
        neat = laid(text)
    except PolicyError:
        return
    value = read_tree(text.encode(), "t", BYTES_MAX).value
    assert read_tree(neat.encode(), "t", BYTES_MAX).value == value
    assert laid(neat) == neat


PIECES = st.sampled_from(
    ["a: ", "b:", "- ", "\n", "\n  ", "\n    ", "# c", " # c", "{", "}", "[", "]", ", ",
     "|", ">", "|2", ">-", "'x'", '"y"', "1", "word", "? ", ": ", "---", "...", "  ",
     "\n\n", "'x\n y'", "%YAML 1.2\n", "\r\n"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_pieces_of_yaml_are_laid_out_the_same_or_refused(text: str) -> None:
    test_any_text_is_laid_out_the_same_or_refused.hypothesis.inner_test(text)
