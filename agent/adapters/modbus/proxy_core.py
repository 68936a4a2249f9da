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

from agent.adapters.modbus.proxy_counts import Counts
from agent.adapters.modbus.proxy_master import UNANSWERED_MAX, Asked, Master, Place
from agent.adapters.modbus.proxy_rules import TOLERATED, WRONG, answered, decide
from agent.firewall.decision import Caller
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
from protocols.modbus.pdu_reply import encode_exception, parse_reply
from protocols.modbus.peers import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_log import ProxyLog
    from agent.adapters.modbus.proxy_rules import Rules
    from agent.adapters.modbus.proxy_settings import ProxyLink
    from agent.adapters.modbus.proxy_wire import DeviceWire
    from protocols.modbus.pdu import Request

LATE_MAX: Final = 256  # timed out identifiers that we still recognise
TURNAROUND_NS: Final = 100_000_000  # serial line guide V1.02, 2.4.1: after a broadcast
# Plain numbers: comparing enumerations costs more than the comparison.
UNANSWERED: Final = int(Problem.UNANSWERED)
UNSOLICITED: Final = int(Problem.UNSOLICITED)
REPEATED: Final = int(Problem.REPEATED)
FAULT: Final = int(Reason.FAULT)
# An exception code that nobody specified is still an exception: it may pass.
WRONG_REPLY: Final = WRONG & ~int(Problem.EXCEPTION)
# The connection to the device. CONNECTING: a first attempt is under way, requests wait
# for it. DOWN: it failed, we try again now and then, requests are answered at once.
CONNECTING, UP, DOWN = range(3)


def _nobody(*_: object) -> None:
    """Before there is a shell."""


NOBODY: Final = Master(Caller("", OTHERS), _nobody, _nobody)


class LinkCore:
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
        self.counts = Counts()
        self.state = CONNECTING
        self.queued = 0
        self.in_flight: dict[int, Asked] = {}  # by our identifier, eldest first
        self.to_device: Callable[[bytes], None] = _nobody
        self.reset: Callable[[], None] = _nobody  # give up the connection
        self.alarm: Callable[[int], None] = _nobody  # call ``tick`` then, or before
        self._link = link
        self._rules = rules
        self._log = log
        self._wire = wire
        self._wall, self._mono = clocks
        self._place = Place(link.number, server)
        self._limits = link.limits
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
        self._late: dict[int, None] = {}

    # --- masters ----------------------------------------------------------------------

    def heard(self, master: Master, data: bytes) -> bool:
        """Take bytes of a master; False where they are no Modbus: close it."""
        mono_ns = self._mono()
        master.heard_ns = mono_ns
        adus, rest, lost = split(master.rest + data if master.rest else data)
        master.rest = rest
        if adus:
            master.partial_ns = 0
            time_ns = self._wall()
            place = self._place
            for tid, unit, pdu, problems in adus:
                self._enqueue(
                    master,
                    Asked(master, place, tid, unit, pdu, time_ns, mono_ns, problems),
                )
            self.pump()
        if rest and not master.partial_ns:
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
            if self.state == UP and not self._may_send(request.is_write):
                return
            turns.popleft()
            master.waiting.popleft()
            self.queued -= 1
            if master.waiting:
                turns.append(master)
            self._decide(asked, request)

    def _may_send(self, is_write: bool) -> bool:
        in_flight = len(self.in_flight)
        if in_flight and (
            is_write or self._writing or in_flight >= self._link.in_flight
        ):
            return False
        if self._pause_ns and self._mono() < self._not_before_ns:
            self.alarm(self._not_before_ns)
            return False
        return True

    def _decide(self, asked: Asked, request: Request) -> None:
        mono_ns = self._mono()
        waited_ns = mono_ns - asked.mono_ns
        if waited_ns > self._stale_ns:
            self.counts.stale += 1
            self._unsent(asked, DEVICE_BUSY)
            return
        asked.decision = decision = decide(
            self._rules,
            (asked.master.caller, self._place.link, asked.unit),
            request,
            asked.problems & ~REPEATED,
            asked.time_ns + waited_ns,
            pass_reads=self._pass_reads,
        )
        if decision.forward and self.state == UP:
            self._send(asked, request, mono_ns)
        elif decision.forward:
            self.counts.unreachable += 1
            self._unsent(asked, PATH_UNAVAILABLE)
        else:
            self.counts.refused += 1
            self.counts.dropped += not decision.exception
            self._answer(asked, decision.exception)
            self._tell(asked, 0)
        self.counts.add_decision(decision, asked.problems | request.problems)

    def _send(self, asked: Asked, request: Request, mono_ns: int) -> None:
        tid = self._tid
        self._tid = (tid + 1) & 0xFFFF
        asked.sent_ns = mono_ns
        self.to_device(self._wire.request(tid, asked.unit, asked.pdu))
        self.counts.sent += 1
        if asked.unit == 0 and self._wire.is_serial:
            self.counts.broadcasts += 1
            self.counts.answered += 1
            self._not_before_ns = mono_ns + max(self._pause_ns, TURNAROUND_NS)
            self._tell(asked, 0)
            asked.master.done(asked, b"")
            return
        asked.deadline_ns = mono_ns + self._timeout_ns
        self.in_flight[tid] = asked
        self._writing = request.is_write
        self.alarm(asked.deadline_ns)

    # --- the device -------------------------------------------------------------------

    def said(self, data: bytes) -> bool:
        """Take bytes of the device; False where they are no Modbus: connect anew."""
        try:
            adus = self._wire.feed(data)
        except WireError:
            self.counts.framing_lost_device += 1
            self._give_up()
            return False
        self.counts.skipped = self._wire.skipped
        for tid, unit, pdu, problems in adus:
            asked = self._asked(tid, unit)
            if asked is None:
                self._odd(tid, unit, pdu)
            else:
                self._replied(asked, unit, pdu, problems)
        self.pump()
        return True

    def _asked(self, tid: int, unit: int) -> Asked | None:
        """Return what a reply answers, and take it from what is in flight."""
        if self._wire.has_tid:
            return self.in_flight.pop(tid, None)
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
        counts.judge_faults += answered(self._rules, self._place.link, asked, reply)
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
        self.to_device = _nobody

    def tick(self) -> None:
        """Time has come that ``alarm`` asked for."""
        mono_ns = self._mono()
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
            self.alarm(asked.deadline_ns)
            break  # the eldest: all wait equally long
        self.pump()

    def _silent(self, asked: Asked) -> None:
        self.counts.unanswered += 1
        self.counts.judge_faults += answered(self._rules, self._place.link, asked, None)
        self._unsent(asked, TARGET_SILENT)

    # --- answers ----------------------------------------------------------------------

    def _unsent(self, asked: Asked, code: int) -> None:
        self._answer(asked, code)
        self._tell(asked, UNANSWERED)

    def _answer(self, asked: Asked, code: int) -> None:
        """Answer in place of the device; 0: say nothing."""
        adu = b""
        if code:
            adu = build_adu(asked.tid, asked.unit, encode_exception(asked.pdu[0], code))
        asked.master.done(asked, adu)

    def _tell(
        self, asked: Asked, problems: int, reply: bytes = b"", reply_ns: int = 0
    ) -> None:
        """Hand the exchange over to the flow."""
        asked.problems |= problems
        asked.reply, asked.reply_ns = reply, reply_ns
        self._log.append(asked)
