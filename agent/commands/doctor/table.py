"""Every check, in the order in which they run: what others need comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.commands.doctor import (
    checks_broker,
    checks_can,
    checks_clock,
    checks_config,
    checks_modbus,
    checks_policy,
    checks_state,
    checks_status,
    checks_store,
    checks_tls,
    checks_trust,
    checks_unit,
)
from agent.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.model import Check

CHECKS: Final[tuple[Check, ...]] = (
    *checks_config.CHECKS,
    *checks_state.CHECKS,
    *checks_store.CHECKS,
    *checks_clock.CHECKS,
    *checks_policy.CHECKS,
    *checks_trust.CHECKS,
    *checks_can.CHECKS,
    *checks_modbus.CHECKS,
    *checks_broker.BEFORE_TLS,
    *checks_tls.CHECKS,
    *checks_broker.AFTER_TLS,
    *checks_unit.CHECKS,
    *checks_status.CHECKS,
)


def select(names: Iterable[str]) -> list[str]:
    """Return the ids that ``names`` mean: ids or groups; BadInput for another name."""
    out: list[str] = []
    for name in names:
        found = [check.id for check in CHECKS if name in {check.id, check.group}]
        if not found:
            raise BadInput("", "--only", f"no check is named {name}", "see --list")
        out += found
    return out
