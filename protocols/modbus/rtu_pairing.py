"""Which RTU reply belongs to which request: there are no transaction identifiers.

On a serial line one request is open at a time, and both directions look alike: a frame
is a reply where it fits the open request, else a request where it reads as one (MODBUS
over Serial Line V1.02, clause 2.4: only the master speaks first; unit 0 is a broadcast
that nobody answers). In RTU over TCP the direction is known, and gateways queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import EXCEPTION_BIT, FUNCTION_MAX
from protocols.modbus.pair_rows import PairRow, batch_of
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from protocols.modbus.rtu import is_reply_sized

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.mbap import Adu

REPLY_NS_MAX: Final = 5_000_000_000  # what comes later is no reply to this request
OPEN_MAX: Final = 32  # requests that wait at once, per connection
ROWS_MAX: Final = 65_536  # that wait for ``take``; what is more is counted as lost
BROADCAST: Final = 0
_UNANSWERED: Final = int(Problem.UNANSWERED)
_UNSOLICITED: Final = int(Problem.UNSOLICITED)
_UNKNOWN: Final = int(Problem.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Ends:
    """Whose frames these are, as the columns of ``PairBatch`` number them."""

    client: int
    server: int
    link: int


@dataclass(slots=True)
class _Open:
    time_ns: int
    adu: Adu


class RtuPairing:
    """One serial line, or one connection of RTU over TCP. Bounded; sans I/O."""

    def __init__(
        self, ends: Ends, *, open_max: int = 1, reply_ns_max: int = REPLY_NS_MAX
    ) -> None:
        """Begin with nothing open. ``open_max``: 1 on a serial line."""
        self._ends = ends
        self._open_max = min(open_max, OPEN_MAX)
        self._reply_ns_max = reply_ns_max
        self._open: list[_Open] = []
        self._rows: list[PairRow] = []
        self.lost = 0  # rows that nobody took in time

    @property
    def due_ns(self) -> int | None:
        """Return when the oldest open request is given up; None where none is."""
        return self._open[0].time_ns + self._reply_ns_max if self._open else None

    def request(self, adu: Adu, time_ns: int) -> None:
        """Take a frame of the master; where too many are open, the oldest is over."""
        self.expire(time_ns)
        if adu.problems or adu.unit == BROADCAST:
            self._tell(_Open(time_ns, adu), None, 0, 0)
            return
        while len(self._open) >= self._open_max:
            self._tell(self._open.pop(0), None, 0, _UNANSWERED)
        self._open.append(_Open(time_ns, adu))

    def reply(self, adu: Adu, time_ns: int) -> None:
        """Take a frame of the device: of the oldest open request that it may answer."""
        self.expire(time_ns)
        asked = self._match(adu)
        if asked is None:
            self._tell(None, adu, time_ns, _UNSOLICITED)
        else:
            self._open.remove(asked)
            self._tell(asked, adu, time_ns, 0)

    def either(self, adu: Adu, time_ns: int) -> None:
        """Take a frame of which nobody knows who sent it."""
        self.expire(time_ns)
        if self._is_reply(adu):
            self.reply(adu, time_ns)
        else:
            self.request(adu, time_ns)

    def expire(self, now_ns: int) -> None:
        """Give up the requests that are open for too long."""
        while self._open and now_ns - self._open[0].time_ns > self._reply_ns_max:
            self._tell(self._open.pop(0), None, 0, _UNANSWERED)

    def close(self) -> None:
        """Give up all open requests: the line or connection ends."""
        while self._open:
            self._tell(self._open.pop(0), None, 0, _UNANSWERED)

    def take(self) -> PairBatch | None:
        """Return the exchanges that are over, in order of time; None where none are."""
        rows, self._rows = self._rows, []
        return batch_of(rows) if rows else None

    def _match(self, adu: Adu) -> _Open | None:
        same = [one for one in self._open if one.adu.unit == adu.unit]
        code = adu.pdu[0] & FUNCTION_MAX if adu.pdu else -1
        fitting = [one for one in same if one.adu.pdu[0] & FUNCTION_MAX == code]
        # A unit that answers with another function still answers: FUNCTION.
        return next(iter(fitting or same), None)

    def _is_reply(self, adu: Adu) -> bool:
        asked = self._match(adu)
        if adu.problems:  # broken: who would be due to speak?
            return asked is not None
        if adu.pdu[0] & EXCEPTION_BIT:
            return True
        if asked is not None and asked.adu.pdu[0] == adu.pdu[0]:
            request = parse_request(asked.adu.pdu)
            if request.problems & _UNKNOWN:  # nobody can read it: in turns
                return adu.pdu != asked.adu.pdu
            # A write's echo is the request again: that it is no repetition is assumed.
            if not request.problems and not parse_reply(request, adu.pdu).problems:
                return True
        return bool(parse_request(adu.pdu).problems) and is_reply_sized(adu.pdu)

    def _tell(
        self, asked: _Open | None, reply: Adu | None, reply_ns: int, problems: int
    ) -> None:
        if len(self._rows) >= ROWS_MAX:
            self.lost += 1
            return
        for one in (asked.adu if asked else None, reply):
            problems |= one.problems if one else 0
        unit = asked.adu.unit if asked else reply.unit if reply else 0
        self._rows.append(PairRow(
            asked.adu.pdu if asked else None, reply.pdu if reply else None,
            asked.time_ns if asked else reply_ns, reply_ns, unit,
            self._ends.client, self._ends.server, self._ends.link, problems,
        ))  # fmt: skip
