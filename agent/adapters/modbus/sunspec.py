"""SunSpec in practice: model files of the pysunspec2 package, and finding the models.

What a device answers is judged in ``protocols.modbus.sunspec``; this asks and loads.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from agent.errors import BadInput
from protocols.modbus.plan import Read
from protocols.modbus.sunspec import (
    ModelDefinition,
    ModelPlace,
    discover,
    head_registers,
    parse_model,
    points_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from protocols.modbus.sunspec import SunSpecBinding
    from protocols.modbus.values import Point

# Sends one read; None where the device answered with an exception.
Ask: TypeAlias = "Callable[[Read], Awaitable[Sequence[int] | None]]"

PACKAGE: Final = "sunspec2"
REGISTERS_MAX: Final = 125


@lru_cache(maxsize=64)
def load_model(model: int) -> ModelDefinition:
    """Return the published definition of a model; BadInput where there is none."""
    name = f"models/json/model_{model}.json"
    try:
        body = files(PACKAGE).joinpath(name).read_bytes()
    except (FileNotFoundError, ModuleNotFoundError):
        raise BadInput(
            "", f"SunSpec model {model}", "no such published model"
        ) from None
    return parse_model(msgspec.json.decode(body, type=dict[str, object]))


async def find_models(ask: Ask, link: int, unit: int) -> tuple[ModelPlace, ...]:
    """Return the models that a unit announces; WireError where its chain is broken."""
    walk = discover()
    address, count = next(walk)
    while True:
        registers = await ask(Read(link, unit, 3, 4, address, count, 0))
        try:
            address, count = walk.send(registers)
        except StopIteration as end:
            found: tuple[ModelPlace, ...] = end.value
            return found


async def find_points(
    ask: Ask, places: Sequence[ModelPlace], bindings: Iterable[SunSpecBinding]
) -> tuple[tuple[Point, ...], tuple[SunSpecBinding, ...]]:
    """Return (points, bindings that this device has no point for).

    All bindings are of one link and unit. WireError where a model contradicts itself.
    """
    by_place: dict[ModelPlace, list[SunSpecBinding]] = defaultdict(list)
    absent: list[SunSpecBinding] = []
    for binding in bindings:
        same = [place for place in places if place.model == binding.model]
        if binding.instance < len(same):
            by_place[same[binding.instance]].append(binding)
        else:
            absent.append(binding)
    points: list[Point] = []
    for place, wanted in by_place.items():
        definition = load_model(place.model)
        first = wanted[0]
        needed = head_registers(definition)
        head = await _block(ask, first.link, first.unit, place.address, needed)
        for binding in wanted:
            try:
                points += points_of(
                    definition,
                    place,
                    {binding.point: binding.item},
                    link=binding.link,
                    unit=binding.unit,
                    head=head,
                    period_ns=binding.period_ns,
                )
            except ValueError as error:
                if type(error) is not ValueError:  # a WireError: the device's fault
                    raise
                absent.append(binding)
    return tuple(points), tuple(absent)


async def _block(ask: Ask, link: int, unit: int, address: int, count: int) -> list[int]:
    """Read registers in as many requests as it takes; short where one is refused."""
    found: list[int] = []
    while len(found) < count:
        part = min(count - len(found), REGISTERS_MAX)
        read = Read(link, unit, 3, 4, address + len(found), part, 0)
        registers = await ask(read)
        if registers is None:
            break
        found += registers
    return found
