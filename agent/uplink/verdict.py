"""What the broker's answer to a PUBLISH means for the record. Pure.

MQTT 5.0 section 3.4.2.1 (PUBACK reason codes). An answer that is not an acceptance
never removes a record: it stays in the spool and is tried again, at the latest on the
next connection, and the answer is counted.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

SUCCESS: Final = 0x00
NO_MATCHING_SUBSCRIBERS: Final = 0x10
UNSPECIFIED: Final = 0x80
IMPLEMENTATION_SPECIFIC: Final = 0x83
QUOTA_EXCEEDED: Final = 0x97

_AGAIN: Final = frozenset({UNSPECIFIED, IMPLEMENTATION_SPECIFIC, QUOTA_EXCEEDED})


class Verdict(Enum):
    """What to do with a record that was published."""

    CONFIRMED = "confirmed"  # remove it: the acknowledgement is enough (puback)
    SENT = "sent"  # the broker has it; wait for the collector's receipt
    AGAIN = "again"  # a passing refusal: release it, back off
    REFUSED = "refused"  # this one will not be taken on this connection: next, count


def judge(reason_code: int, confirm: str) -> Verdict:
    """Return the verdict for a PUBACK reason code and a record's ``confirm``.

    "No matching subscribers" is an acceptance that stored nothing: even where the
    acknowledgement would be enough, such a record stays until somebody listens.
    """
    if reason_code == SUCCESS:
        return Verdict.CONFIRMED if confirm == "puback" else Verdict.SENT
    if reason_code == NO_MATCHING_SUBSCRIBERS:
        return Verdict.SENT
    return Verdict.AGAIN if reason_code in _AGAIN else Verdict.REFUSED
