"""Which evidence entries go out next, by cursor: the log is its own spool. Pure.

What is sent is not what has arrived: a collector's receipt says how many entries it
has. Entries that nobody receipts are sent again, but ever more seldom: a fleet without
a collector must not talk to itself.
"""

from __future__ import annotations

from typing import Final

SECOND_NS: Final = 1_000_000_000
AGAIN_NS: Final = 10 * SECOND_NS  # a receipt said that entries are missing
UNHEARD_NS: Final = 120 * SECOND_NS  # no receipt came at all
UNHEARD_MAX_NS: Final = 3600 * SECOND_NS


class Pages:
    """The cursor of one connection. Times are monotonic ns, sizes are entries."""

    def __init__(self, ahead_max: int) -> None:
        """At most ``ahead_max`` entries are sent and not receipted."""
        self.sent = 0
        self.receipted = 0
        self._ahead_max = ahead_max
        self._wait_ns = UNHEARD_NS
        self._grew_ns = 0
        self._rewound_ns = -AGAIN_NS

    def connected(self, receipted: int, now_ns: int) -> None:
        """Start from what a collector is known to have."""
        self.sent = self.receipted = receipted
        self._wait_ns = UNHEARD_NS
        self._grew_ns = now_ns

    def taken(self, end: int) -> None:
        """The broker has the entries up to ``end``."""
        self.sent = end

    def heard(self, size: int, now_ns: int) -> None:
        """A collector at home says that it has the first ``size`` entries of ours."""
        grew = size > self.receipted
        self.receipted = size
        if grew:
            self._grew_ns, self._wait_ns = now_ns, UNHEARD_NS
            self.sent = max(self.sent, size)
        elif size < self.sent and now_ns - self._rewound_ns >= AGAIN_NS:
            self._rewound_ns = now_ns
            self.sent = size  # it misses some: a page was lost, or it lost what it had

    def may_send(self, now_ns: int) -> bool:
        """Tell whether a page may go; rewinds where nobody was heard for long."""
        ahead = self.sent - self.receipted
        if ahead > 0 and now_ns - self._grew_ns >= self._wait_ns:
            self.sent, self._grew_ns = self.receipted, now_ns
            self._wait_ns = min(2 * self._wait_ns, UNHEARD_MAX_NS)
            return True
        return ahead < self._ahead_max
