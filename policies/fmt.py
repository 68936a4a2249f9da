"""One layout for our YAML files that keeps every comment and means the same.

A line-based normaliser over the scanner's tokens: it moves and never rewrites. Touched
are the indentation (two spaces a level, lists indented below their key), the gaps
between tokens of a line (``{ a:1 }`` becomes ``{a: 1}``), white space at the end of
lines, runs of blank lines, line endings and the end of the file. Not touched are the
order of fields, quotes, line breaks, and the insides of scalars and comments. Comments
behind text keep their column where they can.

The result is parsed again: other values, or another comment, and the file is refused
as it stands, because then this module does not understand it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from policies.errors import PolicyError
from policies.yaml_tree import read_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP: Final = 2  # spaces of one level
REASON: Final = "cannot be laid out without changing it"
COMMENT_GAP: Final = 2  # spaces before a comment behind text, at least

_TIGHT_AFTER: Final = (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
_CLOSERS: Final = (yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_TIGHT_BEFORE: Final = (*_CLOSERS, yaml.FlowEntryToken, yaml.ValueToken)


@dataclass(frozen=True, slots=True)
class _Block:
    """One open block collection: where it stood, and where it goes."""

    old: int
    new: int
    is_list: bool
    is_flush: bool = False  # a list at the column of the key above it


@dataclass(slots=True)
class _Line:
    """What the tokens say of one line."""

    first: yaml.Token | None = None
    indent: int = 0  # of its first token, where it goes
    shift: int = 0  # of what goes on from an earlier line
    inside: bool = False  # it begins within a scalar or flow collection
    verbatim: bool = False  # of a block scalar: its spaces are text
    stack: tuple[_Block, ...] = ()  # open behind its last token
    tokens: list[yaml.Token] = field(default_factory=list)


def formatted(text: bytes, file: str, bytes_max: int) -> bytes:
    """Return a file in the one layout; PolicyError for what is no file of ours.

    Any of our kinds of file: what fields it may have is not looked at.
    """
    before = read_tree(text, file, bytes_max)
    if not isinstance(before.value, dict):  # any text is YAML: a capture is one scalar
        raise before.error((), "a mapping with fields is needed")
    source = text.decode("utf-8").replace("\r\n", "\n")
    refusal = PolicyError(file, 0, "", REASON, "write it in plainer YAML")
    try:
        out = _Layout(source).text()
        after = read_tree(out.encode(), file, bytes_max)
        same = after.value == before.value and _comments(out) == _comments(source)
    except (yaml.YAMLError, PolicyError):  # libyaml takes what the scanner does not
        raise refusal from None
    if not same:
        raise refusal
    return out.encode()


class _Layout:
    """The lines of one file, and what its tokens say of each."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = source.split("\n")
        self._told: dict[int, _Line] = {}
        self._stack: list[_Block] = []
        self._flow = 0  # depth of flow collections
        self._read()

    def text(self) -> str:
        """Return the whole in the one layout."""
        out: list[str] = []
        for number, line in enumerate(self._lines):
            laid = self._laid(number, line)
            if laid or (out and out[-1]) or self._is_verbatim(number):
                out.append(laid)
        while out and not out[-1]:
            out.pop()
        return "\n".join([*out, ""])

    def _is_verbatim(self, number: int) -> bool:
        told = self._told.get(number)
        return told is not None and told.verbatim

    # --- What the tokens say ----------------------------------------------------------

    def _read(self) -> None:
        for token in yaml.scan(self._source, yaml.SafeLoader):
            self._structure(token)
            start, end = token.start_mark, token.end_mark
            if start.index == end.index:
                continue  # of structure only: nothing is written
            told = self._told.setdefault(start.line, _Line())
            if told.first is None and not told.inside:
                told.first = token
                self._place(told, token)
            told.tokens.append(token)
            told.stack = tuple(self._stack)
            self._go_on(token)
            if isinstance(token, _TIGHT_AFTER):
                self._flow += 1
            elif isinstance(token, _CLOSERS):
                self._flow -= 1

    def _structure(self, token: yaml.Token) -> None:
        column = token.start_mark.column
        top = self._stack[-1] if self._stack else None
        if isinstance(token, yaml.BlockEndToken):
            if top is not None and top.is_flush:
                self._stack.pop()
            self._stack.pop()
        elif isinstance(token, yaml.BlockMappingStartToken):
            self._push(column, is_list=False)
        elif isinstance(token, yaml.BlockSequenceStartToken):
            self._push(column, is_list=True)
        elif top is None:
            return
        elif isinstance(token, yaml.BlockEntryToken) and not top.is_list:
            self._stack.append(_Block(column, top.new + STEP, True, True))
        elif isinstance(token, yaml.KeyToken) and top.is_flush and not self._flow:
            self._stack.pop()

    def _push(self, column: int, *, is_list: bool) -> None:
        new = self._stack[-1].new + STEP if self._stack else 0
        self._stack.append(_Block(column, new, is_list))

    def _place(self, told: _Line, token: yaml.Token) -> None:
        """Say where a line goes that begins with ``token``."""
        top = self._stack[-1] if self._stack else _Block(0, 0, is_list=False)
        closes = isinstance(token, _CLOSERS)
        told.inside = bool(self._flow)
        told.shift = top.new - top.old
        told.indent = top.new + STEP  # a value on a line of its own
        if token.start_mark.column == top.old or closes or not self._stack:
            told.indent = top.new

    def _go_on(self, token: yaml.Token) -> None:
        """Mark the lines that a token of several lines, or an open flow, reaches."""
        top = self._stack[-1] if self._stack else _Block(0, 0, is_list=False)
        shift = top.new - top.old
        start, end = token.start_mark, token.end_mark
        is_block = isinstance(token, yaml.ScalarToken) and token.style in ("|", ">")
        last = end.line + (0 if end.column or not is_block else -1)
        for number in range(start.line + 1, last + 1):
            told = self._told.setdefault(number, _Line())
            told.inside, told.shift, told.verbatim = True, shift, is_block
            told.indent = top.new + STEP

    # --- Laying out -------------------------------------------------------------------

    def _laid(self, number: int, line: str) -> str:
        told = self._told.get(number)
        bare = line.strip(" ")
        if told is not None and told.verbatim:
            return _moved(line, told.shift) if bare else line
        if not bare:
            return ""
        if told is None:  # a comment on its own
            return " " * self._comment_column(number, line) + bare
        column = told.indent
        if told.inside:  # it goes on from the line before, moved as that was
            column = max(column, len(line) - len(line.lstrip(" ")) + told.shift)
        return self._joined(number, line, column)

    def _joined(self, number: int, line: str, column: int) -> str:
        """Return a line with its tokens at their gaps and its comment behind them."""
        told = self._told[number]
        start = len(line) - len(line.lstrip(" "))
        out, at = " " * column, start
        before: yaml.Token | None = None
        for token in told.tokens:
            begin = token.start_mark.column
            gap = line[at:begin]
            if before is not None and not gap.strip(" "):
                gap = _gap(before, token)
            end = token.end_mark.column
            if token.end_mark.line != number:
                end = len(line)
            out += gap + line[begin:end]
            at, before = end, token
        rest = line[at:]
        if not rest.strip(" "):
            return out.rstrip(" ") if before is not None else out
        if before is None or not rest.lstrip(" ").startswith("#"):
            return (out + rest).rstrip(" ")
        comment = rest.lstrip(" ").rstrip(" ")
        wanted = len(line) - len(rest.lstrip(" ")) + column - start
        return out + " " * max(COMMENT_GAP, wanted - len(out)) + comment

    def _comment_column(self, number: int, line: str) -> int:
        """Return where a comment goes: with the block that it stood at."""
        column = len(line) - len(line.lstrip(" "))
        blocks = [*self._blocks_before(number), *self._blocks_after(number)]
        for block in blocks:
            if block.old == column:
                return block.new
        fits = [block for block in blocks if block.old <= column]
        return max(fits, key=lambda block: block.old).new if fits else 0

    def _blocks_before(self, number: int) -> tuple[_Block, ...]:
        for at in range(number - 1, -1, -1):
            told = self._told.get(at)
            if told is not None and told.tokens:
                return told.stack
        return ()

    def _blocks_after(self, number: int) -> Iterator[_Block]:
        for at in range(number + 1, len(self._lines)):
            told = self._told.get(at)
            if told is not None and told.first is not None:
                column = told.first.start_mark.column
                yield _Block(column, told.indent, is_list=False)
                return


def _moved(line: str, shift: int) -> str:
    return line[-shift:] if shift < 0 else " " * shift + line


def _gap(before: yaml.Token, after: yaml.Token) -> str:
    """Return the white space between two tokens of one line."""
    if isinstance(before, _TIGHT_AFTER) or isinstance(after, _TIGHT_BEFORE):
        return ""
    return " "


def _comments(source: str) -> list[str]:
    """Return every comment of a text, in order."""
    found: list[str] = []
    at = 0
    for token in yaml.scan(source, yaml.SafeLoader):
        between = source[at : max(at, token.start_mark.index)]
        found += _in_gap(between)
        at = max(at, token.end_mark.index)
    return found + _in_gap(source[at:])


def _in_gap(text: str) -> list[str]:
    lines = text.split("\n")
    return [line[line.index("#") :].rstrip() for line in lines if "#" in line]
