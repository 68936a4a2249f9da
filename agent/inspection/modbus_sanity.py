"""M10: what does not fit the specification, or not what was asked (inspection.md 3.3).

A reply that does not fit its request is what an attacker in the middle leaves behind.
Silence is not malformed (M8, M9), nor is a function that no specification names (M2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_groups import asked, finding, groups
from protocols.modbus.exchanges import Problem

if TYPE_CHECKING:
    from agent.inspection.findings import View
    from agent.inspection.modbus_groups import Group
    from protocols.modbus.exchanges import ExchangeBatch

IN_REPLY: Final = int(
    Problem.FUNCTION | Problem.ECHO | Problem.REPLY_LENGTH | Problem.UNSOLICITED
    | Problem.EXCEPTION
)  # fmt: skip
IN_REQUEST: Final = int(
    Problem.PROTOCOL | Problem.LENGTH | Problem.QUANTITY | Problem.RANGE
    | Problem.BYTE_COUNT | Problem.VALUE
)  # fmt: skip
# A serial line's noise breaks checksums, and some masters number all they ask alike.
IN_NOTICE: Final = int(Problem.CHECKSUM | Problem.REPEATED)
OTHER: Final = int(Problem.UNANSWERED | Problem.UNKNOWN)
assert sum(Problem) == IN_REPLY | IN_REQUEST | IN_NOTICE | OTHER

NOTICE: Final = 1
REQUEST: Final = 2
REPLY: Final = 3
SAID: Final = {
    NOTICE: ("", Level.NOTICE),
    REQUEST: ("", Level.ALERT),
    REPLY: ("reply", Level.ALERT),
}


class Malformed:
    """M10: one finding per conversation, for requests and for replies."""

    def inspect(self, view: View) -> list[Finding]:
        """Return what does not fit, with the names of the checks."""
        exchanges = view.exchanges
        if exchanges is None or not exchanges.problems.any():
            return []
        problems = exchanges.problems
        kind = np.zeros(len(problems), np.uint16)
        kind[(problems & np.uint32(IN_NOTICE)) != 0] = NOTICE
        kind[(problems & np.uint32(IN_REQUEST)) != 0] = REQUEST
        # A length may be wrong on either side.
        long = (problems & np.uint32(Problem.LENGTH)) != 0
        in_reply = (problems & np.uint32(IN_REPLY)) != 0
        kind[in_reply | (long & ~exchanges.malformed)] = REPLY
        return [
            _say(exchanges, group)
            for group in groups(exchanges, kind != 0, view.names, kind)
        ]


def _say(exchanges: ExchangeBatch, group: Group) -> Finding:
    variant, level = SAID[group.extra]
    bits = int(np.bitwise_or.reduce(exchanges.problems[group.rows])) & ~OTHER
    names = ", ".join(
        str(one.name).lower().replace("_", " ") for one in Problem if one & bits
    )
    detail = f"{asked(exchanges, group.rows)}: {names}"
    return finding("M10", level, group, exchanges, detail, variant)
