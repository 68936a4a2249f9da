"""Modbus and SunSpec bindings: points of ``protocols.modbus``, checked one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from policies.errors import nearest, shown
from policies.model import Source
from policies.quantities import duration_ns
from policies.rows import Row
from protocols.modbus.sunspec import SunSpecBinding
from protocols.modbus.values import (
    ORDERS,
    TYPES,
    Point,
    check_point,
    parse_address,
)
from protocols.samples import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.model import Bindings, ModbusBinding, PointFile, SunSpecFile
    from policies.parse import Document
    from policies.rows import RowBook
    from policies.yaml_tree import Path
    from protocols.modbus.sunspec import (
        GroupDefinition,
        ModelDefinition,
        PointDefinition,
    )

_REPEAT: Final = re.compile(r"([A-Za-z0-9_]+)(?:\[[0-9]{1,3}\])?")
_SUNSPEC_KINDS: Final = {
    "float32": Kind.FLOAT, "float64": Kind.FLOAT, "uint64": Kind.UINT64,
    "acc64": Kind.UINT64, "bitfield64": Kind.UINT64, "string": Kind.TEXT,
    "ipaddr": Kind.TEXT, "ipv6addr": Kind.TEXT, "eui48": Kind.TEXT,
}  # fmt: skip
_FLOATS: Final = ("float32", "float64")


class ModbusReader:
    """Collects points of all files into one book of rows."""

    def __init__(
        self,
        links: tuple[str, ...],
        models: Mapping[int, ModelDefinition],
        book: RowBook,
    ) -> None:
        """Remember the caller's link names and the SunSpec models it has."""
        self._links = links
        self._models = models
        self._book = book
        self.points: list[Point] = []
        self.sunspec: list[SunSpecBinding] = []

    def read(self, document: Document[Bindings]) -> None:
        """Take the Modbus parts of a file; PolicyError where one does not fit."""
        for number, binding in enumerate(document.model.modbus):
            path: Path = ("modbus", number)
            link = self._link(document, path, binding)
            for index, point in enumerate(binding.points):
                here = (*path, "points", index)
                self._point(document, here, link, binding.unit, point)
        for number, model in enumerate(document.model.sunspec):
            self._model(document, ("sunspec", number), model)

    def _link(
        self,
        document: Document[Bindings],
        path: Path,
        binding: ModbusBinding | SunSpecFile,
    ) -> int:
        if binding.link not in self._links:
            hint = nearest(binding.link, self._links)
            hint = hint or f"known: {', '.join(self._links) or 'none'}"
            reason = f"no such link: {shown(binding.link)}"
            raise document.error((*path, "link"), reason, hint)
        return self._links.index(binding.link)

    def _period(
        self, document: Document[Bindings], path: Path, text: str | None
    ) -> int:
        if text is None:
            return 0
        try:
            return duration_ns(text)
        except ValueError as error:
            raise document.error((*path, "period"), str(error)) from None

    def _point(
        self,
        document: Document[Bindings],
        path: Path,
        link: int,
        unit: int,
        given: PointFile,
    ) -> None:
        if given.type not in TYPES:
            hint = nearest(given.type, TYPES) or f"one of {', '.join(TYPES)}"
            reason = f"no such type: {shown(given.type)}"
            raise document.error((*path, "type"), reason, hint)
        if given.order not in ORDERS:
            hint = f"one of {', '.join(ORDERS)}"
            reason = f"no such order: {shown(given.order)}"
            raise document.error((*path, "order"), reason, hint)
        table, address = _address(document, path, given)
        point = Point(
            item=len(self._book.rows),
            link=link,
            unit=unit,
            table=table,
            address=address,
            type=given.type,
            order=given.order,
            bit=given.bit,
            length=given.length,
            scale=given.scale,
            offset=given.offset,
            scale_factor=given.scale_factor,
            invalid=given.invalid,
            period_ns=self._period(document, path, given.period),
        )
        try:
            check_point(point)
        except ValueError as error:
            raise document.error(path, str(error)) from None
        numeric = point.kind in {Kind.INT, Kind.UINT64}
        row = Row(
            given.item,
            ("modbus", link, unit),
            given.category or "",
            given.unit,
            point.kind,
            point.scale if numeric else 1.0,
            point.offset if numeric else 0.0,
            given.datum or "",
        )
        self._book.add(document, (*path, "item"), row)
        self.points.append(point)

    def _model(
        self, document: Document[Bindings], path: Path, given: SunSpecFile
    ) -> None:
        link = self._link(document, path, given)
        period_ns = self._period(document, path, given.period)
        definition = self._models.get(given.model)
        if definition is None:
            reason = f"no such published SunSpec model: {given.model}"
            raise document.error((*path, "model"), reason)
        for name, value in given.points.items():
            here = (*path, "points", name)
            source = value if isinstance(value, Source) else Source(item=value)
            if source.factor != 1 or source.unit_out is not None:
                raise document.error(here, "SunSpec scales its points itself")
            found, known = _defined(definition.group, name)
            if found is None:
                hint = nearest(name.rpartition(".")[2], known)
                reason = f"model {given.model} has no point {shown(name)}"
                raise document.error(here, reason, hint)
            kind, scale = _kind_of(found)
            row = Row(
                source.item,
                ("modbus", link, given.unit),
                source.category or "",
                source.unit or "",
                kind,
                scale,
                datum=source.datum or "",
            )
            item = self._book.add(document, here, row)
            self.sunspec.append(
                SunSpecBinding(
                    item, link, given.unit, given.model, name, given.instance, period_ns
                )
            )


def _address(
    document: Document[Bindings], path: Path, given: PointFile
) -> tuple[int, int]:
    """Return (table, 0-based address) of either notation."""
    if isinstance(given.address, int):
        if given.table is None:
            hint = 'table: 4, or the old notation in quotes, such as "40011"'
            raise document.error(path, "an address needs its table", hint)
        return given.table, given.address
    try:
        table, address = parse_address(given.address)
    except ValueError as error:
        raise document.error((*path, "address"), str(error)) from None
    if given.table not in {None, table}:
        reason = f"the address lies in table {table}"
        raise document.error((*path, "table"), reason)
    return table, address


def _defined(
    group: GroupDefinition, name: str
) -> tuple[PointDefinition | None, set[str]]:
    """Return the point of a path such as ``module[0].DCA``, and the names known."""
    *outer, last = name.split(".")
    for part in outer:
        found = _REPEAT.fullmatch(part)
        inner = [g for g in group.groups if found and g.name == found[1]]
        if not inner:
            return None, {g.name for g in group.groups}
        group = inner[0]
    known = {point.name: point for point in group.points}
    return known.get(last), set(known)


def _kind_of(point: PointDefinition) -> tuple[Kind, float]:
    """Return how samples of a SunSpec point are to be read: kind and scale."""
    kind = _SUNSPEC_KINDS.get(point.type, Kind.INT)
    if kind == Kind.TEXT or point.type in _FLOATS:
        return kind, 1.0
    if isinstance(point.sf, str):
        return Kind.FLOAT, 1.0
    return kind, 10.0**point.sf if isinstance(point.sf, int) else 1.0
