"""Which RTU reply belongs to which request: there are no transaction identifiers.

One request is open at a time (MODBUS over Serial Line V1.02, clause 2.4: only the
master speaks first, and waits; unit 0 is a broadcast that nobody answers): the next
one ends it, or every reply after a lost one would be taken for that of the request
before. On a line both directions look alike: a frame is a reply where it fits the open
request, else a request where it reads as one. In RTU over TCP the direction is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import EXCEPTION_BIT
from protocols.modbus.pair_rows import PairRow, batch_of
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from protocols.modbus.rtu import is_reply_sized

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.mbap import Adu

REPLY_NS_MAX: Final = 5_000_000_000  # what comes later is no reply to this request
HASTE_NS: Final = 50_000_000  # no master gives up sooner: it did not wait
ROWS_MAX: Final = 65_536  # that wait for ``take``; what is more is counted as lost
BROADCAST: Final = 0
_UNANSWERED: Final = int(Problem.UNANSWERED)
_REPEATED: Final = int(Problem.REPEATED)
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
    problems: int


class RtuPairing:
    """One serial line, or one connection of RTU over TCP. Bounded; sans I/O."""

    def __init__(self, ends: Ends, *, reply_ns_max: int = REPLY_NS_MAX) -> None:
        """Begin with nothing open."""
        self._ends = ends
        self._reply_ns_max = reply_ns_max
        self._open: _Open | None = None
        self._rows: list[PairRow] = []
        self.lost = 0  # rows that nobody took in time

    @property
    def due_ns(self) -> int | None:
        """Return when the open request is given up; None where none is."""
        return self._open.time_ns + self._reply_ns_max if self._open else None

    def request(self, adu: Adu, time_ns: int, *, can_haste: bool = False) -> None:
        """Take a frame of the master; a request that is open is over.

        ``can_haste``: the wire lets a master send without waiting. Which request the
        next reply belongs to is then not sure: REPEATED.
        """
        self.expire(time_ns)
        if adu.problems or adu.unit == BROADCAST:
            self._tell(_Open(time_ns, adu, 0), None, 0, 0)
            return
        before, problems = self._open, 0
        if before is not None:
            in_haste = can_haste and time_ns - before.time_ns < HASTE_NS
            problems = _REPEATED if in_haste else 0
            self.close()
        self._open = _Open(time_ns, adu, problems)

    def reply(self, adu: Adu, time_ns: int) -> None:
        """Take a frame of the device: that of the open request, where the unit fits."""
        self.expire(time_ns)
        asked = self._match(adu)
        if asked is None:
            self._tell(None, adu, time_ns, _UNSOLICITED)
        else:
            self._open = None
            self._tell(asked, adu, time_ns, 0)

    def either(self, adu: Adu, time_ns: int) -> None:
        """Take a frame of which nobody knows who sent it."""
        self.expire(time_ns)
        if self._is_reply(adu):
            self.reply(adu, time_ns)
        else:
            self.request(adu, time_ns)

    def expire(self, now_ns: int) -> None:
        """Give up a request that is open for too long."""
        if self._open and now_ns - self._open.time_ns > self._reply_ns_max:
            self.close()

    def close(self, *, is_cut: bool = False) -> None:
        """Give up what is open.

        ``is_cut``: of what came then something was not seen; nobody knows whether that
        was a reply.
        """
        if self._open is not None:
            self._tell(self._open, None, 0, 0 if is_cut else _UNANSWERED)
            self._open = None

    def take(self) -> PairBatch | None:
        """Return the exchanges that are over, in order of time; None where none are."""
        rows = self.take_rows()
        return batch_of(rows) if rows else None

    def take_rows(self) -> list[PairRow]:
        """Return the same one by one, as they came to an end."""
        rows, self._rows = self._rows, []
        return rows

    def _match(self, adu: Adu) -> _Open | None:
        # A unit that answers with another function still answers: FUNCTION.
        asked = self._open
        return asked if asked is not None and asked.adu.unit == adu.unit else None

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
        problems |= asked.problems | asked.adu.problems if asked else 0
        problems |= reply.problems if reply else 0
        unit = asked.adu.unit if asked else reply.unit if reply else 0
        self._rows.append(PairRow(
            asked.adu.pdu if asked else None, reply.pdu if reply else None,
            asked.time_ns if asked else reply_ns, reply_ns, unit,
            self._ends.client, self._ends.server, self._ends.link, problems,
        ))  # fmt: skip
