"""Rows of the item table to be, and the book that refuses an item bound twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from policies.errors import shown
from policies.quantities import item_name
from protocols.samples import Kind

if TYPE_CHECKING:
    from policies.model import Bindings
    from policies.parse import Document
    from policies.yaml_tree import Path

# Where a row comes from: ("can", bus, -1) or ("modbus", link, unit).
Origin: TypeAlias = tuple[str, int, int]

EVENT_ITEM: Final = "Sluicegate.Event"  # one OCSF Detection Finding, as text
AGENT: Final[Origin] = ("agent", 0, -1)


@dataclass(frozen=True, slots=True)
class Row:
    """One item from one source."""

    name: str
    origin: Origin
    category: str = ""  # the binding's own, "" where the catalogue's patterns decide
    unit: str = ""
    kind: Kind = Kind.INT
    scale: float = 1.0
    offset: float = 0.0
    datum: str = ""  # the binding's own, "" where it says none: WGS-84
    file: str = ""
    line: int = 0

    def formatted(self, kind: Kind, scale: float, offset: float) -> Row:
        """Return the row with how its samples are to be read."""
        return replace(self, kind=kind, scale=scale, offset=offset)


@dataclass(slots=True)
class RowBook:
    """All rows so far: an item from two sources is two, twice from one an error."""

    rows: list[Row] = field(default_factory=list)
    _seen: dict[tuple[str, Origin], Row] = field(default_factory=dict)

    def add(self, document: Document[Bindings], path: Path, row: Row) -> int:
        """Return the row's number; PolicyError for a bad name or a second time."""
        try:
            item_name(row.name)
        except ValueError as error:
            raise document.error(path, str(error)) from None
        row = replace(row, file=document.file, line=document.tree.line(path))
        first = self._seen.setdefault((row.name, row.origin), row)
        if first is not row:
            place = "" if first.file == row.file else f"{first.file}, "
            raise document.error(
                path,
                f"item {shown(row.name)} is bound twice from the same source",
                f"first on {place}line {first.line}",
            )
        self.rows.append(row)
        return len(self.rows) - 1
