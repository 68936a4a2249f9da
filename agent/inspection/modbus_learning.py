"""When a learned detector may alarm: after it has been silent (inspection.md 6).

Learning is by time, in order: 60 % of it to fit, 40 % to calibrate. What would have
alarmed while calibrating starts the calibration anew. What is armed carries its bound:
no false alarm in T hours certifies at most 3/T an hour (95 %, Poisson).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

FIT_SHARE: Final = 0.6
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
        self._since: int | None = None  # the calibration's beginning
        self._certified: float | None = None

    def phase(self, second: int) -> Phase:
        """Return the phase in which ``second`` lies; the first one begins it."""
        if self._since is None:
            self._since = second + self._fit_s
        if second < self._since:
            return Phase.FIT
        if second < self._since + self._calibrate_s:
            return Phase.CALIBRATE
        return Phase.ARMED

    def not_silent(self, second: int) -> None:
        """Begin the calibration anew: something would have alarmed."""
        self._since = second

    def bound(self, second: int) -> float | None:
        """Return false alarms an hour, at most, for an alarm in ``second``.

        By the silence before the first alarm: what was silent since is not known.
        """
        if self._certified is None and self._since is not None:
            self._certified = bound_of(second - self._since)
        return self._certified


def bound_of(silent_s: float) -> float | None:
    """Return the bound that ``silent_s`` without a false alarm certifies."""
    return RULE_OF_THREE * HOUR_S / silent_s if silent_s > 0 else None
