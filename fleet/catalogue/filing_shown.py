"""`sluicectl catalogue filing`: reads, prints as table, CSV or JSON, tells drift."""

from __future__ import annotations

import csv
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.catalogue.filing import (
    FIELDS,
    Counts,
    Filed,
    Filing,
    drift,
    filing,
    parse_filing,
)
from fleet.catalogue.filing_counts import of_ledger, of_store
from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.listing import write, write_table
from fleet.policy.source import Against, read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PERSONS_BYTES_MAX: Final = 256 * 1024
FILED_BYTES_MAX: Final = 8 * 1024 * 1024
TEXT_CHARACTERS_MAX: Final = 1000
EXIT_DRIFT: Final = 1
_TOLD: Final = frozenset(FIELDS) - {"category", "scale"}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a filing comes from."""

    policy: str
    against: Against
    ledger: Path | None
    store: Path | None
    persons: Path | None
    earlier: Path | None


def file_all(sources: Sources, form: str, *, everything: bool) -> int:
    """Print a filing, or what has changed since an earlier one; return the exit code.

    ``form``: table, json or csv.
    """
    if sources.ledger is not None and sources.store is not None:
        raise BadInput("", "", "give either --ledger or --store")
    said = _persons(sources.persons) if sources.persons else {}
    old = _earlier(sources.earlier) if sources.earlier else None
    compiled = read(sources.policy, sources.against).compiled
    unknown = sorted(set(said) - {""} - set(compiled.catalogues.entries))
    if unknown:
        raise BadInput(str(sources.persons), unknown[0], "is no category of the policy")
    made = filing(compiled, _counts(sources), said, everything=everything)
    if old is not None:
        return _print_drift(drift(old, made), form)
    {"json": _print_json, "csv": _print_csv}.get(form, _print_table)(made)
    return 0


def _counts(sources: Sources) -> Counts | None:
    if sources.ledger is not None:
        return of_ledger(sources.ledger)
    return of_store(sources.store) if sources.store is not None else None


def _earlier(path: Path) -> Filing:
    return parse_filing(read_limited(path, FILED_BYTES_MAX), str(path))


def _persons(path: Path) -> dict[str, Mapping[str, str]]:
    """Return what persons told: fields for all, and tables by category."""
    try:
        found = tomllib.loads(read_limited(path, PERSONS_BYTES_MAX).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), "", str(error)) from None
    except RecursionError:
        raise BadInput(str(path), "", "is nested too deeply") from None
    out: dict[str, Mapping[str, str]] = {"": {}}
    common: dict[str, str] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            out[name] = {key: _field(path, key, text) for key, text in value.items()}
        else:
            common[name] = _field(path, name, value)
    return {**out, "": common}


def _field(path: Path, name: str, value: object) -> str:
    if name not in _TOLD:
        known = ", ".join(sorted(_TOLD))
        raise BadInput(str(path), name, "is no field that a person fills", known)
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX:
        limit = f"must be a text of at most {TEXT_CHARACTERS_MAX} characters"
        raise BadInput(str(path), name, limit)
    return value


def _cells(one: Filed) -> list[tuple[str, str]]:
    scale = ", ".join(
        f"{count} {name.replace('_', ' ')}"
        for name, count in msgspec.structs.asdict(one.scale).items()
        if count >= 0
    )
    cells = {**msgspec.structs.asdict(one), "scale": scale}
    return [(name, str(cells[name])) for name in FIELDS]


def _print_table(made: Filing) -> None:
    write(f"{made.policy}, version {made.version}: {len(made.categories)} categories")
    for one in made.categories:
        write()
        write(one.id)
        rows = [(f"  {name.replace('_', ' ')}", text) for name, text in _cells(one)]
        write_table(("  field", "filed"), rows)


def _print_csv(made: Filing) -> None:
    out = csv.writer(sys.stdout)
    out.writerow(("id", *FIELDS))
    for one in made.categories:
        out.writerow((one.id, *(_safe(text) for _, text in _cells(one))))


def _safe(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _print_json(made: Filing) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(made)) + b"\n")


def _print_drift(found: list[tuple[str, str, str]], form: str) -> int:
    if form == "json":
        told = [{"category": c, "field": f, "change": w} for c, f, w in found]
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    elif found:
        write_table(("category", "field", "change"), found)
        write("to be filed anew within 3 months (T30, MIITM 12)")
    else:
        write("nothing that was filed has changed")
    return EXIT_DRIFT if found else 0
