"""One proxied link without sockets: bytes of masters and of the device in and out.

A request waits in its master's queue; masters take turns. When its turn comes it is
judged, by the rules of that moment, and then sent to the device under a transaction
identifier of ours, or answered. Judging at the last moment means that a stricter policy
holds for what still waits, and that limits on changes see what was confirmed before.

Answers go back in the order of a master's requests. A write travels alone, so that the
value before it is known. What was sent once is never sent again: a write whose reply is
lost may have been carried out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from agent.adapters.modbus.proxy_books import UNANSWERED, Books
from agent.adapters.modbus.proxy_master import (
    NOBODY,
    UNANSWERED_MAX,
    Asked,
    Master,
    Place,
    nobody,
)
from agent.adapters.modbus.proxy_rules import TOLERATED, WRONG, answered, decide
from protocols.errors import WireError
from protocols.modbus.exchanges import Problem, Reason
from protocols.modbus.functions import (
    DEVICE_BUSY,
    DEVICE_FAILURE,
    PATH_UNAVAILABLE,
    TARGET_SILENT,
)
from protocols.modbus.mbap import build_adu, split
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from protocols.modbus.peers import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_log import ProxyLog
    from agent.adapters.modbus.proxy_rules import Rules
    from agent.adapters.modbus.proxy_settings import ProxyLink
    from agent.adapters.modbus.proxy_wire import DeviceWire
    from agent.firewall.decision import Decision
    from protocols.modbus.pdu import Request

LATE_MAX: Final = 256  # timed out identifiers that we still recognise
TURNAROUND_NS: Final = 100_000_000  # serial line guide V1.02, 2.4.1: after a broadcast
# Plain numbers: comparing enumerations costs more than the comparison.
UNSOLICITED: Final = int(Problem.UNSOLICITED)
REPEATED: Final = int(Problem.REPEATED)
FAULT: Final = int(Reason.FAULT)
# An exception code that nobody specified is still an exception: it may pass.
WRONG_REPLY: Final = WRONG & ~int(Problem.EXCEPTION)
# The connection to the device. CONNECTING: a first attempt is under way, requests wait
# for it. DOWN: it failed, we try again now and then, requests are answered at once.
CONNECTING, UP, DOWN = range(3)


class LinkCore(Books):
    """The link. The shell gives it ``to_device``, ``reset`` and ``alarm``."""

    def __init__(
        self,
        link: ProxyLink,
        rules: Rules,
        log: ProxyLog,
        wire: DeviceWire,
        clocks: tuple[Callable[[], int], Callable[[], int]],
        server: int = OTHERS,
    ) -> None:
        """``clocks``: wall and monotonic, ns. ``server``: the device in ``Peers``."""
        super().__init__(log, Place(link.number, server))
        self.state = CONNECTING
        self.queued = 0
        self.in_flight: dict[int, Asked] = {}  # by our identifier, eldest first
        self.to_device: Callable[[bytes], None] = nobody
        self.reset: Callable[[], None] = nobody  # give up the connection
        self.alarm: Callable[[int], None] = nobody  # call ``tick`` then, or before
        self._link = link.number
        self._rules = rules
        self._wire = wire
        self._wall, self._mono = clocks
        self._limits = link.limits
        self._in_flight = link.in_flight
        self._pass_reads = link.without_policy == "pass-reads"
        self._stale_ns = int(link.limits.stale_s * 1e9)
        self._timeout_ns = int(link.device.timeout_s * 1e9)
        self._pause_ns = max(int(link.pause_s * 1e9), wire.silence_ns)
        self._not_before_ns = 0
        self._turns: deque[Master] = deque()
        self._tid = 0
        self._writing = False
        self._connected = False
        self._silences = 0
        self._alarm_ns = 0  # when ``tick`` comes at the latest; 0: it does not
        self._late: dict[int, None] = {}

    # --- masters ----------------------------------------------------------------------

    def heard(self, master: Master, data: bytes) -> bool:
        """Take bytes of a master; False where they are no Modbus: close it."""
        mono_ns = master.heard_ns = self._mono()
        adus, master.rest, lost = split(master.rest + data)
        if adus:
            master.partial_ns = 0
            time_ns = self._wall()
            for adu in adus:
                self._enqueue(master, self._made(master, adu, time_ns, mono_ns))
            self.pump()
        if master.rest and not master.partial_ns:
            master.partial_ns = mono_ns
        self.counts.framing_lost += bool(lost)
        return not lost

    def _enqueue(self, master: Master, asked: Asked) -> None:
        self.counts.requests += 1
        order = master.order
        if order and any(other.tid == asked.tid for other in order):
            asked.problems |= REPEATED
        order.append(asked)
        if len(order) >= UNANSWERED_MAX and not master.held:
            master.held = True
            master.hold(True)
        limits, waiting = self._limits, master.waiting
        if len(waiting) >= limits.queued_a_client or self.queued >= limits.queued:
            self.counts.busy += 1
            self._unsent(asked, DEVICE_BUSY)
            return
        if not waiting:
            self._turns.append(master)
        waiting.append(asked)
        self.queued += 1

    def left(self, master: Master) -> None:
        """A master is gone: what it asked and was not sent is not sent any more."""
        master.gone = True
        for asked in master.waiting:
            self.counts.abandoned += 1
            self._tell(asked, UNANSWERED)
        self.queued -= len(master.waiting)
        if master.waiting:
            self._turns.remove(master)
        master.waiting.clear()
        master.order.clear()

    def refuse_waiting(self) -> None:
        """The end: answer all that was not sent yet."""
        turns, self._turns, self.queued = self._turns, deque(), 0
        for master in turns:
            waiting, master.waiting = master.waiting, deque()
            for asked in waiting:
                self.counts.unreachable += 1
                self._unsent(asked, PATH_UNAVAILABLE)

    # --- turns ------------------------------------------------------------------------

    def pump(self) -> None:
        """Judge and send what may be sent now."""
        turns = self._turns
        while turns and self.state != CONNECTING:
            master = turns[0]
            asked = master.waiting[0]
            request = asked.request
            if request is None:
                request = asked.request = parse_request(asked.pdu)
            if self.state == UP and self._is_busy(request.is_write):
                return
            turns.popleft()
            master.waiting.popleft()
            self.queued -= 1
            if master.waiting:
                turns.append(master)
            mono_ns = self._mono()
            if mono_ns - asked.mono_ns > self._stale_ns:
                self.counts.stale += 1
                self._unsent(asked, DEVICE_BUSY)
            else:
                self._decide(asked, request, mono_ns)

    def _is_busy(self, is_write: bool) -> bool:
        """Tell whether a request cannot be sent to the device now."""
        in_flight = len(self.in_flight)
        if in_flight and (is_write or self._writing or in_flight >= self._in_flight):
            return True
        if self._pause_ns and self._mono() < self._not_before_ns:
            self.alarm(self._not_before_ns)
            return True
        return False

    def _decide(self, asked: Asked, request: Request, mono_ns: int) -> None:
        asked.decision = decision = decide(
            self._rules,
            self._link,
            asked,
            request,
            asked.time_ns + mono_ns - asked.mono_ns,
            pass_reads=self._pass_reads,
        )
        self._carry_out(asked, request, decision, mono_ns)

    def _carry_out(
        self, asked: Asked, request: Request, decision: Decision, mono_ns: int
    ) -> None:
        counts = self.counts
        if decision.forward and self.state == UP:
            self._send(asked, request, mono_ns)
        elif decision.forward:
            counts.unreachable += 1
            self._unsent(asked, PATH_UNAVAILABLE)
        else:
            counts.refused += 1
            counts.dropped += not decision.exception
            self._answer(asked, decision.exception)
            self._tell(asked, 0)
        problems = asked.problems | request.problems
        if problems or decision.reason or decision.alerts:
            counts.add_decision(decision, problems)

    def _send(self, asked: Asked, request: Request, mono_ns: int) -> None:
        tid = self._tid
        self._tid = (tid + 1) & 0xFFFF
        wire = self._wire
        asked.sent_ns = mono_ns
        self.to_device(wire.request(tid, asked.unit, asked.pdu))
        self.counts.sent += 1
        if wire.is_serial and asked.unit == 0:
            self.counts.broadcasts += 1
            self.counts.answered += 1
            self._not_before_ns = mono_ns + max(self._pause_ns, TURNAROUND_NS)
            self._tell(asked, 0)
            asked.master.done(asked, b"")
            return
        asked.deadline_ns = deadline_ns = mono_ns + self._timeout_ns
        self.in_flight[tid] = asked
        self._writing = request.is_write
        if not 0 < self._alarm_ns <= deadline_ns:
            self._alarm_ns = deadline_ns
            self.alarm(deadline_ns)

    # --- the device -------------------------------------------------------------------

    def said(self, data: bytes) -> bool:
        """Take bytes of the device; False where they are no Modbus: connect anew."""
        wire = self._wire
        try:
            adus = wire.feed(data)
        except WireError:
            self.counts.framing_lost_device += 1
            self._give_up()
            return False
        self.counts.skipped = wire.skipped
        for adu in adus:
            if wire.has_tid:
                asked = self.in_flight.pop(adu.tid, None)
            else:
                asked = self._asked_of(adu.unit)
            if asked is None:
                self._odd(adu.tid, adu.unit, adu.pdu)
            else:
                self._replied(asked, adu.unit, adu.pdu, adu.problems)
        if self._turns:
            self.pump()
        return True

    def _asked_of(self, unit: int) -> Asked | None:
        """Return what a reply without identifier answers, and take it out."""
        for ours, asked in self.in_flight.items():
            if asked.unit == unit:  # else it comes too late, from somebody else
                return self.in_flight.pop(ours)
        return None

    def _replied(self, asked: Asked, unit: int, pdu: bytes, problems: int) -> None:
        counts, request = self.counts, asked.request
        assert request is not None  # nothing is sent that was not parsed
        mono_ns = self._mono()
        self._silences = 0
        self._writing = False
        if self._pause_ns:
            self._not_before_ns = mono_ns + self._pause_ns
        reply = parse_reply(request, pdu)
        problems |= reply.problems
        if unit != asked.unit:
            problems |= UNSOLICITED
        if problems & WRONG_REPLY:
            counts.bad_replies += 1
            counts.unanswered += 1
            self._answer(asked, DEVICE_FAILURE)
        else:
            counts.answered += 1
            asked.master.done(asked, build_adu(asked.tid, unit, pdu))
        # All that follows comes after the answer: it costs the round trip nothing.
        told = None if problems & WRONG_REPLY else reply
        if answered(self._rules, self._link, asked, told):
            counts.judge_faults += 1
        counts.round_trips += 1
        counts.device_ns += mono_ns - asked.sent_ns
        counts.total_ns += mono_ns - asked.mono_ns
        if problems & ~TOLERATED:
            counts.add_problems(problems)
        self._tell(asked, problems, pdu, asked.time_ns + mono_ns - asked.mono_ns)

    def _odd(self, tid: int, unit: int, pdu: bytes) -> None:
        """Count a reply to nothing that waits: too late, or never asked for."""
        if self._wire.has_tid and tid in self._late:
            del self._late[tid]
            self.counts.late += 1
            return
        self.counts.unsolicited += 1
        self.counts.add_problems(UNSOLICITED)
        odd = Asked(NOBODY, self._place, tid, unit, b"", self._wall(), 0)
        self._tell(odd, UNSOLICITED, pdu, odd.time_ns)

    def up(self) -> None:
        """The connection to the device stands."""
        self.counts.connects += 1
        self._connected = True
        self.state = UP
        self._silences = 0
        self._wire.forget()
        self.pump()

    def down(self, *, retrying: bool) -> None:
        """It is gone; ``retrying``: a new one is tried at once."""
        if self._connected:
            self.counts.connection_losses += 1
        else:
            self.counts.connect_failures += 1
        self._give_up()
        self._connected = False
        self.state = CONNECTING if retrying else DOWN
        waiting, self.in_flight = self.in_flight, {}
        self._late.clear()  # of the old connection; nothing comes from there
        for asked in waiting.values():
            self._silent(asked)
        self._writing = False
        self.pump()

    def _give_up(self) -> None:
        """Send nothing more on this connection; ``down`` follows."""
        self.state = CONNECTING
        self.to_device = nobody

    def tick(self) -> None:
        """Time has come that ``alarm`` asked for."""
        mono_ns = self._mono()
        self._alarm_ns = 0
        over = [t for t, a in self.in_flight.items() if a.deadline_ns <= mono_ns]
        for tid in over:
            self._late[tid] = None
            self._silent(self.in_flight.pop(tid))
        if over:
            self.counts.timeouts += len(over)
            self._silences += len(over)
            self._writing = False
            self._not_before_ns = mono_ns + self._pause_ns
            for tid in [*self._late][:-LATE_MAX]:
                del self._late[tid]
            if not self._wire.has_tid:
                self._wire.forget()
            if self._wire.resets or self._silences >= self._limits.silences:
                self._silences = 0
                self._give_up()
                self.reset()
        for asked in self.in_flight.values():
            self._alarm_ns = asked.deadline_ns
            self.alarm(asked.deadline_ns)
            break  # the eldest: all wait equally long
        self.pump()

    def _silent(self, asked: Asked) -> None:
        self.counts.unanswered += 1
        self.counts.judge_faults += answered(self._rules, self._link, asked, None)
        self._unsent(asked, TARGET_SILENT)
