"""`sluicegate doctor`, as it is typed; 0 where nothing is bad, 1 where something is."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import msgspec

from agent.commands.doctor.context import Context, User
from agent.commands.doctor.host import Host
from agent.commands.doctor.model import BAD, GOOD, NOTICE, SKIPPED, VERDICTS, WARN
from agent.commands.doctor.runner import examined
from agent.commands.doctor.stepping_down import step_down
from agent.commands.doctor.table import CHECKS, select
from agent.commands.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agent.commands.doctor.model import Row

COLOURS: Final = {GOOD: 32, NOTICE: 36, WARN: 33, BAD: 31, SKIPPED: 2}
LEFT_SHOWN_MAX: Final = 8
HEAD: Final = ("id", "looks at", "red means", "fix")


def examine(
    config_file: Path, as_json: bool, only: Sequence[str] = (), host: Host | None = None
) -> int:
    """Run the checks and print what they find."""
    chosen = select(only)
    machine = host or Host()
    file = config_file.absolute()  # fix lines hold wherever they are typed
    stepped_down = step_down(file, machine)
    context = Context(file, machine, User.current(stepped_down=stepped_down))
    with_progress = sys.stderr.isatty() and not as_json
    rows = list(
        examined(CHECKS, context, chosen, _progress if with_progress else _quiet)
    )
    if with_progress:
        _progress("")
    if as_json:
        sys.stdout.buffer.write(
            msgspec.json.encode([asdict(row) for row in rows]) + b"\n"
        )
    else:
        _print(rows)
    return 1 if any(row.verdict == BAD for row in rows) else 0


def show_list(as_json: bool) -> int:
    """Print every check: what it looks at, what red means, and the fix."""
    rows = [(one.id, one.looks, one.red, one.fix) for one in CHECKS]
    if as_json:
        told = [
            dict(zip(("id", "looks", "red", "fix"), row, strict=True)) for row in rows
        ]
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    else:
        print_table(("id", "looks at"), [row[:2] for row in rows])
    return 0


def as_page() -> Iterator[str]:
    """Yield the lines of the table of docs/doctor.md."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    for one in CHECKS:
        yield f"| `{one.id}` | {one.looks} | {one.red} | {one.fix} |"


def _print(rows: Sequence[Row]) -> None:
    shown = [row for row in rows if row.verdict != SKIPPED]
    left: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict == SKIPPED:
            place = f"{row.id} {row.subject}".rstrip()
            left.setdefault(row.said, []).append(place)
    table = [(row.verdict, row.id, _words(row)) for row in shown]
    table += [(SKIPPED, names[0], _left(said, names)) for said, names in left.items()]
    print_table((), table, COLOURS)
    counts = Counter(row.verdict for row in rows)
    told = ", ".join(f"{counts[one]} {one}" for one in VERDICTS if counts[one])
    print_table((), [(told,)])


def _left(said: str, names: Sequence[str]) -> str:
    """Return one line for all that one cause keeps from being looked at."""
    more = names[1 : 1 + LEFT_SHOWN_MAX]
    beyond = len(names) - 1 - len(more)
    told = ", ".join(more) + (f" and {beyond} more" if beyond else "")
    return f"{said}; {told}, too" if more else said


def _words(row: Row) -> str:
    about = f"{row.subject}: " if row.subject and row.subject not in row.said else ""
    return f"{about}{row.said}" + (f" -> {row.fix}" if row.fix else "")


def _progress(name: str) -> None:
    sys.stderr.write(f"\r\x1b[K{name}{' ...' if name else ''}")
    sys.stderr.flush()


def _quiet(name: str) -> None:
    del name
