"""What the firewall let through and refused, as the log tells it.

Each snapshot says how much those before it in its boot told, so that none is missing or
told twice; a row has a count; what was refused has a reason, and what passed without
one, a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet.audit.entries import FirewallSnap

REASONS: Final = frozenset(
    {
        "none", "no_rule", "denied", "read_only", "value", "delta", "unknown_before",
        "rate", "time", "malformed", "no_policy", "fault",
    }
)  # fmt: skip


class FirewallBooks:
    """The sums of one device."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.passed = 0
        self.refused = 0
        self._boot = b""
        self._told = 0

    def take(self, snap: FirewallSnap) -> Iterator[str]:
        """Add a snapshot; yield what does not hold."""
        if snap.boot != self._boot:
            self._boot, self._told = snap.boot, 0
        if snap.before != self._told:
            yield f"firewall.snap after {snap.before}, and {self._told} were told"
        self._told = snap.before + sum(row[4] for row in snap.rows)
        keys = [row[:4] for row in snap.rows]
        if len({*keys}) < len(keys) or not keys:
            yield "a firewall.snap with a row twice, or with none"
        for _link, rule, verdict, reason, count in snap.rows:
            if count < 1 or reason not in REASONS:
                yield "a row of firewall.snap without a count or a known reason"
            if verdict == "refused":
                self.refused += count
                if reason == "none":
                    yield "something was refused without a reason"
            elif verdict == "allowed":
                self.passed += count
                if reason == "none" and not rule:
                    yield "something passed that no rule let through"
            else:
                yield "a row of firewall.snap with a verdict that is none"
