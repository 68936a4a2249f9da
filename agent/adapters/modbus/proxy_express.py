"""The short way through a link: what nearly every request and reply takes.

``LinkCore`` says what a link does. This is the same once more for one whole, sound
request of a master that waits for nothing and of which nothing has to wait, and for its
sound reply: without the calls in between. Half of what a proxy costs is the memory that
its code touches after a sleep, so fewer functions are fewer microseconds. Whatever is
out of the ordinary goes the long way; a test holds both against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.modbus.proxy_core import UP, LinkCore
from agent.adapters.modbus.proxy_master import Asked, Master
from agent.adapters.modbus.proxy_rules import FAULT, FAULTS
from agent.adapters.modbus.proxy_wire import TcpWire
from protocols.modbus.mbap import ADU_BYTES_MAX, HEADER, HEADER_BYTES
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from protocols.modbus.peers import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_log import ProxyLog
    from agent.adapters.modbus.proxy_rules import Rules
    from agent.adapters.modbus.proxy_settings import ProxyLink
    from agent.adapters.modbus.proxy_wire import DeviceWire
    from protocols.modbus.mbap import MbapFramer

BEFORE_UNIT: Final = 6  # bytes of the header that its length does not count
_pack, _unpack = HEADER.pack, HEADER.unpack_from


class ExpressCore(LinkCore):
    """A ``LinkCore``, quicker."""

    def __init__(
        self,
        link: ProxyLink,
        rules: Rules,
        log: ProxyLog,
        wire: DeviceWire,
        clocks: tuple[Callable[[], int], Callable[[], int]],
        server: int = OTHERS,
    ) -> None:
        """Take what a ``LinkCore`` takes."""
        super().__init__(link, rules, log, wire, clocks, server)
        self._framer: MbapFramer | None = None  # a serial line has no short way
        if isinstance(wire, TcpWire) and not self._pause_ns:
            self._framer = wire.framer

    def heard(self, master: Master, data: bytes) -> bool:
        """Take bytes of a master; False where they are no Modbus: close it."""
        rules, size = self._rules, len(data)
        judge = rules.judge
        if (
            self._framer is None or judge is None or self._turns or self.state != UP
            or master.order or master.rest or not HEADER_BYTES < size <= ADU_BYTES_MAX
        ):  # fmt: skip
            return super().heard(master, data)
        tid, protocol, length, unit = _unpack(data)
        if protocol or length != size - BEFORE_UNIT:
            return super().heard(master, data)
        pdu = data[HEADER_BYTES:]
        request = parse_request(pdu)
        if request.problems or (self.in_flight and self._is_busy(request.is_write)):
            return super().heard(master, data)
        counts, mono_ns, time_ns = self.counts, self._mono(), self._wall()
        counts.requests += 1
        master.heard_ns = mono_ns
        try:
            decision = judge.judge(
                master.caller, self._link, unit, request, time_ns,
                clock_ok=rules.clock_ok,
            )  # fmt: skip
        except FAULTS:
            decision = FAULT
        deadline_ns = mono_ns + self._timeout_ns
        asked = Asked(
            master, self._place, tid, unit, pdu, time_ns, mono_ns, 0, request, decision,
            judge, mono_ns, deadline_ns,
        )  # fmt: skip
        master.order.append(asked)
        if not decision.forward or decision.reason or decision.alerts:
            self._carry_out(asked, request, decision, mono_ns)
            return True
        ours = self._tid
        self._tid = (ours + 1) & 0xFFFF
        self.to_device(_pack(ours, 0, length, unit) + pdu)
        counts.sent += 1
        self.in_flight[ours] = asked
        self._writing = request.is_write
        if not 0 < self._alarm_ns <= deadline_ns:
            self._alarm_ns = deadline_ns
            self.alarm(deadline_ns)
        return True

    def said(self, data: bytes) -> bool:
        """Take bytes of the device; False where they are no Modbus: connect anew."""
        framer, size = self._framer, len(data)
        if framer is None or framer.rest or not HEADER_BYTES < size <= ADU_BYTES_MAX:
            return super().said(data)
        ours, protocol, length, unit = _unpack(data)
        asked = self.in_flight.get(ours)
        if protocol or length != size - BEFORE_UNIT or asked is None:
            return super().said(data)
        request, rules, pdu = asked.request, self._rules, data[HEADER_BYTES:]
        assert request is not None  # nothing is sent that was not parsed
        reply = parse_reply(request, pdu)
        judge = rules.judge
        if reply.problems or unit != asked.unit or judge is None:
            return super().said(data)
        del self.in_flight[ours]
        mono_ns, counts = self._mono(), self.counts
        self._silences = 0
        self._writing = False
        counts.answered += 1
        asked.master.done(asked, _pack(asked.tid, 0, length, unit) + pdu)
        # All that follows comes after the answer: it costs the round trip nothing.
        try:
            judge.answered(self._link, unit, request, reply)
        except FAULTS:
            counts.judge_faults += 1
        waited_ns = mono_ns - asked.mono_ns
        counts.round_trips += 1
        counts.device_ns += mono_ns - asked.sent_ns
        counts.total_ns += waited_ns
        asked.reply, asked.reply_ns = pdu, asked.time_ns + waited_ns
        self._log.append(asked)
        if self._turns:
            self.pump()
        return True
