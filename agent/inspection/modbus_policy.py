"""M2, M3 and FW: requests that the firewall's rules do not cover (inspection.md 3.3).

The firewall has judged already, in the proxy or in the flow; its columns say it all.
What it says under ``default: monitor`` (allowed, with the reason why no rule does)
counts like a refusal. Malformed requests are M10's; where the judge failed, nobody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_groups import all_refused, asked, finding, groups
from protocols.modbus.exchanges import Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from agent.inspection.modbus_groups import Group
    from protocols.frames import U8
    from protocols.modbus.exchanges import ExchangeBatch

# What an exchange is to these detectors; the low byte of a group's ``extra``.
NOTHING: Final = 0
WRITE: Final = 1
COIL: Final = 2
READ: Final = 3
LIMIT: Final = 4
LIMIT_UNSURE: Final = 5

OUTSIDE: Final = (
    Reason.NO_RULE, Reason.DENIED, Reason.READ_ONLY, Reason.RATE, Reason.TIME,
    Reason.NO_POLICY,
)  # fmt: skip
BEYOND: Final = (Reason.VALUE, Reason.DELTA)

# What is said of each: detector, variant, level.
SAID: Final = {
    WRITE: ("M2", "", Level.ALERT),
    COIL: ("M2", "coil", Level.ALERT),
    READ: ("M2", "read", Level.NOTICE),
    LIMIT: ("M3", "", Level.ALERT),
    # Before the first reply nobody knows what a change starts from: no alarm for that.
    LIMIT_UNSURE: ("M3", "", Level.NOTICE),
}


def _table(*reasons: Reason) -> U8:
    table = np.zeros(256, np.uint8)
    table[[int(one) for one in reasons]] = 1
    return table


_OUTSIDE: Final = _table(*OUTSIDE)
_BEYOND: Final = _table(*BEYOND)


class OutsidePolicy:
    """M2 and M3: one finding per conversation, kind and reason in a batch."""

    def __init__(self, rules: Sequence[str] = ()) -> None:
        """Take the names of the firewall's rules, as ``rule`` indexes them."""
        self._rules = tuple(rules)

    def inspect(self, view: View) -> list[Finding]:
        """Return what the rules did not allow, aggregated."""
        exchanges = view.exchanges
        if exchanges is None or not exchanges.reason.any():
            return []
        kind = kinds(exchanges)
        reason = exchanges.reason.astype(np.uint16) << np.uint16(8)
        extra = kind.astype(np.uint16) | reason
        return [
            self._say(exchanges, group)
            for group in groups(exchanges, kind != NOTHING, view.names, extra)
        ]

    def _say(self, exchanges: ExchangeBatch, group: Group) -> Finding:
        detector, variant, level = SAID[group.extra & 0xFF]
        reason = Reason(group.extra >> 8).name.lower().replace("_", " ")
        detail = f"{asked(exchanges, group.rows)}: {reason}"
        rule = int(exchanges.rule[group.rows[0]])
        if 0 <= rule < len(self._rules):
            detail += f" of rule {self._rules[rule]}"
        refused = all_refused(exchanges, group.rows)
        return finding(
            detector, level, group, exchanges, detail, variant, refused=refused
        )


def kinds(exchanges: ExchangeBatch) -> U8:
    """Return per row what it is to M2 and M3, by the firewall's reason."""
    reason = exchanges.reason
    kind = np.zeros(len(reason), np.uint8)
    outside = _OUTSIDE[reason] != 0
    # A proxy without a policy lets reads pass where its owner said so: no finding.
    passed = exchanges.verdict == int(Verdict.ALLOWED)
    outside &= ~(passed & (reason == int(Reason.NO_POLICY)))
    kind[outside] = READ
    written = outside & exchanges.is_write
    kind[written] = WRITE
    kind[written & (exchanges.table == 0)] = COIL
    kind[_BEYOND[reason] != 0] = LIMIT
    kind[reason == int(Reason.UNKNOWN_BEFORE)] = LIMIT_UNSURE
    return kind


class Watched:
    """FW: what a rule with ``do: alert`` touches."""

    def __init__(self, rules: Sequence[str] = ()) -> None:
        """Take the names of the firewall's rules, as ``alert`` indexes them."""
        self._rules = tuple(rules)

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per conversation and rule."""
        exchanges = view.exchanges
        if exchanges is None:
            return []
        odd = exchanges.alert >= 0
        if not odd.any():
            return []
        extra = exchanges.alert.astype(np.uint16)
        return [
            finding(
                "FW", Level.ALERT, group, exchanges,
                f"{asked(exchanges, group.rows)}: rule {self._name(group.extra)}",
                self._name(group.extra),
            )
            for group in groups(exchanges, odd, view.names, extra)
        ]  # fmt: skip

    def _name(self, rule: int) -> str:
        return self._rules[rule] if rule < len(self._rules) else str(rule)
