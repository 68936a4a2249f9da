"""What types cannot tell of a network scenario: names, addresses, limits."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, TypeAlias

from firmware_sim.network.model import IN_THE_MIDDLE, ON_SETPOINT, TankDevice
from firmware_sim.schema import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from firmware_sim.network.model import (
        AttackSpec,
        ClientSpec,
        IdentifySpec,
        NetworkScenario,
        PlcSpec,
        PollSpec,
        SetpointSpec,
    )

Wrong: TypeAlias = tuple[str, str]  # path, reason
EVERY_NS_MIN: Final = 10_000_000
COUNT_MAX: Final = {1: 2000, 2: 2000, 3: 125, 4: 125}  # V1.1b3 clauses 6.1 to 6.4


def check_network(scenario: NetworkScenario) -> Wrong | None:
    """Return path and reason of the first thing that is wrong; None if nothing is."""
    return next(_wrong(scenario), None)


def _wrong(scenario: NetworkScenario) -> Iterator[Wrong]:
    yield from _hosts(scenario)
    plcs = {plc.name: plc for plc in scenario.plcs}
    for i, plc in enumerate(scenario.plcs):
        yield from _devices(plc, f"$.plcs[{i}]")
    for i, client in enumerate(scenario.clients):
        yield from _client(client, plcs, f"$.clients[{i}]")
    names = [attack.name for attack in scenario.attacks]
    for i, attack in enumerate(scenario.attacks):
        place = f"$.attacks[{i}]"
        if names.index(attack.name) < i:
            yield f"{place}.name", f"a second attack called {attack.name}"
        yield from _attack(scenario, attack, place)
    for i, fault in enumerate(scenario.faults):
        if fault.plc not in plcs:
            yield f"$.faults[{i}].plc", f"no PLC is called {fault.plc}"


def _hosts(scenario: NetworkScenario) -> Iterator[Wrong]:
    seen: dict[str, str] = {}
    groups: dict[str, Sequence[PlcSpec | ClientSpec]] = {
        "plcs": scenario.plcs,
        "clients": scenario.clients,
    }
    for group, hosts in groups.items():
        for i, host in enumerate(hosts):
            place = f"$.{group}[{i}]"
            for field in ("name", "address", "local"):
                text = str(getattr(host, field))
                if text in seen:
                    yield f"{place}.{field}", f"{text} is {seen[text]} already"
                seen[text] = place
                if field != "name":
                    yield from _address(text, f"{place}.{field}")


def _address(text: str, place: str) -> Iterator[Wrong]:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        yield place, f"{text} is no IPv4 address"


def _devices(plc: PlcSpec, place: str) -> Iterator[Wrong]:
    units = [device.unit for device in plc.devices]
    for i, device in enumerate(plc.devices):
        here = f"{place}.devices[{i}]"
        if units.index(device.unit) < i:
            yield f"{here}.unit", f"unit {device.unit} is there already"
        if isinstance(device, TankDevice) and not (
            1_000_000 <= nanoseconds(device.step) <= 1_000_000_000
        ):
            yield f"{here}.step", "must lie in 1ms..1s"
    if nanoseconds(plc.answers_in) > 500_000_000:
        yield f"{place}.answers_in", "must be 500ms or less"


def _client(
    client: ClientSpec, plcs: dict[str, PlcSpec], place: str
) -> Iterator[Wrong]:
    groups: dict[str, Sequence[PollSpec | SetpointSpec | IdentifySpec]] = {
        "polls": client.polls,
        "setpoints": client.setpoints,
        "identify": client.identify,
    }
    for group, entries in groups.items():
        for i, entry in enumerate(entries):
            here = f"{place}.{group}[{i}]"
            if entry.to not in plcs:
                yield f"{here}.to", f"no PLC is called {entry.to}"
            if nanoseconds(entry.every) < EVERY_NS_MIN:
                yield f"{here}.every", "is below 10ms"
    for i, poll in enumerate(client.polls):
        here = f"{place}.polls[{i}]"
        if poll.count > COUNT_MAX[poll.function]:
            yield f"{here}.count", f"function {poll.function} reads fewer at once"
        if poll.address + poll.count > 65536:
            yield f"{here}.count", "goes beyond address 65535"
        if 2 * nanoseconds(poll.jitter) > nanoseconds(poll.every):
            yield f"{here}.jitter", "is more than half the period"
    for i, setpoint in enumerate(client.setpoints):
        yield from _setpoint(setpoint, f"{place}.setpoints[{i}]")


def _setpoint(setpoint: SetpointSpec, place: str) -> Iterator[Wrong]:
    fits = {"coil": (5,), "u16": (6, 16), "f32": (16,)}[setpoint.type]
    if setpoint.function not in fits:
        yield f"{place}.function", f"does not write a {setpoint.type}"
    if not setpoint.low < setpoint.high:
        yield f"{place}.low", "low < high must hold"
    if setpoint.step <= 0.0:
        yield f"{place}.step", "must be above 0"


def _attack(
    scenario: NetworkScenario, attack: AttackSpec, place: str
) -> Iterator[Wrong]:
    hosts = {plc.name for plc in scenario.plcs}
    hosts |= {client.name for client in scenario.clients}
    if attack.to not in {plc.name for plc in scenario.plcs}:
        yield f"{place}.to", f"no PLC is called {attack.to}"
    if attack.source not in hosts:
        yield f"{place}.from", f"no host is called {attack.source}"
    clients = {client.name: client for client in scenario.clients}
    inside = attack.kind in IN_THE_MIDDLE or attack.kind in ON_SETPOINT
    if inside and attack.source not in clients:
        yield f"{place}.from", f"{attack.kind} needs a client"
        return
    if attack.kind in ON_SETPOINT:
        names = {one.name for client in scenario.clients for one in client.setpoints}
        if attack.setpoint not in names:
            yield f"{place}.setpoint", f"{attack.kind} needs the name of a setpoint"
    if attack.kind in {"write", "mitm-change"} and not attack.values:
        yield f"{place}.values", f"{attack.kind} needs values"
    if attack.kind == "write" and attack.function not in {5, 6, 15, 16}:
        yield f"{place}.function", "write needs one of 5, 6, 15, 16"
    if attack.kind in {"write", "mitm-change"} and attack.address is None:
        yield f"{place}.address", f"{attack.kind} needs an address"
