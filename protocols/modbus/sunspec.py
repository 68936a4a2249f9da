"""SunSpec: from announced models to points (SunSpec Device Information Model).

A device starts with the marker "SunS" at one of three base addresses; behind it stand
models, each with a header (id, length), the last one with id 0xFFFF. What lies inside a
model is told by its published definition, a JSON document that an adapter loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from protocols.errors import WireError
from protocols.modbus.values import TYPES, Point, check_point

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

BASES: Final = (40000, 0, 50000)  # Device Information Model: the three places to look
MARKER: Final = (0x5375, 0x6E53)  # "SunS"
HEADER_REGISTERS: Final = 2
END_MODEL: Final = 0xFFFF
MODELS_MAX: Final = 128  # real devices announce up to some 40
NAMES_MAX: Final = 16_384  # points of one model, repeats counted
ADDRESSES: Final = 65_536

# SunSpec type -> (our type, pattern of "not implemented", which NaN and empty text say
# by themselves).
_TYPE: Final[dict[str, tuple[str, int | None]]] = {
    "int16": ("i16", 0x8000),
    "uint16": ("u16", 0xFFFF),
    "count": ("count", 0xFFFF),
    "acc16": ("acc16", 0),
    "enum16": ("enum16", 0xFFFF),
    "bitfield16": ("bitfield16", 0xFFFF),
    "int32": ("i32", 0x8000_0000),
    "uint32": ("u32", 0xFFFF_FFFF),
    "acc32": ("acc32", 0),
    "enum32": ("enum32", 0xFFFF_FFFF),
    "bitfield32": ("bitfield32", 0xFFFF_FFFF),
    "int64": ("i64", 0x8000_0000_0000_0000),
    "uint64": ("u64", 0xFFFF_FFFF_FFFF_FFFF),
    "acc64": ("acc64", 0),
    "bitfield64": ("bitfield64", 0xFFFF_FFFF_FFFF_FFFF),
    "float32": ("f32", None),
    "float64": ("f64", None),
    "string": ("string", None),
    "sunssf": ("sunssf", 0x8000),
    "ipaddr": ("octets", None),
    "ipv6addr": ("octets", None),
    "eui48": ("octets", None),
}


class PointDefinition(msgspec.Struct, frozen=True):
    """One point of a model definition; fields we do not need are ignored."""

    name: str
    type: str
    size: int = 1
    sf: int | str | None = None
    label: str | None = None  # words for people; the layout does not need them
    desc: str | None = None
    units: str | None = None


class GroupDefinition(msgspec.Struct, frozen=True):
    """Points in order, then groups; ``count``: repeats, or the point that tells them.

    A count of 0 means: as often as the model's length leaves room.
    """

    name: str
    points: tuple[PointDefinition, ...] = ()
    groups: tuple[GroupDefinition, ...] = ()
    count: int | str | None = None
    label: str | None = None


class ModelDefinition(msgspec.Struct, frozen=True):
    """A published model."""

    id: int
    group: GroupDefinition


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A model found in a device."""

    model: int
    address: int  # of its header, 0-based
    length: int  # registers behind the header


@dataclass(frozen=True, slots=True)
class SunSpecBinding:
    """An item that comes from a SunSpec model point, wherever the device keeps it."""

    item: int
    link: int
    unit: int
    model: int
    point: str  # "W", or "module[0].DCA" in a repeating group (counted from 0)
    instance: int = 0  # which one, where a device holds the model several times
    period_ns: int = 0  # 0: the link's own period


def parse_model(definition: Mapping[str, object]) -> ModelDefinition:
    """Return a model definition from its JSON document; WireError where it is none."""
    try:
        return msgspec.convert(definition, ModelDefinition)
    except msgspec.ValidationError as error:
        raise WireError("SunSpec model definition", str(error)) from None


def discover() -> Generator[
    tuple[int, int], Sequence[int] | None, tuple[ModelPlace, ...]
]:
    """Walk the chain of models. Yields (address, count) to read, is sent the registers.

    Send None for a read that the device refused. Returns the models in order, none
    where no base address holds the marker. WireError where the chain is broken.
    """
    for base in BASES:
        marker = yield base, len(MARKER)
        if marker is None or tuple(marker) != MARKER:
            continue
        address = base + len(MARKER)
        found: list[ModelPlace] = []
        while len(found) < MODELS_MAX and address + HEADER_REGISTERS <= ADDRESSES:
            header = yield address, HEADER_REGISTERS
            if header is None or len(header) != HEADER_REGISTERS:
                raise WireError(
                    "SunSpec chain", "a model header cannot be read", address
                )
            model, length = header
            if model == END_MODEL:
                return tuple(found)
            found.append(ModelPlace(model, address, length))
            address += HEADER_REGISTERS + length
        raise WireError("SunSpec chain", "no end model", address)
    return ()


