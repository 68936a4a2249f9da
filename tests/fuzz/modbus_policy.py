"""The policy of the fuzz for the agent's side, decided on parsed requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.modbus_masters import COILS, READ_MAX, REGISTERS, UNITS, VALUES
from tests.support.proxying import ALLOW, DENY, Asking

if TYPE_CHECKING:
    from agent.firewall.decision import Caller, Decision
    from protocols.modbus.pdu import Request


def _decide(_: Caller, unit: int, asked: object) -> Decision:
    request: Request = asked  # type: ignore[assignment]  # what a proxy gives
    cells = range(request.write_address, request.write_address + request.write_count)
    where = COILS if request.table == 0 else REGISTERS
    reads = request.function in {1, 2, 3, 4, 23}
    allowed = (
        unit in UNITS
        and request.function in {1, 2, 3, 4, 5, 6, 15, 16, 23}
        and not (reads and request.address + request.count - 1 > READ_MAX)
        and all(cell in where for cell in cells)
        and all(value in VALUES for value in request.write_values)
    )
    return ALLOW if allowed else DENY


def judge() -> Asking:
    """Return a judge by that policy."""
    return Asking(_decide)
