"""What a link keeps of its requests: counts, rows for the flow, answers of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.modbus.proxy_counts import Counts
from agent.adapters.modbus.proxy_master import Asked
from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import build_adu
from protocols.modbus.pdu_reply import encode_exception

if TYPE_CHECKING:
    from agent.adapters.modbus.proxy_log import ProxyLog
    from agent.adapters.modbus.proxy_master import Master, Place
    from protocols.modbus.mbap import Adu

# Plain numbers: comparing enumerations costs more than the comparison.
UNANSWERED: Final = int(Problem.UNANSWERED)


class Books:
    """Of one link."""

    def __init__(self, log: ProxyLog, place: Place) -> None:
        """``log``: where what passed goes to the flow."""
        self.counts = Counts()
        self._log = log
        self._place = place

    def _made(self, master: Master, adu: Adu, time_ns: int, mono_ns: int) -> Asked:
        """Return the record of a request."""
        return Asked(
            master, self._place, adu.tid, adu.unit, adu.pdu, time_ns, mono_ns,
            adu.problems,
        )  # fmt: skip

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