def head_registers(definition: ModelDefinition) -> int:
    """Return how many registers of the model tell the repeats of its groups; 0 none."""
    names = set(_count_names(definition.group))
    offset = needed = 0
    for point in definition.group.points:
        offset += point.size
        if point.name in names:
            needed = offset
    return needed


def _count_names(group: GroupDefinition) -> list[str]:
    names = [group.count] if isinstance(group.count, str) else []
    return names + [name for inner in group.groups for name in _count_names(inner)]


@dataclass(frozen=True, slots=True)
class _Located:
    address: int
    point: PointDefinition
    factor: int | None  # address of the scale factor register


class _Layout:
    """Where each named point of one model in one device lies."""

    def __init__(
        self, definition: ModelDefinition, place: ModelPlace, head: Sequence[int]
    ) -> None:
        self.points: dict[str, _Located] = {}
        self._end = place.address + HEADER_REGISTERS + place.length
        self._model = definition.id
        self._counts: dict[str, int] = {}
        offset = 0
        for point in definition.group.points:
            if offset < len(head):
                self._counts[point.name] = head[offset]
            offset += point.size
        self._walk(definition.group, place.address, "", {})

    def _walk(
        self,
        group: GroupDefinition,
        address: int,
        prefix: str,
        factors: Mapping[str, int],
    ) -> int:
        """Lay one repeat of a group out from ``address``; return what is behind it."""
        known = dict(factors)  # a factor is looked up here, then further out
        cursor = address
        for point in group.points:
            if point.type == "sunssf":
                known[point.name] = cursor
            cursor += point.size
        cursor = address
        for point in group.points:
            factor = known.get(point.sf) if isinstance(point.sf, str) else None
            if cursor + point.size <= self._end:
                self.points[prefix + point.name] = _Located(cursor, point, factor)
            cursor += point.size
        if len(self.points) > NAMES_MAX:
            raise WireError("SunSpec model", f"model {self._model} has too many points")
        for inner in group.groups:
            if inner.count is None:
                cursor = self._walk(inner, cursor, f"{prefix}{inner.name}.", known)
                continue
            for index in range(self._repeats(inner, cursor)):
                name = f"{prefix}{inner.name}[{index}]."
                cursor = self._walk(inner, cursor, name, known)
        return cursor

    def _repeats(self, group: GroupDefinition, address: int) -> int:
        count, size = group.count, self._size(group)
        if size == 0:
            return 0
        if isinstance(count, str):
            count = self._counts.get(count, 0)
            if count == 0xFFFF:  # not implemented
                return 0
        elif count == 0:
            return max(self._end - address, 0) // size
        if count is None or size * count > self._end - address:
            reason = f"model {self._model} is shorter than its group {group.name}"
            raise WireError("SunSpec model", reason, address)
        return count

    def _size(self, group: GroupDefinition) -> int:
        """Return the registers of one repeat."""
        size = sum(point.size for point in group.points)
        for inner in group.groups:
            count = inner.count
            if isinstance(count, str):
                count = self._counts.get(count, 0)
            size += self._size(inner) * (1 if count is None else count)
        return size


def points_of(
    definition: ModelDefinition,
    place: ModelPlace,
    wanted: Mapping[str, int],
    *,
    link: int,
    unit: int,
    head: Sequence[int] = (),
    period_ns: int = 0,
) -> tuple[Point, ...]:
    """Return a point of table 4 for each wanted point name (-> item), in that order.

    ``head`` holds the model's first registers, ``head_registers`` of them, header
    included: they tell how often groups repeat. WireError where the device's model is
    shorter than its own counts; ValueError where it has no such point or the point has
    a type without a value (pad).
    """
    layout = _Layout(definition, place, head)
    return tuple(
        _point(definition.id, layout, name, item, link, unit, period_ns)
        for name, item in wanted.items()
    )


def _point(
    model: int,
    layout: _Layout,
    name: str,
    item: int,
    link: int,
    unit: int,
    period_ns: int,
) -> Point:
    found = layout.points.get(name)
    if found is None:
        raise ValueError(f"model {model} of this device has no point {name}")
    if found.point.type not in _TYPE:
        raise ValueError(f"point {name} of model {model} has type {found.point.type}")
    ours, invalid = _TYPE[found.point.type]
    spec = TYPES[ours]
    scalable = spec.shape == "number" and ours not in {"f32", "f64", "sunssf"}
    fixed = found.point.sf if scalable and isinstance(found.point.sf, int) else 0
    if isinstance(found.point.sf, str) and scalable and found.factor is None:
        raise ValueError(f"point {name} of model {model} lacks its scale factor")
    point = Point(
        item,
        link,
        unit,
        4,
        found.address,
        ours,
        length=0 if spec.registers else found.point.size,
        scale=10.0**fixed,
        scale_factor=found.factor if scalable else None,
        invalid=invalid,
        period_ns=period_ns,
    )
    check_point(point)
    return point
