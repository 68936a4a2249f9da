"""Who decides on a request, and what happens where nobody can.

The firewall's ``Judge`` is replaced as a whole between two ADUs. Whatever it says,
nothing malformed is forwarded; where it fails, or there is none, writes are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from agent.firewall.decision import Decision
from protocols.modbus.exchanges import Problem, Reason, Verdict
from protocols.modbus.functions import (
    DEVICE_FAILURE,
    FUNCTION_MAX,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
)

if TYPE_CHECKING:
    from agent.adapters.modbus.proxy_master import Asked
    from agent.firewall.decision import Caller
    from protocols.modbus.pdu import Request
    from protocols.modbus.pdu_reply import Reply

# A vendor's function is unknown, not wrong: whether it passes is for the rules to say.
TOLERATED: Final = int(Problem.UNKNOWN)
WRONG: Final = sum(Problem) & ~TOLERATED
# An identifier that a master uses twice is odd: its answers go by their order.
WRONG_REQUEST: Final = WRONG & ~int(Problem.REPEATED)
# What a bug in a judge raises. (No bare ``except``: what else comes closes the
# connection, which forwards nothing either.)
FAULTS: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip

MALFORMED: Final = Decision(
    Verdict.REFUSED, -1, Reason.MALFORMED, forward=False, exception=ILLEGAL_VALUE
)
FAULT: Final = Decision(
    Verdict.REFUSED, -1, Reason.FAULT, forward=False, exception=DEVICE_FAILURE
)
NO_POLICY: Final = Decision(
    Verdict.REFUSED, -1, Reason.NO_POLICY, forward=False, exception=ILLEGAL_FUNCTION
)
NO_POLICY_READ: Final = Decision(
    Verdict.ALLOWED, -1, Reason.NO_POLICY, forward=True, exception=0
)


class Judging(Protocol):
    """What the proxy needs of ``agent.firewall.judge.Judge``."""

    def judge(
        self,
        caller: Caller,
        link: int,
        unit: int,
        request: Request,
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> Decision:
        """Decide on one request."""

    def answered(
        self, link: int, unit: int, request: Request, reply: Reply | None
    ) -> None:
        """Learn what the device answered; None: a write may have been carried out."""


class Rules:
    """The judge of all links. One attribute is one assignment: swaps are atomic."""

    __slots__ = ("clock_ok", "judge")

    def __init__(self) -> None:
        """Begin without a policy, and without belief in the clock."""
        self.judge: Judging | None = None
        self.clock_ok = False


def decide(
    rules: Rules,
    link: int,
    asked: Asked,
    request: Request,
    now_ns: int,
    *,
    pass_reads: bool,
) -> Decision:
    """Return the decision on one request.

    ``pass_reads``: what the link does with a read while no policy decides.
    """
    # Function codes are 1 to 127 (V1.1b3, 4.1): the others are no vendor's either.
    wrong = (request.problems | asked.problems) & WRONG_REQUEST or not (
        0 < request.function <= FUNCTION_MAX
    )
    judge = asked.judge = rules.judge
    if judge is None:
        decision = NO_POLICY
    else:
        caller, unit, clock_ok = asked.master.caller, asked.unit, rules.clock_ok
        try:
            decision = judge.judge(
                caller, link, unit, request, now_ns, clock_ok=clock_ok
            )
        except FAULTS:
            decision = FAULT
    if decision.forward:
        return MALFORMED if wrong else decision
    if decision.reason != Reason.NO_POLICY or not pass_reads:
        return decision
    return decision if request.is_write or wrong else NO_POLICY_READ


def answered(rules: Rules, link: int, asked: Asked, reply: Reply | None) -> bool:
    """Tell the judge what came back, None for nothing; True where it failed."""
    judge = rules.judge
    if judge is None or asked.request is None or asked.decision is None:
        return False
    try:
        judge.answered(link, asked.unit, asked.request, reply)
    except FAULTS:
        return True
    return False
