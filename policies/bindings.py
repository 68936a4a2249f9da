"""Bindings: where items come from. Files to rows of the item table and read plans.

Every name is checked against the databases here, so that a wrong signal, unit or
address is one line with file and place, long before the first frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from policies.bindings_modbus import ModbusReader
from policies.errors import nearest, shown
from policies.model import ITEMS_MAX, Source
from policies.rows import AGENT, EVENT_ITEM, Row, RowBook
from protocols.can.plan import SignalBinding, compile_plan
from protocols.errors import DatabaseError
from protocols.frames import CAN_EFF_FLAG
from protocols.samples import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from policies.model import Bindings, CanBinding, Combined
    from policies.parse import Document
    from policies.yaml_tree import Path
    from protocols.can.database import Database, Message, Signal
    from protocols.can.plan import DecodePlan
    from protocols.modbus.sunspec import ModelDefinition, SunSpecBinding
    from protocols.modbus.values import Point

_IDENT: Final = re.compile(r"0x([0-9a-fA-F]{1,8})")
_STANDARD_MAX: Final = 0x7FF
_OBD_TEXT: Final = 0x09  # the service whose answers are texts (SAE J1979: VIN, ids)

# Ways to write one unit; anything else must be the database's own spelling.
_UNITS: Final = {
    "kmh": "km/h", "kph": "km/h", "°c": "degc", "celsius": "degc", "c": "degc",
    "°": "deg", "degrees": "deg", "degree": "deg", "percent": "%", "m/s2": "m/s^2",
    "m/s²": "m/s^2", "1/min": "rpm", "volt": "v", "ampere": "a", "sec": "s",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DiagnosticBinding:
    """A text item that a diagnostic answer carries. One of ``did`` and ``obd`` is set.

    ``did``: data identifier of UDS service 0x22 (ISO 14229-1). ``obd``: (service,
    parameter) of OBD-II (SAE J1979), service 0x09.
    """

    bus: int
    item: int
    did: int | None = None
    obd: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything that the bindings of a gateway come to."""

    rows: tuple[Row, ...]
    can: tuple[SignalBinding, ...]
    plan: DecodePlan
    databases: dict[int, tuple[Database, ...]]  # by bus
    diagnostics: tuple[DiagnosticBinding, ...]
    modbus: tuple[Point, ...]
    sunspec: tuple[SunSpecBinding, ...]


@dataclass(slots=True)
class _Reader:
    """Collects the rows of all files."""

    buses: tuple[str, ...]
    databases: Mapping[str, Database]
    book: RowBook = field(default_factory=RowBook)
    can: list[SignalBinding] = field(default_factory=list)
    by_bus: dict[int, list[Database]] = field(default_factory=dict)
    diagnostics: list[DiagnosticBinding] = field(default_factory=list)

    def read(self, document: Document[Bindings]) -> None:
        for number, binding in enumerate(document.model.can):
            self._bus(document, ("can", number), binding)
        for number, one in enumerate(document.model.diagnostics):
            path: Path = ("diagnostics", number)
            if (one.did is None) == (one.obd is None):
                raise document.error(path, "needs one of did and obd")
            obd = None
            if one.obd is not None:
                obd = (int(one.obd[:2], 16), int(one.obd[3:], 16))
                if obd[0] != _OBD_TEXT:
                    raise document.error(
                        (*path, "obd"), "only service 09 carries texts"
                    )
            for bus in self._bus_numbers(document, (*path, "bus"), one.bus):
                row = Row(one.item, ("can", bus, -1), one.category or "", "", Kind.TEXT)
                item = self.book.add(document, (*path, "item"), row)
                self.diagnostics.append(DiagnosticBinding(bus, item, one.did, obd))

    def _bus_numbers(
        self, document: Document[Bindings], path: Path, bus: str | list[str]
    ) -> list[int]:
        if bus == "*":
            return list(range(len(self.buses)))
        out: list[int] = []
        for name in [bus] if isinstance(bus, str) else bus:
            if name not in self.buses:
                hint = nearest(name, self.buses)
                hint = hint or f"known: {', '.join(self.buses) or 'none'}"
                raise document.error(path, f"no such bus: {shown(name)}", hint)
            out.append(self.buses.index(name))
        if not out or len(set(out)) != len(out):
            raise document.error(path, "names no bus, or one twice")
        return out

    def _bus(
        self, document: Document[Bindings], path: Path, binding: CanBinding
    ) -> None:
        database = self.databases.get(binding.database)
        if database is None:
            reason = f"no such database: {shown(binding.database)}"
            hint = nearest(binding.database, self.databases)
            raise document.error((*path, "database"), reason, hint)
        for bus in self._bus_numbers(document, (*path, "bus"), binding.bus):
            known = self.by_bus.setdefault(bus, [])
            if not any(one is database for one in known):
                known.append(database)
            for key, value in binding.signals.items():
                here = (*path, "signals", key)
                self._signal(document, here, bus, database, key, value)
            for index, combined in enumerate(binding.combined):
                here = (*path, "combined", index)
                self._combined(document, here, bus, database, combined)

    def _signal(
        self,
        document: Document[Bindings],
        path: Path,
        bus: int,
        database: Database,
        key: str,
        value: str | Source,
    ) -> None:
        source = value if isinstance(value, Source) else Source(item=value)
        reference, dot, name = key.partition(".")
        if not dot:
            raise document.error(path, "not MESSAGE.SIGNAL")
        message = _message(document, path, database, reference)
        signal = _signal_of(document, path, message, name)
        unit = _unit(document, path, source.unit, signal)
        if source.factor == 0:
            raise document.error((*path, "factor"), "a factor is not 0")
        if source.factor != 1 and source.unit_out is None:
            hint = "say unit_out"
            raise document.error(path, "a factor changes the unit", hint)
        unit = unit if source.unit_out is None else source.unit_out
        row = Row(source.item, ("can", bus, -1), source.category or "", unit)
        row = replace(row, datum=source.datum or "")
        item = self.book.add(document, path, row)
        parts = ((name, source.factor),)
        self.can.append(SignalBinding(bus, message.ident, parts, item))

    def _combined(
        self,
        document: Document[Bindings],
        path: Path,
        bus: int,
        database: Database,
        combined: Combined,
    ) -> None:
        here = (*path, "message")
        message = _message(document, here, database, combined.message)
        unit = ""
        for name in combined.parts:
            place = (*path, "parts", name)
            signal = _signal_of(document, place, message, name)
            unit = _unit(document, (*path, "unit"), combined.unit, signal)
        row = Row(combined.item, ("can", bus, -1), combined.category or "", unit)
        row = replace(row, datum=combined.datum or "")
        item = self.book.add(document, path, row)
        parts = tuple((name, float(factor)) for name, factor in combined.parts.items())
        self.can.append(SignalBinding(bus, message.ident, parts, item))


