"""Do the steps of pushed policies make sense? Written apart from the agent's own table.

A policy decides (``trial``) only after it was verified and staged, is confirmed only
after its trial, and is taken back only from there. Only ``trial``, ``reverted`` and
``fallback`` change who decides. What weakens important or core categories was signed by
two different people (GOV-04), or it did not decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fleet.audit.entries import Change

# Each step of a candidate, and the steps of the same candidate it may come after.
FOLLOWS: Final = {
    "staged": {"verified"},
    "refused": {"verified"},
    "trial": {"staged", "trial"},  # again: a process that starts within the trial
    "active": {"trial"},
    "reverted": {"trial"},
}
CHANGES: Final = frozenset({"trial", "reverted", "fallback"})  # who decides
ASIDE: Final = frozenset({"metadata", "fresh"})  # of metadata, not of a candidate
KNOWN: Final = frozenset({*FOLLOWS, *CHANGES, *ASIDE, "verified"})
APPROVERS_MIN: Final = 2


class Steps:
    """The candidates of one log, step by step."""

    def __init__(self) -> None:
        """Begin with none."""
        self._last: tuple[str, bytes] = ("", b"")  # step, digest of the candidate
        self._policy = b""  # which decides
        self.notes: list[str] = []

    def take(self, entry: Change) -> list[str]:
        """Take a policy step; return what does not fit. Notes say who approved what."""
        before, self._policy = self._policy, entry.policy
        if entry.digest is None:  # of the device's own files, or refused as a message
            return []
        if entry.step not in KNOWN:
            return [f"policy {entry.version}: '{entry.step}' is no step"]
        found = list(self._order(entry))
        if entry.before not in {b"", before}:
            found.append(f"policy {entry.version}: came after another than it says")
        changed = before not in {b"", entry.policy}
        if changed and entry.step not in CHANGES:
            found.append(f"policy {entry.version}: '{entry.step}' changed who decides")
        if entry.step in {"trial", "active"} and entry.policy != entry.digest:
            found.append(f"policy {entry.version}: '{entry.step}', and another decides")
        if entry.step == "trial" and entry.weakens:
            found += self._approved(entry)
        if entry.step not in ASIDE:
            self._last = (entry.step, entry.digest)
        return found

    def _order(self, entry: Change) -> list[str]:
        may_follow = FOLLOWS.get(entry.step)
        step, digest = self._last
        if may_follow is None or (step in may_follow and digest == entry.digest):
            return []
        return [f"policy {entry.version}: '{entry.step}' after '{step or 'nothing'}'"]

    def _approved(self, entry: Change) -> list[str]:
        people = sorted({*entry.approvers})
        what = f"weakens {entry.weakens} important or core items"
        if len(people) < APPROVERS_MIN:
            told = f"policy {entry.version}: {what}, approved by {len(people)} of two"
            return [f"{told} people"]
        who = ", ".join(people)
        self.notes.append(f"policy {entry.version} {what}, approved by {who}")
        return []
