"""A serial line that others talk on: bytes and silences to exchanges. Sans I/O.

A frame ends where the line is silent for 3.5 characters (MODBUS over Serial Line V1.02,
clause 2.5.1.1). An operating system hides silences (USB adapters hand over bytes every
16 ms) and invents some; so what lies between two silences is one frame where its CRC
says so, else it is taken apart by the lengths that functions have, each with its CRC,
and a frame that an invented silence cut is joined again. What is in no frame is told as
a broken one, or counted where it is too short to be any.

Row by row, not in columns: a line of 115,200 baud carries 1,000 frames a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import Adu
from protocols.modbus.rtu import (
    ADU_BYTES_MIN,
    RTU_BYTES_MAX,
    crc16,
    parse_rtu,
    reply_size,
    request_size,
)
from protocols.modbus.rtu_pairing import REPLY_NS_MAX, Ends, RtuPairing

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch

CHARACTER_BITS: Final = 11
SILENCE_CHARACTERS: Final = 3.5
SILENCE_NS_MIN: Final = 1_750_000  # above 19,200 baud always so
JOIN_NS: Final = 50_000_000  # a cut frame's rest comes within it: three USB intervals
HELD_MAX: Final = 4 * RTU_BYTES_MAX  # without any silence: taken apart then


def silence_ns(baudrate: int) -> int:
    """Return how long the line is silent between two frames."""
    characters = SILENCE_CHARACTERS * CHARACTER_BITS
    return max(SILENCE_NS_MIN, int(characters * 1e9 / baudrate))


@dataclass(frozen=True, slots=True)
class LineStatistics:
    """What the line carried since start."""

    frames: int  # whole, with a CRC that matches
    broken: int  # told with CHECKSUM or LENGTH
    skipped: int  # bytes that were too few for a frame
    lost: int  # exchanges that nobody took in time


class RtuLine:
    """One line, both directions. Holds at most ``HELD_MAX`` bytes and one request."""

    def __init__(
        self, baudrate: int, ends: Ends, *, reply_ns_max: int = REPLY_NS_MAX
    ) -> None:
        """Begin anywhere; ValueError where the baud rate is none."""
        if baudrate <= 0:
            raise ValueError("the baud rate is not positive")
        self._byte_ns = int(CHARACTER_BITS * 1e9 / baudrate)
        self._silence_ns = silence_ns(baudrate)
        self._pairing = RtuPairing(ends, reply_ns_max=reply_ns_max)
        self._held = bytearray()
        self._rest = 0  # bytes of ``_held`` that a silence has ended already
        self._last_ns = 0  # when the last byte was there
        self._frames = self._broken = self._skipped = 0

    @property
    def statistics(self) -> LineStatistics:
        """Return what the line carried since start."""
        return LineStatistics(
            self._frames, self._broken, self._skipped, self._pairing.lost
        )

    @property
    def due_ns(self) -> int | None:
        """Return when ``idle`` has something to do; None: not before more bytes."""
        if len(self._held) > self._rest:
            return self._last_ns + self._silence_ns
        if self._held:
            return self._last_ns + JOIN_NS
        return self._pairing.due_ns

    def feed(self, data: bytes, time_ns: int) -> None:
        """Take bytes of which the last was there at ``time_ns``."""
        if not data:
            return
        self.idle(time_ns - len(data) * self._byte_ns)
        self._held += data
        self._last_ns = time_ns
        if len(self._held) > HELD_MAX:
            self._take_apart(last=False)

    def idle(self, now_ns: int) -> None:
        """Say that no byte came until now: frames end, and requests are given up."""
        quiet_ns = now_ns - self._last_ns
        if len(self._held) > self._rest and quiet_ns >= self._silence_ns:
            self._take_apart(last=False)
        if self._held and quiet_ns >= JOIN_NS:
            self._take_apart(last=True)
        if not self._held:
            self._pairing.expire(now_ns)

    def close(self) -> None:
        """Take what is held as it is, and give up what is open: the line has gone."""
        self._take_apart(last=True)
        self._pairing.close()

    def take(self) -> PairBatch | None:
        """Return the exchanges that are over, in order of time; None where none are."""
        return self._pairing.take()

    def _take_apart(self, *, last: bool) -> None:
        """Tell the frames in what is held; its end is kept where it may go on."""
        held = bytes(self._held)
        at = bad = 0  # where the next frame may begin; where the last one ended
        while at < len(held):
            size = _frame_size(held, at, whole=at == bad)
            if size:
                self._odd(held, bad, at)
                at += size
                self._frames += 1
                self._tell(parse_rtu(held[at - size : at]), len(held) - at)
                bad = at
            else:
                at += 1
        self._held.clear()
        if not last and _goes_on(held, bad):
            self._held += held[bad:]
        else:
            self._odd(held, bad, len(held))
        self._rest = len(self._held)

    def _odd(self, held: bytes, begin: int, end: int) -> None:
        """Tell or count bytes that are in no frame."""
        if end - begin < ADU_BYTES_MIN:
            self._skipped += end - begin
            return
        self._broken += 1
        found = parse_rtu(held[begin:end])
        # By chance the CRC may fit what no length fits.
        problems = found.problems or int(Problem.CHECKSUM)
        self._tell(Adu(0, found.unit, found.pdu, problems), len(held) - end)

    def _tell(self, adu: Adu, behind: int) -> None:
        """``behind``: bytes that came after the frame."""
        self._pairing.either(adu, self._last_ns - behind * self._byte_ns)


def _frame_size(held: bytes, at: int, *, whole: bool) -> int:
    """Return the size of the frame that begins at ``at``, 0 where none does.

    ``whole``: all that is left may be one, whatever its function.
    """
    left = len(held) - at
    if left < ADU_BYTES_MIN:
        return 0
    # Known lengths first: the CRC of a frame with zeros behind it matches as well.
    for size in sorted({request_size(held, at), reply_size(held, at)}):
        if 0 < size <= left and not crc16(held[at : at + size]):
            return size
    return left if whole and left <= RTU_BYTES_MAX and not crc16(held[at:]) else 0


def _goes_on(held: bytes, at: int) -> bool:
    """Tell whether what begins at ``at`` may be a frame that is not whole yet."""
    left = len(held) - at
    if not 2 <= left < RTU_BYTES_MAX:
        return left == 1
    return max(request_size(held, at), reply_size(held, at)) > left
