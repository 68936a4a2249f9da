"""Columns of plain text, as both ends print them; pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GAP: Final = "  "
INDENT: Final = "    "
NARROW: Final = 24  # columns that the last one needs beside the others


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], width: int
) -> Iterator[str]:
    """Yield the lines of a table; ``width`` 0: as wide as it takes.

    ``head`` may be (): there is none. ``right``: columns of numbers.
    """
    table = [row for row in (head, *rows) if row]
    if not table:
        return
    cells = [[" ".join(cell.splitlines()) for cell in row] for row in table]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    before = sum(wide[:-1]) + len(GAP) * (len(wide) - 1)
    left = width - before if width else 0
    is_narrow = bool(width) and left < NARROW  # the last column goes below the others
    if is_narrow:
        before, left = len(INDENT), max(width - len(INDENT), NARROW)
    for row in cells:
        parts = [
            cell.rjust(wide[at]) if at in right else cell.ljust(wide[at])
            for at, cell in enumerate(row[:-1])
        ]
        last = row[-1].rjust(wide[-1]) if len(row) - 1 in right else row[-1]
        folded = textwrap.wrap(last, left) if left and last.strip() else [last]
        if is_narrow:
            yield GAP.join(parts).rstrip()
        else:
            yield GAP.join([*parts, folded.pop(0)]).rstrip()
        for more in folded:
            yield (" " * before + more).rstrip()
