"""Is a policy on trial good for this device? Numbers in, a verdict out. Pure.

The signed terms say how long the trial lasts and what it may cost (``policies.trust``,
``Terms``). Everything is judged by monotonic time: a clock that is set ends no trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from policies.trust import Terms

SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * SECOND_NS
# Rates over less than this are chance: a start costs CPU, a batch fills the spool.
RATE_NS_MIN: Final = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Reading:
    """How the device was at one moment."""

    monotonic_ns: int
    online: bool
    unconfirmed: int  # records sent that wait for their receipt
    receipted: int  # records receipted since the process began
    again: (
        int  # times that all sent records were to be sent again, for want of receipts
    )
    losses: int  # records and frames lost since the process began
    cpu_ns: int  # of the process
    spool_bytes: int


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a trial ends early: a stable rule, and one line without values of a bus."""

    rule: str
    reason: str


class Trial:
    """Watches one trial from its first reading on."""

    def __init__(self, terms: Terms, first: Reading) -> None:
        """The trial's time and sums begin with ``first``."""
        self._terms = terms
        self._first = first
        self._last = first
        self._up_ns = first.monotonic_ns  # when the link was last there
        self._heard_ns = first.monotonic_ns  # when nothing was due, or a receipt came

    def look(self, now: Reading) -> Breach | None:
        """Take a reading; return the limit that it breaks."""
        if now.online:
            self._up_ns = now.monotonic_ns
        # A link that broke, or receipts that are overdue, make everything unsent again:
        # that is no sign of life.
        is_idle = not now.unconfirmed and now.again == self._last.again
        if is_idle or now.receipted > self._last.receipted:
            self._heard_ns = now.monotonic_ns
        self._last = now
        return self._uplink(now) or self._cost(now)

    def is_over(self) -> bool:
        """Tell whether its time is over with no limit broken, seen from a live link."""
        past_ns = self._last.monotonic_ns - self._first.monotonic_ns
        return past_ns >= self._terms.trial_s * SECOND_NS and (
            self._last.online or not self._terms.uplink_s
        )

    def _uplink(self, now: Reading) -> Breach | None:
        limit_s = self._terms.uplink_s
        if not limit_s:
            return None
        if now.monotonic_ns - self._up_ns > limit_s * SECOND_NS:
            return Breach("uplink", f"no link to the broker for {limit_s} s")
        if now.monotonic_ns - self._heard_ns > limit_s * SECOND_NS:
            return Breach("uplink", f"records sent and none receipted for {limit_s} s")
        return None

    def _cost(self, now: Reading) -> Breach | None:
        terms, first = self._terms, self._first
        lost = now.losses - first.losses
        if terms.loss_max and lost > terms.loss_max:
            return Breach("losses", f"{lost} records lost, {terms.loss_max} allowed")
        past_ns = now.monotonic_ns - first.monotonic_ns
        if past_ns < min(RATE_NS_MIN, terms.trial_s * SECOND_NS):
            return None
        share = (now.cpu_ns - first.cpu_ns) / past_ns
        if terms.cpu_share_max and share > terms.cpu_share_max:
            allowed = f"{terms.cpu_share_max:.2f}"
            return Breach("cpu", f"{share:.2f} of a core used, {allowed} allowed")
        grown = (now.spool_bytes - first.spool_bytes) * HOUR_NS / past_ns
        limit = terms.spool_bytes_per_h_max
        if limit and grown > limit:
            reason = f"the spool grows by {grown:.0f} bytes an hour, {limit} allowed"
            return Breach("spool", reason)
        return None
