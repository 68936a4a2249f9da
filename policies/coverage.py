"""How much of what a vehicle or plant says is bound to items and in a catalogue.

A signal of a database, a register or a diagnostic text is in one of three states:

  classified     bound to an item that has a category: rules can speak of it
  unclassified   bound, but the item is in no catalogue: it stays (GOV-02)
  unbound        nobody reads it; it never leaves

Coverage is classified / all. Multiplexers and signals that say nothing of their own
(counters, checksums) count, too: what they are is for a person to say, in the bindings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from policies.compile import Compiled
    from protocols.can.database import Database
    from protocols.modbus.sunspec import GroupDefinition, ModelDefinition

# Points of a SunSpec model that are its own housekeeping, not data.
_HOUSEKEEPING: Final = frozenset({"sunssf", "pad"})
_HEADER: Final = frozenset({"ID", "L"})


class State(StrEnum):
    """Where a signal stands."""

    CLASSIFIED = "classified"
    UNCLASSIFIED = "unclassified"
    UNBOUND = "unbound"


@dataclass(frozen=True, slots=True)
class Covered:
    """One signal, register or text."""

    place: str  # message, or unit of a link
    name: str
    state: State
    items: tuple[str, ...]  # that it is bound to
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One database, link or SunSpec model with all that it has."""

    name: str
    kind: str  # database | registers | sunspec | diagnostics
    signals: tuple[Covered, ...]

    def count(self, state: State) -> int:
        """Return how many of its signals are in a state."""
        return sum(one.state == state for one in self.signals)


@dataclass(frozen=True, slots=True)
class Coverage:
    """All parts, in the order: databases, registers, SunSpec models, diagnostics."""

    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Return how many signals there are in all."""
        return sum(len(part.signals) for part in self.parts)

    def count(self, state: State) -> int:
        """Return how many are in a state."""
        return sum(part.count(state) for part in self.parts)

    @property
    def share(self) -> float:
        """Return classified / all, 0..1; 1 where there is nothing at all."""
        return self.count(State.CLASSIFIED) / self.total if self.total else 1.0


def coverage(
    compiled: Compiled | None,
    databases: Sequence[Database] = (),
    models: Mapping[int, ModelDefinition] | None = None,
) -> Coverage:
    """Return what is classified, unclassified and unbound.

    ``compiled``: any policy compiled with the bindings in question; None: nothing is
    bound. ``databases``: those that no binding names. ``models``: the definitions of
    the SunSpec models that the bindings name; a model without one is told as far as it
    is bound.
    """
    parts: list[Part] = []
    if compiled is not None:
        parts += _databases(compiled)
    parts += [_unbound(one) for one in databases]
    if compiled is not None:
        parts += [
            *_registers(compiled),
            *_sunspec(compiled, models or {}),
            *_diagnostics(compiled),
        ]
    return Coverage(tuple(parts))


def _unbound(database: Database) -> Part:
    signals = tuple(
        Covered(message.name, signal.name, State.UNBOUND, (), ())
        for message in database.messages
        for signal in message.signals
    )
    return Part(database.file, "database", signals)


def _databases(compiled: Compiled) -> Iterator[Part]:
    """Yield each database that bindings name, once, whatever buses it is bound on."""
    bound: dict[tuple[str, int, str], list[int]] = {}
    known: dict[str, Database] = {}
    for bus, databases in compiled.databases.items():
        here = [one for one in compiled.can if one.bus == bus]
        for database in databases:
            known.setdefault(database.file, database)
            for binding in here:
                message = database.message(binding.message)
                if message is None:
                    continue
                for name, _ in binding.parts:
                    key = (database.file, message.ident, name)
                    bound.setdefault(key, []).append(binding.item)
    for file, database in known.items():
        signals = tuple(
            _covered(
                compiled,
                message.name,
                signal.name,
                bound.get((file, message.ident, signal.name), ()),
            )
            for message in database.messages
            for signal in message.signals
        )
        yield Part(file, "database", signals)


def _registers(compiled: Compiled) -> Iterator[Part]:
    by_link: dict[int, list[Covered]] = {}
    for point in compiled.modbus:
        where = f"{point.table}:{point.address}"
        found = _covered(compiled, f"unit {point.unit}", where, (point.item,))
        by_link.setdefault(point.link, []).append(found)
    for link, signals in by_link.items():
        yield Part(compiled.links[link], "registers", tuple(signals))


def _sunspec(
    compiled: Compiled, models: Mapping[int, ModelDefinition]
) -> Iterator[Part]:
    bound: dict[tuple[int, int, int, int], dict[str, list[int]]] = {}
    for one in compiled.sunspec:
        key = (one.link, one.unit, one.model, one.instance)
        bound.setdefault(key, {}).setdefault(one.point, []).append(one.item)
    for (link, unit, model, instance), points in bound.items():
        definition = models.get(model)
        names = list(_points(definition.group)) if definition is not None else []
        # A repeating group counts once, and what is bound of its repeats beside it.
        names += [name for name in points if name not in names]
        where = f"unit {unit}" + (f", instance {instance}" if instance else "")
        signals = tuple(
            _covered(compiled, where, name, points.get(name, ())) for name in names
        )
        yield Part(f"{compiled.links[link]} model {model}", "sunspec", signals)


def _points(group: GroupDefinition, prefix: str = "") -> Iterator[str]:
    for point in group.points:
        is_header = not prefix and point.name in _HEADER
        if point.type not in _HOUSEKEEPING and not is_header:
            yield f"{prefix}{point.name}"
    for inner in group.groups:
        yield from _points(inner, f"{prefix}{inner.name}[0].")


def _diagnostics(compiled: Compiled) -> Iterator[Part]:
    by_bus: dict[int, list[Covered]] = {}
    for one in compiled.diagnostics:
        name = "" if one.did is None else f"did {one.did:#06x}"
        if one.obd is not None:
            name = f"obd {one.obd[0]:02x}.{one.obd[1]:02x}"
        found = _covered(compiled, "diagnostics", name, (one.item,))
        by_bus.setdefault(one.bus, []).append(found)
    for bus, signals in by_bus.items():
        yield Part(compiled.buses[bus], "diagnostics", tuple(signals))


def _covered(compiled: Compiled, place: str, name: str, rows: Iterable[int]) -> Covered:
    items = compiled.policy.items
    found = sorted({(items.name[row], items.category[row]) for row in rows})
    state = State.UNBOUND
    if found:
        known = all(category for _, category in found)
        state = State.CLASSIFIED if known else State.UNCLASSIFIED
    return Covered(
        place,
        name,
        state,
        tuple(item for item, _ in found),
        tuple(category for _, category in found),
    )
