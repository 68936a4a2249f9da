"""M6 and M7: functions that identify, stop, restart or reprogram a device.

What a rule of the policy allows by name is declared: M6 is silent then, M7 a notice.
Function codes and sub-functions: V1.1b3, clauses 6.8, 6.13 and 6.21; vendors' codes as
Zeek names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_clients import belongs
from agent.inspection.modbus_groups import all_refused, asked, finding, groups
from policies.firewall.tables import ClientGroup
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.functions import DIAGNOSTICS, ENCAPSULATED, SERVER_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from protocols.frames import U8, Bool
    from protocols.modbus.exchanges import ExchangeBatch

VARIANTS: Final = ("", "silence", "restart", "program", "firmware")
SILENCE: Final = 1  # 8/4 listen only
RESTART: Final = 2  # 8/1
PROGRAM: Final = 3
FIRMWARE: Final = 4
PROGRAMMING: Final = (9, 13, 18, 40, 90, 91, 126)
FIRMWARE_CODE: Final = 125
SUB_RESTART: Final = 1
SUB_LISTEN_ONLY: Final = 4
COUNTERS: Final = (2, *range(11, 19))  # 8: the diagnostic register and the counters
MEI_IDENTIFICATION: Final = 14


def _codes() -> U8:
    table = np.zeros(256, np.uint8)
    table[list(PROGRAMMING)] = PROGRAM
    table[FIRMWARE_CODE] = FIRMWARE
    return table


_CODES: Final = _codes()


def declared(exchanges: ExchangeBatch) -> Bool:
    """Tell per row whether a rule of the firewall allows it."""
    allowed: Bool = exchanges.verdict == int(Verdict.ALLOWED)
    allowed &= exchanges.reason == int(Reason.NONE)
    return allowed & (exchanges.rule >= 0)


class Dangerous:
    """M7: what stops, restarts or reprograms a device: each."""

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per conversation and kind of function."""
        exchanges = view.exchanges
        if exchanges is None or not len(exchanges):
            return []
        kind = _CODES[exchanges.function]
        diagnostic = exchanges.function == DIAGNOSTICS
        if diagnostic.any():
            kind[diagnostic & (exchanges.sub == SUB_RESTART)] = RESTART
            kind[diagnostic & (exchanges.sub == SUB_LISTEN_ONLY)] = SILENCE
        if not kind.any():
            return []
        allowed = declared(exchanges)
        extra = kind.astype(np.uint16) | (allowed.astype(np.uint16) << np.uint16(8))
        return [
            finding(
                "M7", Level.NOTICE if group.extra >> 8 else Level.ALERT, group,
                exchanges, asked(exchanges, group.rows), VARIANTS[group.extra & 0xFF],
                refused=all_refused(exchanges, group.rows),
            )
            for group in groups(exchanges, kind != 0, view.names, extra)
        ]  # fmt: skip


class Identified:
    """M6: 43/14, 17 and the counters of 8, from hosts that are not for engineering."""

    def __init__(self, engineering: Sequence[str] = ()) -> None:
        """Take the addresses and networks of the hosts that may ask."""
        self._engineering = ClientGroup("", tuple(engineering))

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per conversation."""
        exchanges = view.exchanges
        if exchanges is None or not len(exchanges):
            return []
        function, sub = exchanges.function, exchanges.sub
        odd: Bool = function == SERVER_ID
        odd |= (function == ENCAPSULATED) & (sub >> 8 == MEI_IDENTIFICATION)
        odd |= (function == DIAGNOSTICS) & np.isin(sub, COUNTERS)
        if not odd.any():
            return []
        odd &= ~declared(exchanges)
        return [
            finding(
                "M6", Level.ALERT, group, exchanges, asked(exchanges, group.rows),
                refused=all_refused(exchanges, group.rows),
            )
            for group in groups(exchanges, odd, view.names)
            if not self._engineering.networks
            or not belongs(group.subject.client, self._engineering)
        ]  # fmt: skip
