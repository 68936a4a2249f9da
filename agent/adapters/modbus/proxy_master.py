"""A master's connection and its requests: answers go back in the order of asking."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from agent.firewall.decision import Caller
from protocols.modbus.peers import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_rules import Judging
    from agent.firewall.decision import Decision
    from protocols.modbus.pdu import Request

# Requests of a master that are not answered yet, busy ones included: beyond them we
# stop reading from it until half are gone.
UNANSWERED_MAX: Final = 64


class Place(NamedTuple):
    """Which device an exchange belongs to."""

    link: int  # number of the link
    server: int  # of its device in ``Peers``


class Asked(msgspec.Struct, gc=False, eq=False):
    """One request on its way, and then a row for the flow.

    A structure in C, for there is one for every request. Garbage collection does not
    look at it: ``Master.order`` is emptied when the master goes, so no ring stays.
    """

    master: Master
    place: Place
    tid: int
    unit: int
    pdu: bytes
    time_ns: int  # wall clock
    mono_ns: int
    problems: int = 0  # Problem bits, of framing, pairing and the reply
    request: Request | None = None
    decision: Decision | None = None
    judge: Judging | None = None  # whose decision it is
    sent_ns: int = 0
    deadline_ns: int = 0
    answer: bytes | None = None  # to the master; b"": done, and nothing is said
    reply: bytes = b""  # what the device itself said: PDU
    reply_ns: int = 0  # wall clock, 0 where none came


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


def nobody(*_: object) -> None:
    """Take what there is nobody for."""


NOBODY: Final = Master(
    Caller("", OTHERS), nobody, nobody
)  # asked for what came unasked
