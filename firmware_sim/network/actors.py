"""What belongs in the network: polls, declared setpoints, identification.

Each is a generator of requests in order of time. It is resumed when its last request
has been sent, so it can look at the devices as they are then.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Final

from firmware_sim.network.asks import Ask
from firmware_sim.network.pdus import identification, read, write
from firmware_sim.schema import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_sim.network.model import (
        ClientSpec,
        IdentifySpec,
        PollSpec,
        SetpointSpec,
    )
    from firmware_sim.network.world import World

CONFIRM_NS: Final = 30_000_000  # between reading a setpoint and writing it
SETPOINT_DECIMALS: Final = 2


def legitimate(world: World) -> list[Iterator[Ask]]:
    """Return everything that belongs in the scenario."""
    found: list[Iterator[Ask]] = []
    for client in world.scenario.clients:
        for i, poll in enumerate(client.polls):
            found.append(_polls(world, client, poll, f"poll {client.name} {i}"))
        found += [_setpoints(world, client, one) for one in client.setpoints]
        found += [_identify(client, one) for one in client.identify]
    return found


def dice(world: World, who: str) -> random.Random:
    """Return random numbers of their own for everybody, by seed and name."""
    return random.Random(f"{world.scenario.seed} {who}")


def _polls(world: World, client: ClientSpec, poll: PollSpec, who: str) -> Iterator[Ask]:
    chance = dice(world, who)
    every, jitter = nanoseconds(poll.every), nanoseconds(poll.jitter)
    due = nanoseconds(poll.offset) + int(chance.random() * every)
    pdu = read(poll.function, poll.address, poll.count)
    while True:
        at = due + int(chance.random() * jitter)
        yield Ask(at, client.name, poll.to, poll.unit, pdu)
        # What was missed while a connection was away is not asked for later.
        missed = max((world.now_ns - due) // every, 0)
        due += every * (1 + missed)


def setpoint_read(spec: SetpointSpec) -> bytes:
    """Return the request that reads a setpoint."""
    if spec.type == "coil":
        return read(1, spec.address, 1)
    return read(3, spec.address, 2 if spec.type == "f32" else 1)


def setpoint_value(world: World, spec: SetpointSpec) -> float:
    """Return what the device holds now; ``low`` where it has no such register."""
    device = world.device(spec.to, spec.unit)
    table, count = (0, 1) if spec.type == "coil" else (4, 1 + (spec.type == "f32"))
    cells = None if device is None else device.read(table, spec.address, count)
    if cells is None:
        return spec.low
    if spec.type != "f32":
        return float(cells[0])
    words = cells[::-1] if spec.order == "CDAB" else cells
    (value,) = struct.unpack(">f", struct.pack(">HH", *words))
    return float(value)


def setpoint_write(spec: SetpointSpec, value: float) -> bytes:
    """Return the request that writes a value to a setpoint."""
    if spec.type != "f32":
        return write(spec.function, spec.address, [round(value)])
    words = list(struct.unpack(">HH", struct.pack(">f", value)))
    if spec.order == "CDAB":
        words.reverse()
    return write(spec.function, spec.address, words)


def next_value(spec: SetpointSpec, now: float, chance: random.Random) -> float:
    """Return a value within the limits, at most a step away where one is."""
    if spec.type == "coil":
        return 1.0 - now
    wanted = now + (2.0 * chance.random() - 1.0) * spec.step
    inside = min(max(wanted, spec.low), spec.high)
    if spec.type == "u16":
        return float(round(inside))
    return round(inside, SETPOINT_DECIMALS)


def _setpoints(world: World, client: ClientSpec, spec: SetpointSpec) -> Iterator[Ask]:
    chance = dice(world, f"setpoint {spec.name}")
    every = nanoseconds(spec.every)
    due = nanoseconds(spec.offset)
    while True:
        at = due + int(chance.random() * every / 4)
        yield Ask(at, client.name, spec.to, spec.unit, setpoint_read(spec))
        due += every
        now = setpoint_value(world, spec)
        if not spec.low <= now <= spec.high:
            continue  # not the operator's doing: he calls somebody
        pdu = setpoint_write(spec, next_value(spec, now, chance))
        world.note(spec.name, pdu)
        then = max(at, world.now_ns) + CONFIRM_NS
        yield Ask(then, client.name, spec.to, spec.unit, pdu)


def _identify(client: ClientSpec, spec: IdentifySpec) -> Iterator[Ask]:
    every, at = nanoseconds(spec.every), nanoseconds(spec.offset)
    while True:
        yield Ask(at, client.name, spec.to, spec.unit, identification())
        yield Ask(at + CONFIRM_NS, client.name, spec.to, spec.unit, b"\x11")
        at += every
