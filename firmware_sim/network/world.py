"""The network as devices and time: what a PLC answers, and what is done to the answer.

Captures and live servers share it. It never looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from firmware_sim.network.answers import answer
from firmware_sim.network.asks import Reply
from firmware_sim.network.devices import build_device
from firmware_sim.network.middle import Middle
from firmware_sim.network.model import IN_THE_MIDDLE
from firmware_sim.network.pdus import adu, exception
from firmware_sim.network.repairs import Repair
from firmware_sim.schema import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firmware_sim.network.asks import Ask
    from firmware_sim.network.devices import Device
    from firmware_sim.network.model import (
        AttackSpec,
        ClientSpec,
        NetworkScenario,
        PlcSpec,
    )

TARGET_SILENT: Final = 0x0B  # a unit behind the PLC that is not there
RECORDED_MAX: Final = 64


@dataclass(slots=True)
class World:
    """State of all devices; ``now_ns`` since the scenario's start."""

    scenario: NetworkScenario
    attacks: Sequence[AttackSpec] = ()
    now_ns: int = 0
    plcs: dict[str, PlcSpec] = field(default_factory=dict)
    clients: dict[str, ClientSpec] = field(default_factory=dict)
    devices: dict[tuple[str, int], Device] = field(default_factory=dict)
    recorded: dict[str, list[bytes]] = field(default_factory=dict)  # setpoint -> PDUs
    _middles: list[Middle] = field(default_factory=list)
    _chores: list[tuple[int, Callable[[World], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build the devices and those who stand between."""
        scenario = self.scenario
        self.plcs = {plc.name: plc for plc in scenario.plcs}
        self.clients = {client.name: client for client in scenario.clients}
        for i, plc in enumerate(scenario.plcs):
            for device in plc.devices:
                seed = scenario.seed * 64 + i * 8 + device.unit % 8
                built = build_device(device, scenario.start, seed)
                self.devices[plc.name, device.unit] = built
        self._middles = [
            Middle(attack) for attack in self.attacks if attack.kind in IN_THE_MIDDLE
        ]
        for attack in self.attacks:
            repair = Repair(attack, scenario)
            self._chores.append((repair.begin_ns, repair.remember))
            self._chores.append((repair.end_ns, repair.restore))
        self._chores.sort(key=lambda chore: chore[0])

    def move(self, now_ns: int) -> None:
        """Let time pass; an earlier time changes nothing."""
        self.now_ns = max(self.now_ns, now_ns)
        while self._chores and self._chores[0][0] <= self.now_ns:
            self._chores.pop(0)[1](self)

    def down(self, plc: str, now_ns: int) -> bool:
        """Tell whether a PLC is restarting."""
        return any(
            fault.kind == "reboot"
            and fault.plc == plc
            and 0 <= now_ns - nanoseconds(fault.at) < nanoseconds(fault.lasts)
            for fault in self.scenario.faults
        )

    def booted_ns(self, plc: str, now_ns: int) -> int:
        """Return when a PLC last came up; 0 at the start."""
        ends = [
            nanoseconds(fault.at) + nanoseconds(fault.lasts)
            for fault in self.scenario.faults
            if fault.kind == "reboot" and fault.plc == plc
        ]
        return max((end for end in ends if end <= now_ns), default=0)

    def device(self, plc: str, unit: int) -> Device | None:
        """Return the device of a unit, moved to now."""
        device = self.devices.get((plc, unit))
        if device is not None:
            device.advance(self.now_ns)
        return device

    def note(self, setpoint: str, pdu: bytes) -> None:
        """Remember a legitimate write: replays need one."""
        kept = self.recorded.setdefault(setpoint, [])
        kept.append(pdu)
        del kept[:-RECORDED_MAX]

    def respond(self, ask: Ask, tid: int, source: str | None) -> list[Reply]:
        """Return what comes back for a request: none, one, or more ADUs.

        ``source``: whose request it seems to be, None where nobody can tell.
        """
        if ask.protocol != 0 or not ask.pdu:
            return []  # not Modbus: a device drops it
        device = self.device(ask.plc, ask.unit)
        if device is None:
            pdu: bytes | None = exception(ask.pdu[0], TARGET_SILENT)
        else:
            pdu = answer(device, ask.pdu)
        for middle in self._middles:
            if middle.stands_in(ask, source, self.now_ns):
                return middle.alter(ask, tid, pdu)
        return [] if pdu is None else [Reply(adu(tid, ask.unit, pdu))]
