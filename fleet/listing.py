"""Tables for people: aligned on a terminal, whole lines in a pipe. No colour needed."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Final

from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

GAP: Final = "  "
INDENT: Final = "    "
NARROW: Final = 24  # columns that the last one needs beside the others


def write(line: str = "") -> None:
    """Write one line to stdout; nothing of a file's text is obeyed by the terminal."""
    sys.stdout.write(f"{printable(line)}\n")


def write_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Write a table; nothing where there are no rows.

    The last column is wrapped to the terminal; in a pipe every row is one whole line.
    ``right``: columns of numbers.
    """
    if not rows:
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in aligned(head, rows, right, width):
        write(line)


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], width: int
) -> Iterator[str]:
    """Yield the lines of a table; ``width`` 0: as wide as it takes."""
    cells = [[" ".join(cell.splitlines()) for cell in row] for row in (head, *rows)]
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


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield what tells that one more is done: a bar on a terminal, else nothing."""
    from rich.console import Console  # noqa: PLC0415  # only where something is long
    from rich.progress import Progress  # noqa: PLC0415  # the same

    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with Progress(console=console, disable=quiet, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
