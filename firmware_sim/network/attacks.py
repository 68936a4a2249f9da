"""The attacks that send requests: one generator each, labelled with its name.

What an attacker in the middle does to answers is in ``middle.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from firmware_sim.network.actors import (
    CONFIRM_NS,
    dice,
    setpoint_read,
    setpoint_value,
    setpoint_write,
)
from firmware_sim.network.asks import Ask
from firmware_sim.network.malformed import malformed, probe
from firmware_sim.network.pdus import diagnostics, identification, read, write
from firmware_sim.schema import NS, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firmware_sim.network.model import AttackSpec, SetpointSpec
    from firmware_sim.network.world import World

# How long an attack lasts, and requests per second, where the file does not say.
LASTS_S: Final[dict[str, float]] = {
    "scan-units": 10, "scan-addresses": 10, "scan-functions": 10, "recon": 5,
    "write": 5, "overwrite": 5, "flood": 10, "replay": 10, "malformed": 10,
    "malformed-replies": 15, "drift": 60, "mitm-freeze": 60, "mitm-change": 60,
    "mitm-inject": 15, "mitm-drop": 20, "exceptions": 10, "dangerous": 10,
}  # fmt: skip
RATES: Final[dict[str, float]] = {
    "scan-units": 20, "scan-addresses": 20, "scan-functions": 15, "recon": 2,
    "write": 1, "overwrite": 1, "flood": 800, "replay": 2, "malformed": 2,
    "malformed-replies": 0.1, "drift": 0.2, "exceptions": 10, "dangerous": 0.3,
}  # fmt: skip
RECON_SUBS: Final = (2, 11, 12, 13, 14)  # 8: diagnostic register and counters
SCAN_STRIDE: Final = 10
BURST: Final = 3  # requests in one segment of a flood

Pdus: TypeAlias = "Iterator[bytes]"


def lasts_ns(attack: AttackSpec) -> int:
    """Return how long an attack lasts."""
    if attack.lasts is not None:
        return nanoseconds(attack.lasts)
    return round(LASTS_S[attack.kind] * NS)


def attacking(world: World) -> list[Iterator[Ask]]:
    """Return a generator for every attack that sends something."""
    return [
        _GENERATORS[attack.kind](world, attack)
        for attack in world.attacks
        if attack.kind in _GENERATORS
    ]


def channel_of(world: World, attack: AttackSpec) -> int:
    """Return a connection of the attack's own."""
    return 1 + list(world.attacks).index(attack)


def times(world: World, attack: AttackSpec) -> Iterator[int]:
    """Yield when the attack's requests are due."""
    chance = dice(world, attack.name)
    rate = attack.rate or RATES[attack.kind]
    gap = NS / rate
    begin = nanoseconds(attack.at)
    for i in range(int(lasts_ns(attack) / gap)):
        yield begin + int((i + 0.2 * chance.random()) * gap)


def _plain(world: World, attack: AttackSpec, pdus: Pdus) -> Iterator[Ask]:
    channel = channel_of(world, attack)
    for at, pdu in zip(times(world, attack), pdus, strict=False):
        yield Ask(at, attack.source, attack.to, attack.unit, pdu, attack.name, channel)


def _scan_units(world: World, attack: AttackSpec) -> Iterator[Ask]:
    channel = channel_of(world, attack)
    for unit, at in enumerate(times(world, attack), 1):
        pdu = read(3, 0, 1)
        if unit <= 247:
            yield Ask(at, attack.source, attack.to, unit, pdu, attack.name, channel)


def _scan_addresses(world: World, attack: AttackSpec) -> Iterator[Ask]:
    pdus = (
        read(3 + (i & 1), (i >> 1) * SCAN_STRIDE, SCAN_STRIDE) for i in range(12_000)
    )
    return _plain(world, attack, pdus)


def _scan_functions(world: World, attack: AttackSpec) -> Iterator[Ask]:
    return _plain(world, attack, map(probe, range(1, 128)))


def _recon(world: World, attack: AttackSpec) -> Iterator[Ask]:
    pdus = [identification(1), identification(2), b"\x11"]
    pdus += [diagnostics(sub) for sub in RECON_SUBS]
    return _plain(world, attack, iter(pdus))


def _write(world: World, attack: AttackSpec) -> Iterator[Ask]:
    function, address = attack.function or 6, attack.address or 0
    pdu = write(function, address, attack.values)
    return _plain(world, attack, iter([pdu] * 1000))


