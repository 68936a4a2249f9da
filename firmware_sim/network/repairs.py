"""What an attack has set is put right by hand some time after it: at the panel.

Otherwise a value far outside its limits would make the operator's next small step look
like an attack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firmware_sim.network.attacks import lasts_ns
from firmware_sim.network.model import ON_SETPOINT
from firmware_sim.schema import NS, nanoseconds

if TYPE_CHECKING:
    from firmware_sim.network.model import AttackSpec, NetworkScenario
    from firmware_sim.network.world import World

AFTER_NS: Final = 2 * NS
_COILS: Final = frozenset({5, 15})


class Repair:
    """The cells that one attack writes: remembered as it begins, restored behind it."""

    def __init__(self, attack: AttackSpec, scenario: NetworkScenario) -> None:
        """Find the cells; none where the attack writes nothing."""
        self.begin_ns = nanoseconds(attack.at)
        self.end_ns = self.begin_ns + lasts_ns(attack) + AFTER_NS
        self._before: list[int] | None = None
        self._place: tuple[str, int, int, int, int] | None = None
        if attack.kind == "write":
            function, address = attack.function or 6, attack.address or 0
            table = 0 if function in _COILS else 4
            count = len(attack.values)
            self._place = (attack.to, attack.unit, table, address, count)
        if attack.kind in ON_SETPOINT:
            spec = next(
                one
                for client in scenario.clients
                for one in client.setpoints
                if one.name == attack.setpoint
            )
            table = 0 if spec.type == "coil" else 4
            count = 2 if spec.type == "f32" else 1
            self._place = (spec.to, spec.unit, table, spec.address, count)

    def remember(self, world: World) -> None:
        """Read the cells."""
        if self._place is not None:
            plc, unit, table, address, count = self._place
            device = world.devices.get((plc, unit))
            if device is not None:
                self._before = device.read(table, address, count)

    def restore(self, world: World) -> None:
        """Write them as they were."""
        if self._place is not None and self._before is not None:
            plc, unit, table, address, _ = self._place
            world.devices[plc, unit].write(table, address, self._before)
