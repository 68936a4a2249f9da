"""Tables for people: aligned on a terminal, whole lines in a pipe. No colour needed."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import TYPE_CHECKING

from protocols.listing import aligned
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


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
    for line in aligned(head, rows, right, _width()):
        write(line)


def write_facts(rows: Sequence[tuple[str, object]]) -> None:
    """Write a name and what it is on each line."""
    for line in aligned((), [(name, str(what)) for name, what in rows], (), _width()):
        write(line)


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield what tells that one more is done: a bar on a terminal, else nothing."""
    from rich.console import Console  # noqa: PLC0415  # only where something is long
    from rich.progress import Progress  # noqa: PLC0415  # the same

    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with Progress(console=console, disable=quiet, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
