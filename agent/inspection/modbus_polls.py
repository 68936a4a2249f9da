"""M9: a poll that came like a clock comes no more, or nobody answers it.

Each (client, device, unit, function, address, count) that is asked for is a clock of
its own (inspection.md 3.3: one engine, two buses). Its period is the median of its gaps
while learning; what did not keep time is never armed. A missing answer to what is still
asked is an alarm, and so is a client that asks a device nothing any more; one poll
among others that ends (a page of an HMI is closed) is a notice.

All clocks stand still where nothing at all is seen: that is for the books of the tap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_groups import conversation_key, split, subject_of_key
from agent.inspection.modbus_learning import FIT_SHARE, LEARN_S, QUIET_S, bound_of
from agent.inspection.modbus_seconds import KEYS_MAX, NS
from protocols.modbus.functions import function_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from protocols.frames import I64, U64, Index
    from protocols.modbus.exchanges import ExchangeBatch

PERIODS: Final = 3.0  # so many without an answer are an alarm
SLACK_NS: Final = NS  # a retransmission takes 0.2 to 1 s, whatever the period
CYCLES_MIN: Final = 20  # gaps that a period is learned from
GAPS_MAX: Final = 512
UNSTEADY: Final = 0.25  # median deviation over median: above it, it is no clock
FORGET_S: Final = 3600  # a poll that is gone for so long is gone
IDLE_S: Final = 60  # a poll without a period that is not asked for so long makes room
TRIALS_MAX: Final = 3  # calibrations that may fail
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio


@dataclass(slots=True)
class _Poll:
    """One clock. Written by ``PollDeadline`` only."""

    key: int  # conversation
    words: str
    since_ns: int
    asked_ns: int
    answered_ns: int
    gaps: list[I64]
    gaps_seen: int = 0
    period_ns: float = 0.0  # 0: still fitting, -1: no clock
    deadline_ns: float = 0.0
    calibrated_ns: int = 0  # the calibration's beginning
    trials: int = 0
    late: int = 0  # periods told of since the last answer


class PollDeadline:
    """M9: one finding per conversation and second in which polls are late."""

    def __init__(self, periods: float = PERIODS, learn_s: int = LEARN_S) -> None:
        """Take how many periods may pass, and how long to learn."""
        self._periods = periods
        self._fit_ns = round(learn_s * FIT_SHARE) * NS
        self._calibrate_ns = learn_s * NS - self._fit_ns
        self._polls: dict[int, _Poll] = {}
        self._asked: dict[int, int] = {}  # (client, device) -> when last asked
        self._second: int | None = None
        self._crowded = -1  # the second in which no room was found
        self.ignored = 0  # polls beyond KEYS_MAX

    def inspect(self, view: View) -> list[Finding]:
        """Return the polls that are late by the time of this batch."""
        exchanges = view.exchanges
        if exchanges is None:
            return []
        reads = (exchanges.count > 0) & ~exchanges.is_write & ~exchanges.malformed
        said: list[Finding] = []
        for second, rows in by_second(exchanges, np.flatnonzero(reads)):
            if self._second is not None and second > self._second:
                self._stand_still(second - self._second)
                said += self._close(second, view.names)
            self._second = max(second, self._second or second)
            self._take(exchanges, rows)
        return said

    def _stand_still(self, silent_s: int) -> None:
        """Let no time pass for a silence of all, far beyond what polls leave."""
        if silent_s <= QUIET_S:
            return
        periods = [one.period_ns for one in self._polls.values() if one.period_ns > 0]
        if not periods or silent_s * NS <= self._periods * min(periods):
            return
        for poll in self._polls.values():
            poll.asked_ns += silent_s * NS
            poll.answered_ns += silent_s * NS if poll.answered_ns else 0
        for key in self._asked:
            self._asked[key] += silent_s * NS

    def _take(self, exchanges: ExchangeBatch, rows: Index) -> None:
        every = poll_key(exchanges, rows)
        wanted = self._wanted(np.unique(every), int(exchanges.time_ns[rows[-1]]))
        of_them = np.isin(every, wanted)
        for key, mine in split(every[of_them], rows[of_them]):
            last = mine[-1]
            asked = int(exchanges.time_ns[last])
            times = exchanges.time_ns[mine]
            good = (exchanges.reply_ns[mine] > 0) & (exchanges.exception[mine] == 0)
            answered = times[good & (exchanges.problems[mine] == 0)]
            poll = self._polls.get(key) or self._new(exchanges, key, int(mine[0]))
            poll.asked_ns = asked
            self._asked[poll.key >> 32] = asked
            if len(answered):
                self._answered(poll, answered)

    def _wanted(self, keys: U64, now_ns: int) -> U64:
        """Return the polls that are known, or that there is room for."""
        known, polls = keys.tolist(), self._polls
        fresh = [key for key in known if key not in polls]
        room = KEYS_MAX - len(polls)
        if len(fresh) > room and self._room(now_ns):
            room = KEYS_MAX - len(polls)
        self.ignored += max(len(fresh) - room, 0)
        taken = {*fresh[: max(room, 0)]}
        return np.array([key for key in known if key in polls or key in taken], "u8")

    def _room(self, now_ns: int) -> bool:
        """Forget what was asked for once or twice: a scan must not push out clocks."""
        second = now_ns // NS
        if second == self._crowded:  # looked already: a scan asks again and again
            return False
        self._crowded = second
        idle = [
            key
            for key, poll in self._polls.items()
            if poll.period_ns <= 0 and now_ns - poll.asked_ns > IDLE_S * NS
        ]
        self._forget(idle)
        return bool(idle)

    def _forget(self, keys: Sequence[int]) -> None:
        """Drop polls, and when a device was last asked that nobody asks any more."""
        if not keys:
            return
        for key in keys:
            del self._polls[key]
        pairs = {poll.key >> 32 for poll in self._polls.values()}
        self._asked = {pair: at for pair, at in self._asked.items() if pair in pairs}

    def _new(self, exchanges: ExchangeBatch, key: int, row: int) -> _Poll:
        at = np.array([row])
        first, count = int(exchanges.address[row]), int(exchanges.count[row])
        time = int(exchanges.time_ns[row])
        poll = self._polls[key] = _Poll(
            int(conversation_key(exchanges, at)[0]),
            f"{function_name(int(exchanges.function[row]))} at {first} to "
            f"{first + count - 1}",
            time, time, 0, [],
        )  # fmt: skip
        return poll

    def _answered(self, poll: _Poll, times: I64) -> None:
        """Learn from answers to what was asked at ``times``; the poll is on time."""
        last = poll.answered_ns or int(times[0])
        gaps = np.diff(times, prepend=last)
        first_ever = poll.answered_ns == 0
        poll.answered_ns, poll.late = int(times[-1]), 0
        if poll.period_ns < 0 or (first_ever and len(gaps) == 1):
            return
        gaps = gaps[1:] if first_ever else gaps
        if poll.period_ns == 0:
            if poll.gaps_seen < GAPS_MAX:
                poll.gaps.append(gaps)
            poll.gaps_seen += len(gaps)
            if int(times[-1]) - poll.since_ns >= self._fit_ns:
                self._fit(poll, int(times[-1]))
        elif gaps.max() > poll.deadline_ns and not self._is_armed(poll, last):
            poll.trials += 1
            poll.deadline_ns = 1.5 * float(gaps.max())
            poll.calibrated_ns = int(times[-1])
            if poll.trials >= TRIALS_MAX:
                poll.period_ns = -1.0

    def _fit(self, poll: _Poll, now_ns: int) -> None:
        """Take the period from the gaps, or find that this is no clock."""
        if poll.gaps_seen < CYCLES_MIN:
            return
        gaps = np.concatenate(poll.gaps)
        poll.gaps.clear()
        median = float(np.median(gaps))
        spread = float(np.median(np.abs(gaps - median)))
        if median <= 0 or spread > UNSTEADY * median:
            poll.period_ns = -1.0
            return
        poll.period_ns = median
        poll.deadline_ns = max(
            self._periods * median, 2.0 * float(gaps.max()), median + SLACK_NS
        )
        poll.calibrated_ns = now_ns

    def _is_armed(self, poll: _Poll, now_ns: int) -> bool:
        return poll.period_ns > 0 and (
            now_ns - poll.calibrated_ns >= self._calibrate_ns
        )

    def _close(self, second: int, names: Sequence[str]) -> list[Finding]:
        """Return what is late when ``second`` begins, by conversation and level."""
        now = second * NS
        late: dict[tuple[int, bool], list[tuple[_Poll, int]]] = {}
        gone = []
        for key, poll in self._polls.items():
            silent = now - poll.answered_ns
            if now - poll.asked_ns > FORGET_S * NS:
                gone.append(key)
            elif poll.period_ns > 0 and silent > poll.deadline_ns:
                missed = int(silent // poll.period_ns)
                if missed > poll.late:
                    told = (poll.key, self._is_alarm(poll, now))
                    late.setdefault(told, []).append((poll, missed - poll.late))
                    poll.late = missed
        self._forget(gone)
        return [
            _say(key, polls, now, names, is_alarm=is_alarm)
            for (key, is_alarm), polls in late.items()
        ]

    def _is_alarm(self, poll: _Poll, now_ns: int) -> bool:
        """Tell whether a late poll alarms: armed, and still asked, or nothing is."""
        if not self._is_armed(poll, poll.answered_ns):
            return False
        still_asked = poll.asked_ns - poll.answered_ns > poll.period_ns / 2
        all_silent = now_ns - self._asked[poll.key >> 32] > poll.deadline_ns
        return still_asked or all_silent


def _say(
    key: int,
    polls: list[tuple[_Poll, int]],
    now_ns: int,
    names: Sequence[str],
    *,
    is_alarm: bool,
) -> Finding:
    longest = max(polls, key=lambda one: one[0].late)[0]
    silent_s = (longest.answered_ns - longest.calibrated_ns) / NS
    count = sum(missed for _, missed in polls)
    return Finding(
        "M9", Level.ALERT if is_alarm else Level.NOTICE, subject_of_key(key, names),
        count, min(poll.answered_ns for poll, _ in polls), now_ns,
        f"{longest.words}: {longest.late} of {longest.period_ns / NS:.3g} s missed"
        + (f", and {len(polls) - 1} other polls" if len(polls) > 1 else ""),
        bound=bound_of(silent_s) if is_alarm else None,
    )  # fmt: skip


def poll_key(exchanges: ExchangeBatch, rows: Index) -> U64:
    """Return one number per row for who asks for exactly what."""
    what = exchanges.function[rows].astype(np.uint64) << np.uint64(32)
    what |= exchanges.address[rows].astype(np.uint64) << np.uint64(16)
    what |= exchanges.count[rows]
    # Both need 88 bits: mixed to 64, so that two of 4,096 are the same never happens.
    mixed: U64 = (conversation_key(exchanges, rows) ^ (what * _MIX)) * _MIX
    return mixed ^ (mixed >> np.uint64(29))


def by_second(exchanges: ExchangeBatch, rows: Index) -> list[tuple[int, Index]]:
    """Return (second, its rows) in order of time; late rows stay where they are."""
    if not len(rows):
        return []
    second = np.maximum.accumulate(exchanges.time_ns[rows] // NS)
    cuts = np.flatnonzero(np.diff(second)) + 1
    heads = second[np.concatenate(([0], cuts))].tolist()
    return [*zip(heads, np.split(rows, cuts), strict=True)]
