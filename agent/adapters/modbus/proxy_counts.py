"""What a proxied link counts: written by the proxies' thread, read by anybody."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.modbus.exchanges import Problem, Reason

if TYPE_CHECKING:
    from agent.firewall.decision import Decision

PROBLEMS: Final = len(Problem)
REASONS: Final = len(Reason)
FAULT: Final = int(Reason.FAULT)
# A vendor's function and an identifier used twice are odd, not malformed.
MALFORMED: Final = sum(Problem) & ~(Problem.UNKNOWN | Problem.REPEATED)


@dataclass(slots=True)
class Counts:
    """Since the start. Every request ends in exactly one of the first seven."""

    answered: int = 0  # sent, and the device's reply passed on
    refused: int = 0  # by the firewall: see ``reasons``
    busy: int = 0  # a queue was full
    stale: int = 0  # waited too long for its turn: not sent
    unreachable: int = 0  # allowed, but there was no connection: not sent
    unanswered: int = 0  # sent, and no reply that fits came: timeout, loss, bad reply
    abandoned: int = 0  # the master closed before its turn: not sent
    requests: int = 0  # whole ADUs of masters
    sent: int = 0  # to the device
    broadcasts: int = 0  # of those, on a serial line: answered at once
    dropped: int = 0  # of the refused, those without an answer (``answer: drop``)
    alerts: int = 0  # rules that only tell
    malformed: int = 0  # requests with a problem; never sent
    bad_replies: int = 0  # replies with a problem; never passed on
    timeouts: int = 0
    late: int = 0  # replies that came after their timeout: discarded
    unsolicited: int = 0  # replies to nothing that was asked: discarded
    skipped: int = 0  # RTU: bytes that began no frame, a wrong checksum among them
    judge_faults: int = 0  # the firewall itself failed: refused, or a read passed
    masters: int = 0  # connections taken
    masters_refused: int = 0  # connections beyond the limit
    tls_refused: int = 0  # handshakes that failed
    framing_lost: int = 0  # masters closed because their bytes are no Modbus
    framing_lost_device: int = 0
    partial: int = 0  # masters closed because half an ADU never became whole
    idle: int = 0  # masters closed because they said nothing for too long
    connects: int = 0  # to the device
    connect_failures: int = 0
    connection_losses: int = 0
    round_trips: int = 0  # replies timed
    device_ns: int = 0  # sum, from sending to the device to its reply
    total_ns: int = 0  # sum, from a master's request to our reply
    last_reason: int = 0  # Reason of what was refused last; 0 nothing was
    problems: list[int] = field(default_factory=lambda: [0] * PROBLEMS)  # by bit
    # By Reason: of the refused, and of what passed for another reason than a rule.
    reasons: list[int] = field(default_factory=lambda: [0] * REASONS)

    def add_decision(self, decision: Decision, problems: int) -> None:
        """Count what the firewall said of a request; ``problems``: the request's."""
        reason = decision.reason
        if reason:
            self.reasons[reason] += 1
            self.judge_faults += reason == FAULT
            if not decision.forward:
                self.last_reason = int(reason)
        if decision.alerts:
            self.alerts += len(decision.alerts)
        if problems:
            self.malformed += bool(problems & MALFORMED)
            self.add_problems(problems)

    def add_problems(self, bits: int) -> None:
        """Count every bit of ``bits``."""
        for bit in range(PROBLEMS):
            self.problems[bit] += bits >> bit & 1


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """How one link is."""

    name: str
    listening: bool
    connected: bool  # to the device
    clients: int
    queued: int
    in_flight: int
    problem: str  # "" or one line: why it does not listen or reach its device
    counts: Counts


@dataclass(frozen=True, slots=True)
class ProxyStatistics:
    """How the proxies are."""

    links: tuple[LinkStatistics, ...]
    waiting: int  # rows that the flow has not taken yet
    lost: int  # rows beyond the queue's bound: not seen by the flow


def copied(counts: Counts) -> Counts:
    """Return a snapshot."""
    return copy.deepcopy(counts)
