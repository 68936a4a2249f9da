"""A master's connection and its requests: answers go back in the order of asking."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.firewall.decision import Caller, Decision
    from protocols.modbus.pdu import Request

# Requests of a master that are not answered yet, busy ones included: beyond them we
# stop reading from it until half are gone.
UNANSWERED_MAX: Final = 64


class Asked:
    """One request on its way."""

    __slots__ = (
        "answer", "deadline_ns", "decision", "master", "mono_ns", "pdu", "problems",
        "request", "sent_ns", "tid", "time_ns", "unit",
    )  # fmt: skip

    def __init__(
        self, master: Master, tid: int, unit: int, pdu: bytes, problems: int
    ) -> None:
        """``problems``: Problem bits found while framing."""
        self.master = master
        self.tid = tid
        self.unit = unit
        self.pdu = pdu
        self.problems = problems
        self.time_ns = self.mono_ns = self.sent_ns = self.deadline_ns = 0
        self.request: Request | None = None
        self.decision: Decision | None = None
        self.answer: bytes | None = None  # b"": done, and nothing is said


class Master:
    """One connection of a master. ``send`` and ``hold`` belong to the shell."""

    __slots__ = (
        "caller", "gone", "heard_ns", "held", "hold", "order", "partial_ns",
        "rest", "send", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        caller: Caller,
        send: Callable[[bytes], None],
        hold: Callable[[bool], None],
    ) -> None:
        """``hold(True)`` stops reading from it, ``hold(False)`` goes on."""
        self.caller = caller
        self.send = send
        self.hold = hold
        self.rest = b""  # of an ADU that is not whole yet
        self.order: deque[Asked] = deque()  # not answered yet
        self.waiting: deque[Asked] = deque()  # of those, not sent yet
        self.heard_ns = 0
        self.partial_ns = 0  # since when half an ADU waits; 0: none does
        self.held = False
        self.gone = False

    def done(self, asked: Asked, answer: bytes) -> None:
        """Answer a request, and those after it that only waited for it."""
        asked.answer = answer
        order = self.order
        if self.gone or order[0] is not asked:
            return
        order.popleft()
        while order and (next_one := order[0].answer) is not None:
            answer += next_one
            order.popleft()
        if answer:
            self.send(answer)
        if self.held and len(order) <= UNANSWERED_MAX // 2:
            self.held = False
            self.hold(False)
