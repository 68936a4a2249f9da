"""`sluicectl catalogue suggest`: proposals for databases, a table and a draft."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.errors import BadInput
from fleet.files import read_limited, write_new
from fleet.listing import progress, write, write_table
from fleet.policy.source import bad_input
from policies.bindings import bind
from policies.catalogue import CatalogueSet
from policies.errors import PolicyError
from policies.files import shipped_text, sunspec_models
from policies.parse import parse_bindings, parse_catalogue
from policies.suggest.draft import Source, draft
from policies.suggest.draft_plant import draft_registers
from policies.suggest.facts import facts_of
from policies.suggest.families import family_of
from policies.suggest.naming import Namer
from policies.suggest.positions import positions
from policies.suggest.registers import MAP_BYTES_MAX, of_bindings, of_model, parse_map
from policies.suggest.suggesting import suggest
from policies.suggest.topics_plant import PLANT
from protocols.can.database import FORMATS, load_database
from protocols.errors import DatabaseError, WireError
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.suggest.registers import Register
    from policies.suggest.suggesting import Proposal
    from protocols.can.database import Database

EXIT_REFUSED: Final = 1
FILES_MAX: Final = 1000
SHIPPED: Final = ("cn-auto", "cn-industrial")
BUS: Final = "can0"
LINK: Final = "plc1"
SUNSPEC: Final = "sunspec"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person typed."""

    files: tuple[Path, ...]
    catalogue: str
    bus: str
    minimum: float
    out: Path | None


@dataclass(frozen=True, slots=True)
class Read:
    """One file: its proposals, or why it was refused."""

    file: Path
    proposals: tuple[Proposal, ...] = ()
    database: Database | None = None
    registers: tuple[Register, ...] = ()  # one for each proposal, where it is no bus
    refused: str = ""


def suggest_all(wanted: Wanted, *, as_json: bool) -> int:
    """Print proposals for all files and write the draft; return the exit code."""
    if len(wanted.files) > FILES_MAX:
        raise BadInput("", "", f"more than {FILES_MAX} files")
    if wanted.out is not None and wanted.out.exists():
        raise BadInput(str(wanted.out), "", "exists already")
    with bad_input():
        names = (wanted.catalogue,) if wanted.catalogue else SHIPPED
        known = CatalogueSet(
            [parse_catalogue(shipped_text("catalogues", n), n) for n in names]
        )
    with progress("reading", len(wanted.files)) as done:
        found = [_read(path, done) for path in dict.fromkeys(wanted.files)]
    good = [one for one in found if not one.refused]
    for one in found:
        if one.refused:
            _tell(one.refused)
    if not good:
        raise BadInput("", "", "no file could be read")
    if wanted.out is not None:
        _write_draft(wanted, wanted.out, good, known)
    if as_json:
        _print_json(found, wanted.minimum)
    else:
        _print(good, wanted, known)
    return EXIT_REFUSED if len(good) < len(found) else 0


def _read(path: Path, done: object) -> Read:
    try:
        if path.suffix.lower().lstrip(".") in FORMATS:
            database = load_database(path)
            return Read(path, tuple(suggest(facts_of(database))), database)
        registers = tuple(_registers(path))
        found = suggest([one.facts for one in registers], PLANT)
        return Read(path, tuple(found), registers=registers)
    except (DatabaseError, BadInput, PolicyError, WireError) as error:
        return Read(path, refused=str(error))
    finally:
        if callable(done):
            done()


def _registers(path: Path) -> list[Register]:
    """Return what a register map, Modbus bindings or a SunSpec model hold."""
    name, _, number = str(path).partition(":")
    if name == SUNSPEC and number.isascii() and number.isdigit():
        models = sunspec_models([int(number)])
        if not models:
            raise BadInput(str(path), "", "no such published SunSpec model")
        return of_model(models[int(number)])
    kind = path.suffix.lower()
    if kind == ".csv":
        return parse_map(read_limited(path, MAP_BYTES_MAX), str(path))
    if kind == ".yaml":
        body = read_limited(path, MAP_BYTES_MAX)
        return of_bindings(parse_bindings(body, str(path)).model, str(path))
    names = ", ".join((*FORMATS, "csv", "yaml"))
    raise BadInput(str(path), "name", f"must end in one of {names}", "or sunspec:103")


