"""When a learned detector may alarm: after it has been silent (inspection.md 6).

Learning is by time, in order: 60 % of it to fit, 40 % to calibrate. What would have
alarmed while calibrating starts the calibration anew. What is armed carries its bound:
no false alarm in T hours certifies at most 3/T an hour (95 %, Poisson).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

FIT_SHARE: Final = 0.6
QUIET_S: Final = 60  # of a silence, no more than this is time that was watched
LEARN_S: Final = 1800  # half an hour, where the policy does not say
RULE_OF_THREE: Final = 3.0  # -ln(0.05), as everybody rounds it
HOUR_S: Final = 3600


class Phase(IntEnum):
    """What a learned detector does with what it sees."""

    FIT = 0  # takes it for ordinary
    CALIBRATE = 1  # takes it for ordinary, and says as a notice that it would alarm
    ARMED = 2  # alarms


class Learning:
    """The phases of one detector, in seconds of the exchanges' own time."""

    def __init__(self, learn_s: int = LEARN_S) -> None:
        """Take how long to learn; 0: armed from the start."""
        self._fit_s = round(learn_s * FIT_SHARE)
        self._calibrate_s = learn_s - self._fit_s
        self._last: int | None = None  # the latest second
        self._seen_s = 0  # time in which something was seen
        self._since_s = self._fit_s  # the calibration's beginning, in that time
        self._certified: float | None = None

    def phase(self, second: int) -> Phase:
        """Return the phase in which ``second`` lies; the first one begins it.

        Only time counts in which something is seen: who hears nothing learns nothing.
        """
        if self._last is not None and second > self._last:
            self._seen_s += min(second - self._last, QUIET_S)
        self._last = second if self._last is None else max(second, self._last)
        if self._seen_s < self._since_s:
            return Phase.FIT
        if self._seen_s < self._since_s + self._calibrate_s:
            return Phase.CALIBRATE
        return Phase.ARMED

    def not_silent(self) -> None:
        """Begin the calibration anew: something would have alarmed."""
        self._since_s = self._seen_s

    def bound(self) -> float | None:
        """Return false alarms an hour, at most, for an alarm now.

        By the silence before the first alarm: what was silent since is not known.
        """
        if self._certified is None:
            self._certified = bound_of(self._seen_s - self._since_s)
        return self._certified


def bound_of(silent_s: float) -> float | None:
    """Return the bound that ``silent_s`` without a false alarm certifies."""
    return RULE_OF_THREE * HOUR_S / silent_s if silent_s > 0 else None
