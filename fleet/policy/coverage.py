"""`sluicectl policy coverage`: what of a DBC or register map is in no catalogue."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleet.errors import BadInput
from fleet.listing import write, write_table
from fleet.policy.source import Against, bad_input, read
from policies.coverage import State, coverage
from policies.files import sunspec_models
from protocols.can.database import load_database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.coverage import Coverage, Part


def cover(
    databases: Sequence[Path],
    policy: str,
    against: Against,
    *,
    least: float,
    as_json: bool,
) -> int:
    """Print coverage of databases and bindings; 1 where it is below ``least`` %."""
    if not databases and not against.is_bound:
        raise BadInput("", "", "give a database, or bindings with -b, or both")
    if databases and against.databases is None:  # bindings may name the very files
        against = replace(against, databases=databases[0].parent)
    compiled = read(policy, against).compiled if against.is_bound else None
    named: set[Path | None] = set()
    if compiled is not None:
        named = {
            _resolved(Path(one.file))
            for known in compiled.databases.values()
            for one in known
        }
    numbers = {one.model for one in compiled.sunspec} if compiled else set()
    with bad_input():
        others = [
            load_database(path)
            for path in dict.fromkeys(databases)
            if _resolved(path) not in named
        ]
        models = sunspec_models(numbers)
    found = coverage(compiled, others, models)
    if as_json:
        sys.stdout.write(msgspec.json.encode(_whole(found)).decode() + "\n")
    else:
        _print(found)
    if found.share * 100 < least:
        if not as_json:
            write(f"below the {least:g} % that are asked for")
        return 1
    return 0


def _whole(found: Coverage) -> dict[str, object]:
    return {
        "percent": round(found.share * 100, 3),
        "total": found.total,
        **{str(state): found.count(state) for state in State},
        "parts": [
            {
                **msgspec.to_builtins(part),
                **{str(state): part.count(state) for state in State},
            }
            for part in found.parts
        ],
    }


def _print(found: Coverage) -> None:
    for state in (State.UNCLASSIFIED, State.UNBOUND):
        rows = [
            (_short(part), place, names)
            for part in found.parts
            for place, names in _places(part, state)
        ]
        if rows:
            write(f"{state}:")
            write_table(("  in", "of", "what"), [(f"  {a}", b, c) for a, b, c in rows])
            write()
    total = [str(found.total), *(str(found.count(state)) for state in State)]
    write_table(
        ("", "signals", *(str(state) for state in State), "coverage"),
        [
            *(
                (
                    _short(part),
                    str(len(part.signals)),
                    *(str(part.count(state)) for state in State),
                    _percent(part.count(State.CLASSIFIED), len(part.signals)),
                )
                for part in found.parts
            ),
            ("in all", *total, _percent(found.count(State.CLASSIFIED), found.total)),
        ],
        right=(1, 2, 3, 4, 5),
    )


def _resolved(path: Path) -> Path | None:
    """Return the file that a path means; None for what is no path."""
    try:
        return path.resolve()
    except (OSError, ValueError):  # a loop of links, a name with a zero byte
        return None


def _short(part: Part) -> str:
    """Return a database's name without its folder."""
    return Path(part.name).name if part.kind == "database" else part.name


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _places(part: Part, state: State) -> list[tuple[str, str]]:
    """Return per message or unit the names that are in a state, as one text."""
    by_place: dict[str, list[str]] = {}
    for one in part.signals:
        if one.state == state:
            item = f" ({', '.join(one.items)})" if one.items else ""
            by_place.setdefault(one.place, []).append(f"{one.name}{item}")
    return [(place, ", ".join(names)) for place, names in by_place.items()]
