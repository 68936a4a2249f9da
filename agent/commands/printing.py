"""Tables for people: wrapped on a terminal, whole lines in a pipe."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

from protocols.listing import aligned
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@contextlib.contextmanager
def to_stdout() -> Iterator[None]:
    """Print within; where who reads has seen enough, it is no error of ours."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    colours: Mapping[str, int] | None = None,
) -> None:
    """Write a table to stdout, whose last column is wrapped to a terminal.

    ``colours``: on a terminal, the SGR number of a line that begins with the word;
    not where NO_COLOR is set (no-color.org).
    """
    on_terminal = sys.stdout.isatty()
    if os.environ.get("NO_COLOR"):
        colours = None
    width = shutil.get_terminal_size().columns if on_terminal else 0
    with contextlib.suppress(BrokenPipeError):
        for line in aligned(head, rows, (), width):
            text, word = printable(line), line.partition(" ")[0]
            if on_terminal and colours and word in colours:
                text = f"\x1b[{colours[word]}m{word}\x1b[0m{text[len(word) :]}"
            sys.stdout.write(f"{text}\n")