def bind(
    documents: Sequence[Document[Bindings]],
    databases: Mapping[str, Database],
    buses: tuple[str, ...],
    links: tuple[str, ...],
    models: Mapping[int, ModelDefinition],
) -> Bound:
    """Resolve all bindings of a gateway.

    ``databases``: by the name that the files give them. ``buses`` and ``links``: names
    in the order of the caller's tables, which ``FrameBatch.bus`` and
    ``TransactionBatch.link`` index. ``models``: SunSpec definitions by number.
    PolicyError (file, line, path) for any name, unit or address that does not fit.
    """
    reader = _Reader(buses, databases)
    modbus = ModbusReader(links, models, reader.book)
    for document in documents:
        reader.read(document)
        modbus.read(document)
        if len(reader.book.rows) > ITEMS_MAX:
            raise document.error((), f"more than {ITEMS_MAX} items")
    # The agent's own events pass the policy like data (docs/adr/0005).
    reader.book.rows.append(Row(EVENT_ITEM, AGENT, kind=Kind.TEXT))
    by_bus = {bus: tuple(known) for bus, known in reader.by_bus.items()}
    try:
        plan = compile_plan(reader.can, by_bus)
    except DatabaseError as error:
        file = documents[0] if documents else None
        assert file is not None  # no bindings, nothing to refuse
        raise file.error((), f"{error.place}: {error.reason}") from None
    rows = [
        row if found is None else row.formatted(found.kind, found.scale, found.offset)
        for number, row in enumerate(reader.book.rows)
        for found in [plan.formats.get(number)]
    ]
    return Bound(
        tuple(rows),
        tuple(reader.can),
        plan,
        by_bus,
        tuple(reader.diagnostics),
        tuple(modbus.points),
        tuple(modbus.sunspec),
    )


def _message(
    document: Document[Bindings], path: Path, database: Database, name: str | int
) -> Message:
    found = _IDENT.fullmatch(name) if isinstance(name, str) else None
    if found or isinstance(name, int):
        ident = int(found[1], 16) if found else int(name)
        wanted = [ident] if ident <= _STANDARD_MAX else []
        wanted.append(ident | CAN_EFF_FLAG)
        hits = [m for w in wanted if (m := database.message(w)) is not None]
        if not hits:
            raise document.error(path, f"no message {ident:#x} in {database.file}")
        return hits[0]
    hits = [m for m in database.messages if m.name == name]
    if not hits:
        hint = nearest(name, {m.name for m in database.messages})
        reason = f"no message {shown(name)} in {database.file}"
        raise document.error(path, reason, hint)
    if len({m.ident for m in hits}) > 1:
        idents = ", ".join(f"{m.ident & ~CAN_EFF_FLAG:#x}" for m in hits)
        raise document.error(
            path,
            f"{len(hits)} messages are named {shown(name)}",
            f"name it by its identifier: one of {idents}",
        )
    return hits[-1]


def _signal_of(
    document: Document[Bindings], path: Path, message: Message, name: str
) -> Signal:
    signal = message.signal(name)
    if signal is None:
        hint = nearest(name, {s.name for s in message.signals})
        reason = f"no signal {shown(name)} in message {message.name}"
        raise document.error(path, reason, hint)
    return signal


def _unit(
    document: Document[Bindings], path: Path, stated: str | None, signal: Signal
) -> str:
    """Return the unit; PolicyError where the file and the database contradict."""
    if stated is None:
        return signal.unit
    if signal.unit and _plain(stated) != _plain(signal.unit):
        where = path if path[-1] == "unit" else (*path, "unit")
        raise document.error(
            where,
            f"wrong unit {shown(stated)}: {signal.name} is in {shown(signal.unit)}",
            "a factor with unit_out converts",
        )
    return stated


def _plain(unit: str) -> str:
    text = unit.strip().lower()
    return _UNITS.get(text, text)
