"""Group commit: several passes become one transaction, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.firewall.book import merged as verdicts_merged
from agent.records import Commit
from agent.telemetry.counters import merged

if TYPE_CHECKING:
    from collections.abc import Sequence


def join_commits(commits: Sequence[Commit]) -> Commit:
    """Return one commit that makes durable what all of them would, in order."""
    if len(commits) == 1:
        return commits[0]
    return Commit(
        records=tuple(r for c in commits for r in c.records),
        retained=tuple(r for c in commits for r in c.retained),
        evidence=tuple(e for c in commits for e in c.evidence),
        counters=merged(row for c in commits for row in c.counters),
        held=commits[-1].held if commits else 0,
        coverage=(
            sum(c.coverage[0] for c in commits),
            sum(c.coverage[1] for c in commits),
        ),
        snapshot=any(c.snapshot for c in commits),
        verdicts=verdicts_merged(row for c in commits for row in c.verdicts),
        documents={name: body for c in commits for name, body in c.documents.items()},
    )


class CommitGroup:
    """Collects passes until there are enough."""

    def __init__(self, passes_max: int) -> None:
        """Hand out a commit for every ``passes_max`` passes."""
        self._passes_max = passes_max
        self._waiting: list[Commit] = []

    def add(self, commit: Commit, *, last: bool = False) -> Commit | None:
        """Return what is to be made durable now; None to wait for more."""
        self._waiting.append(commit)
        if len(self._waiting) < self._passes_max and not last:
            return None
        group, self._waiting = self._waiting, []
        return join_commits(group)
