"""A rollout for people: a bar and a table on a terminal; one line of JSON for machines.

In a pipe watching is quiet; its exit code and one line, or that of an error, say how it
ended.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fleet.listing import write
from fleet.rollout.totals import OUTCOMES, percent
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fleet.rollout.totals import Report

BAR_WIDTH: Final = 40
PIPE_WIDTH: Final = 4000  # as good as none
NAMES_SHOWN: Final = 6
MEANING: Final = {
    "silent": "no ack was ever seen",
    "waiting": "has not begun",
    "verified": "signatures hold",
    "staged": "compiled, beside the active one",
    "trial": "decides, is watched",
    "active": "decides, confirmed",
    "refused": "never decided",
    "reverted": "went back by itself",
    "back": "decides by another policy again",
}


@contextlib.contextmanager
def follower(*, as_json: bool, live: bool) -> Iterator[Callable[[Report], None]]:
    """Yield what shows the moments of a rollout that is watched."""
    if as_json:
        yield _Changes().show
    elif live:
        with Live(console=_console(), auto_refresh=False) as screen:
            yield lambda found: screen.update(_picture(found), refresh=True)
    else:
        yield _nothing


def _nothing(found: Report) -> None:
    del found


def result_line(found: Report) -> str:
    """Return how watching ended well, in one line."""
    counts = [
        f"{count} {name}" for name in OUTCOMES if (count := found.outcomes.get(name))
    ]
    told = ", ".join(counts) or "nobody"
    return printable(
        f"{found.rollout}, attempt {found.attempt}: done: {told} of {found.expected}"
    )


def print_report(found: Report, *, as_json: bool) -> None:
    """Print one moment: a line of JSON, or bar and table."""
    if as_json:
        _line(found)
    else:
        _print(found)


def _print(found: Report) -> None:
    console = _console()
    if sys.stdout.isatty():
        console.print(_picture(found))
        return
    console.width = PIPE_WIDTH  # whole lines
    with console.capture() as captured:
        console.print(_picture(found))
    for line in captured.get().splitlines():
        write(line.rstrip())


class _Changes:
    """Prints a moment where it differs from the one before."""

    def __init__(self) -> None:
        self._last: Report | None = None

    def show(self, found: Report) -> None:
        same = msgspec.structs.replace(found, seconds=0.0)
        if same != self._last:
            self._last = same
            _line(found)


def _line(found: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.buffer.flush()


def _console() -> Console:
    # no markup: words of devices are shown, never obeyed
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def _picture(found: Report) -> Group:
    done = percent(found.final, found.expected)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(max(found.expected, 1), found.final, width=BAR_WIDTH),
        Text(f"{found.final} of {found.expected} ({done}) after {found.seconds:.0f} s"),
    )
    notes = [Text(line) for line in _notes(found)]
    return Group(Text(printable(found.step)), bar, _table(found), *notes)


def _table(found: Report) -> Table:
    table = Table("state", "devices", "share", "meaning", box=None, pad_edge=False)
    for column in table.columns[1:3]:
        column.justify = "right"
    for name in OUTCOMES:
        count = found.outcomes.get(name, 0)
        if count or (name == "active" and found.state != "aborted"):
            whole = (
                found.answered if name in {"refused", "reverted"} else found.expected
            )
            table.add_row(
                name, str(count), percent(count, whole), _meaning(found, name)
            )
    return table


def _meaning(found: Report, name: str) -> str:
    rules = ", ".join(
        f"{rule.partition(' ')[2]} {count}"
        for rule, count in sorted(found.rules.items(), key=lambda one: -one[1])
        if rule.startswith(name)
    )
    names = found.named.get(name, [])
    some = ", ".join(names[:NAMES_SHOWN])
    more = ", ..." if found.outcomes.get(name, 0) > NAMES_SHOWN else ""
    words = [rules, f"{some}{more}" if some else ""]
    return printable(": ".join(word for word in words if word)) or MEANING[name]


def _notes(found: Report) -> Iterator[str]:
    if not found.expected:
        yield "no enrolled device is in the cohort"
    elif found.enrolled > found.expected:
        share = percent(found.expected, found.enrolled)
        yield f"the cohort is {share} of {found.enrolled} enrolled devices"
    if found.unplaced:
        yield (
            f"{found.unplaced} silent devices are within the share; only they know"
            " their groups"
        )
    if found.others_active:
        yield f"{found.others_active} beyond the cohort decide by it too"
    if found.bad_acks:
        names = ", ".join(list(found.bad_devices)[:NAMES_SHOWN])
        yield printable(
            f"acks that their device did not sign: {found.bad_acks} ({names})"
        )
    if found.strangers:
        names = ", ".join(found.strangers[:NAMES_SHOWN])
        yield printable(f"not enrolled, ignored: {names}")
    if found.limit:
        yield printable(f"over the limit: {found.limit}")