def _tell(line: str) -> None:
    sys.stderr.write(f"sluicectl: {printable(line)}\n")


def _write_draft(
    wanted: Wanted, out: Path, found: Sequence[Read], known: CatalogueSet
) -> None:
    """Write the draft, after our own parser has taken it."""
    databases: dict[str, Database] = {}
    sources: list[Source] = []
    bus = wanted.bus or BUS
    link = wanted.bus or LINK
    namer = Namer()
    for one in found:
        if one.database is None:
            continue
        name = Path(os.path.relpath(one.file, out.parent)).as_posix()
        databases[name] = one.database
        sources.append(Source(name, bus, one.proposals))
    text = draft(_name(out), sources, known, wanted.minimum, namer)
    pairs = [
        pair
        for one in found
        for pair in zip(one.registers, one.proposals, strict=False)
    ]
    plain = [pair for pair in pairs if not pair[0].model]
    models = [pair for pair in pairs if pair[0].model]
    for head, members in (("modbus:", plain), ("sunspec:", models)):
        if members:
            lines = draft_registers(members, link, known, wanted.minimum, namer)
            text += "\n".join((head, *lines)) + "\n"
    with bad_input():
        document = parse_bindings(text.encode(), str(out))
        numbers = {one.model for one in document.model.sunspec}
        bind([document], databases, (bus,), (link,), sunspec_models(numbers))
    write_new(out, text.encode())


def _name(out: Path) -> str:
    stem = out.name.removesuffix(".yaml").removesuffix(".bindings")
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in stem)
    return plain.strip("-")[:64] or "draft"


def _print(found: Sequence[Read], wanted: Wanted, known: CatalogueSet) -> None:
    sure = [p for one in found for p in one.proposals if _is_in(p, wanted.minimum)]
    by_category: dict[str, list[Proposal]] = {}
    for one in sorted(sure, key=lambda p: (p.category, p.facts.file, p.facts.group)):
        by_category.setdefault(one.category, []).append(one)
    for category, members in by_category.items():
        entry = known.entries.get(category)
        about = f": {entry.about}" if entry else " (not in this catalogue)"
        write(f"{category}{about}")
        rows = [
            (f"  {p.facts.group}", p.facts.name, p.facts.unit, f"{p.confidence:.2f}",
             f"{p.topic}; {p.reason}")
            for p in members
        ]  # fmt: skip
        write_table(("  message", "signal", "unit", "sure", "why"), rows, right=(3,))
        write()
    for source in found:
        for place in positions(source.proposals):
            names = ", ".join(part.facts.name for part, _ in place.parts)
            write(f"one {place.axis} in parts, {place.group}: {names}")
    _print_sums(found, wanted)


def _is_in(proposal: Proposal, minimum: float) -> bool:
    return bool(proposal.category) and proposal.confidence >= minimum


def _print_sums(found: Sequence[Read], wanted: Wanted) -> None:
    rows = []
    for one in found:
        sure = [p for p in one.proposals if _is_in(p, wanted.minimum)]
        families = Counter(family_of(p.category) for p in sure)
        told = ", ".join(f"{count} {name}" for name, count in families.most_common())
        rows.append((str(one.file), str(len(one.proposals)), str(len(sure)), told))
    write_table(("file", "signals", "proposed", "of which"), rows, right=(1, 2))
    if wanted.out is not None:
        write(f"draft, to be read and edited: {wanted.out}")


def _print_json(found: Sequence[Read], minimum: float) -> None:
    whole = [
        {
            "file": str(one.file),
            "refused": one.refused,
            "signals": [_told(p, minimum) for p in one.proposals],
            "positions": [
                {
                    "message": place.group,
                    "axis": place.axis,
                    "parts": [part.facts.name for part, _ in place.parts],
                }
                for place in positions(one.proposals)
            ],
        }
        for one in found
    ]
    sys.stdout.buffer.write(msgspec.json.encode(whole) + b"\n")


def _told(proposal: Proposal, minimum: float) -> dict[str, object]:
    facts = proposal.facts
    return {
        "message": facts.group,
        "signal": facts.name,
        "unit": facts.unit,
        "category": proposal.category,
        "proposed": _is_in(proposal, minimum),
        "confidence": proposal.confidence,
        "topic": proposal.topic,
        "reason": proposal.reason,
    }