def _flood(world: World, attack: AttackSpec) -> Iterator[Ask]:
    channel = channel_of(world, attack)
    pdu = read(attack.function or 3, attack.address or 0, 1)
    due = list(times(world, attack))
    for i, at in enumerate(due):
        more = i % BURST < BURST - 1 and i + 1 < len(due)
        yield Ask(
            at - at % (BURST * 1_000_000), attack.source, attack.to, attack.unit, pdu,
            attack.name, channel, joined=more, waits=False,
        )  # fmt: skip


def _named(world: World, attack: AttackSpec) -> SetpointSpec:
    """Return the setpoint that the attack names."""
    return next(
        one
        for client in world.scenario.clients
        for one in client.setpoints
        if one.name == attack.setpoint
    )


def _replay(world: World, attack: AttackSpec) -> Iterator[Ask]:
    """Send the writes that were recorded before, from a new connection."""
    spec = _named(world, attack)
    channel = channel_of(world, attack)
    middle = (spec.low + spec.high) / 2.0
    for i, at in enumerate(times(world, attack)):
        tape = world.recorded.get(spec.name) or [setpoint_write(spec, middle)]
        yield Ask(
            at, attack.source, spec.to, spec.unit, tape[i % len(tape)], attack.name,
            channel,
        )  # fmt: skip


def _overwrite(world: World, attack: AttackSpec) -> Iterator[Ask]:
    """Write beyond the setpoint's limits, on the owner's own connection."""
    spec = _named(world, attack)
    value = spec.high + 2.0 * spec.step
    for at in times(world, attack):
        pdu = setpoint_write(spec, value)
        yield Ask(at, attack.source, spec.to, spec.unit, pdu, attack.name)


def _drift(world: World, attack: AttackSpec) -> Iterator[Ask]:
    """Raise a setpoint step by step, each step within what one step may be."""
    spec = _named(world, attack)
    for at in times(world, attack):
        seen = setpoint_read(spec)
        yield Ask(at, attack.source, spec.to, spec.unit, seen, attack.name)
        value = setpoint_value(world, spec) + 0.9 * spec.step
        value = float(int(value)) if spec.type == "u16" else round(value, 2)
        pdu = setpoint_write(spec, value)
        then = max(at, world.now_ns) + CONFIRM_NS
        yield Ask(then, attack.source, spec.to, spec.unit, pdu, attack.name)


def _exceptions(world: World, attack: AttackSpec) -> Iterator[Ask]:
    address = 9000 if attack.address is None else attack.address
    return _plain(world, attack, iter([read(3, address, 2)] * 10_000))


def _dangerous(world: World, attack: AttackSpec) -> Iterator[Ask]:
    """Listen only, restart, then a vendor's programming function."""
    umas = bytes((90, 0, 0x40, 0, 0))
    return _plain(world, attack, iter([diagnostics(4), diagnostics(1), umas]))


def _malformed(world: World, attack: AttackSpec) -> Iterator[Ask]:
    channel = channel_of(world, attack)
    for at, cases in zip(times(world, attack), malformed(), strict=False):
        for case in cases:
            yield Ask(
                at, attack.source, attack.to, attack.unit, case.pdu, attack.name,
                channel, tid=case.tid, protocol=case.protocol, joined=case.joined,
                waits=case.waits, problems=case.problems,
            )  # fmt: skip


def _rewrite(world: World, attack: AttackSpec) -> Iterator[Ask]:
    """Write what is set already: whoever stands in the middle alters the echo."""
    client = world.clients[attack.source]
    mine = [one for one in client.setpoints if one.to == attack.to]
    for at in times(world, attack):
        for spec in mine[:1]:
            pdu = setpoint_write(spec, setpoint_value(world, spec))
            yield Ask(at + NS, attack.source, spec.to, spec.unit, pdu, attack.name)


_GENERATORS: Final[dict[str, Callable[[World, AttackSpec], Iterator[Ask]]]] = {
    "scan-units": _scan_units,
    "scan-addresses": _scan_addresses,
    "scan-functions": _scan_functions,
    "recon": _recon,
    "write": _write,
    "overwrite": _overwrite,
    "flood": _flood,
    "replay": _replay,
    "drift": _drift,
    "exceptions": _exceptions,
    "dangerous": _dangerous,
    "malformed": _malformed,
    "malformed-replies": _rewrite,
}
