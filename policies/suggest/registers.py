"""Register maps (CSV), Modbus bindings and SunSpec models as facts and as bindings."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.suggest.facts import Facts
from protocols.errors import DatabaseError
from protocols.modbus.values import TYPES, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from policies.model import Bindings
    from protocols.modbus.sunspec import GroupDefinition, ModelDefinition

MAP_BYTES_MAX: Final = 4 * 1024 * 1024
ROWS_MAX: Final = 65_536
CELL_CHARACTERS_MAX: Final = 500
COLUMNS: Final = ("name", "unit", "table", "address", "type", "scale", "unit_text",
                  "description", "order", "length", "bit")  # fmt: skip
_BITS_OF_REGISTER: Final = 16
_WRITABLE: Final = (0, 4)


@dataclass(frozen=True, slots=True)
class Register:
    """One register: what is known, and the fields that its binding will have."""

    facts: Facts
    unit: int  # of the link; -1 for a SunSpec point
    model: int  # SunSpec model; 0 for a register
    fields: tuple[tuple[str, str], ...]  # as YAML; () for a SunSpec point
    item: str = ""  # where bindings have one already


def parse_map(body: bytes, file: str) -> list[Register]:
    """Return the registers of a CSV map; DatabaseError (file, line) where it is none.

    The first line names columns: ``name`` and ``address`` at least; see ``COLUMNS``.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatabaseError(file, "whole file", "is not UTF-8 text") from None
    out: list[Register] = []
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        head = [
            str(name).strip().lower().replace(" ", "_")
            for name in rows.fieldnames or ()
        ]
        missing = [name for name in ("name", "address") if name not in head]
        if missing:
            raise DatabaseError(file, "line 1", f"has no column {missing[0]}")
        rows.fieldnames = head
        for row in rows:
            place = f"line {rows.line_num}"
            out.append(_register(row, file, place))
            if len(out) > ROWS_MAX:
                raise DatabaseError(file, place, f"more than {ROWS_MAX} rows")
    except csv.Error as error:
        raise DatabaseError(file, f"line {rows.line_num}", str(error)) from None
    return out


def _register(row: Mapping[str, object], file: str, place: str) -> Register:
    cells = {name: str(row.get(name) or "").strip() for name in COLUMNS}
    if any(len(text) > CELL_CHARACTERS_MAX for text in cells.values()):
        raise DatabaseError(file, place, "a cell is too long")
    if not cells["name"]:
        raise DatabaseError(file, place, "has no name")
    try:
        unit = int(cells["unit"] or "1")
        table, address = _address(cells)
        scale = float(cells["scale"] or "1")
        for name in ("length", "bit"):
            int(cells[name] or "0")
    except ValueError as error:
        raise DatabaseError(file, place, str(error)) from None
    kind = cells["type"].lower() or ("coil" if table < 3 else "u16")
    if kind not in TYPES:
        raise DatabaseError(file, place, f"no such type: {kind[:40]!r}")
    fields = [("table", str(table)), ("address", str(address)), ("type", kind)]
    fields += [(n, cells[n]) for n in ("order", "length", "bit") if cells[n]]
    fields += [("scale", f"{scale:g}")] if scale != 1 else []
    fields += [("unit", json.dumps(cells["unit_text"]))] if cells["unit_text"] else []
    facts = Facts(
        _stem(file), f"Unit{unit}", cells["name"], cells["unit_text"],
        TYPES[kind].registers * _BITS_OF_REGISTER, comment=cells["description"],
        writable=table in _WRITABLE,
    )  # fmt: skip
    return Register(facts, unit, 0, tuple(fields))


def _address(cells: Mapping[str, str]) -> tuple[int, int]:
    if not cells["table"]:
        return parse_address(cells["address"])
    table, address = int(cells["table"]), int(cells["address"], 0)
    if table not in {0, 1, 3, 4} or not 0 <= address < 65_536:
        raise ValueError("no such table or address")
    return table, address


def _stem(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]


def of_bindings(bindings: Bindings, file: str) -> list[Register]:
    """Return the Modbus points of a bindings file, by the items they have."""
    out: list[Register] = []
    for link in bindings.modbus:
        for point in link.points:
            fields = [("address", json.dumps(point.address)), ("type", point.type)]
            fields += [("table", str(point.table))] if point.table is not None else []
            fields += [("order", point.order)] if point.order != "ABCD" else []
            fields += [("bit", str(point.bit))] if point.bit is not None else []
            fields += [("length", str(point.length))] if point.length else []
            fields += [("scale", f"{point.scale:g}")] if point.scale != 1 else []
            fields += [("unit", json.dumps(point.unit))] if point.unit else []
            group, _, name = point.item.rpartition(".")
            facts = Facts(
                _stem(file), group, name, point.unit, writable=point.table in _WRITABLE
            )
            out.append(Register(facts, link.unit, 0, tuple(fields), point.item))
    return out


def of_model(model: ModelDefinition) -> list[Register]:
    """Return the points of a SunSpec model; the first of each repeating group."""
    group = f"Model{model.id}"
    return [
        Register(facts, -1, model.id, ())
        for facts in _points(model.group, group, "", 0)
    ]


def _points(
    group: GroupDefinition, holder: str, path: str, depth: int
) -> Iterator[Facts]:
    for point in group.points:
        said = " ".join(part for part in (point.label, point.desc) if part)
        # An abbreviation of one letter says little; its label is its name.
        yield Facts(
            group.label or "SunSpec", holder, f"{path}{point.name}",
            str(point.units or ""), point.size * _BITS_OF_REGISTER, comment=said,
            label=point.label or "",
        )  # fmt: skip
    for inner in group.groups if depth < 4 else ():
        repeated = "[0]" if inner.count is not None else ""
        yield from _points(inner, holder, f"{path}{inner.name}{repeated}.", depth + 1)
