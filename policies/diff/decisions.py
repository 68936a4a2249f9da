"""Two lists of rules for one item at one place: can one let out more than the other?

A list decides by its first rule that applies. Rules that let out apply where all their
conditions are known to hold, rules that keep in (drop, keep) where none is known to
fail (``agent/classification/stage.py``). Two lists are compared over every pair of
rules, one of each, that may decide at the same moment. A pair is left out only where
that is proved impossible:

  * an earlier rule of either list applies whenever the two do, or
  * a condition of one excludes a condition of the other.

So what is called tighter is tighter, and what may be looser is called so. Depth times
depth pairs of each two lists: ``PAIRS_MAX`` bounds it, beyond it they are "too many".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.derive import derive
from policies.diff.strength import excludes, implies, takes_more
from policies.tables import Action, Role
from policies.words import ACTIONS, KEPT_BACK, transform_words
from protocols.labels import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.diff.strength import Atom
    from policies.tables import Transform

PAIRS_MAX: Final = 10_000  # of two lists: 100 conditional rules for one item each
TOO_MANY: Final = "too many conditions to be compared one by one"


@dataclass(frozen=True, slots=True)
class Way:
    """What one rule does to one item."""

    action: Action
    transforms: tuple[Transform, ...]
    purpose: str
    custodian: str  # whom ``keep`` seals to, "" for other actions
    label_in: int
    label_out: int
    category_out: str
    role: int

    @property
    def level(self) -> int:
        """Return 0 where nothing is stored, 1 where it stays sealed, 2 where it goes.

        ``keep`` without a custodian is a drop.
        """
        if self.action == Action.KEEP:
            return 1 if self.custodian else 0
        return 0 if self.action == Action.DROP else 2


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of a list: when it applies, and what it does. ``way`` None: nothing."""

    tests: tuple[Atom, ...]
    way: Way | None

    @property
    def tightens(self) -> bool:
        """Tell whether it applies where its conditions cannot be decided."""
        return self.way is None or self.way.action in {Action.DROP, Action.KEEP}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``looser``: why the new list may let out more, "" where it cannot."""

    looser: str
    tighter: str


KEPT: Final = Step((), None)  # the end of every list: what no rule takes is kept back


def compare_lists(old: Sequence[Step], new: Sequence[Step]) -> Verdict:
    """Return in which directions two lists differ."""
    before, after = _closed(old), _closed(new)
    if before == after:
        return Verdict("", "")
    if len(before) * len(after) > PAIRS_MAX:
        return Verdict(TOO_MANY, TOO_MANY)
    first_before = [_first_applying(step, before) for step in after]
    first_after = [_first_applying(step, after) for step in before]
    looser = tighter = ""
    for i, step in enumerate(after):
        for j, other in enumerate(before[: first_before[i] + 1]):
            if i > first_after[j] or _never_together(step, other):
                continue
            looser = looser or why_more(step.way, other.way)
            tighter = tighter or why_more(other.way, step.way)
    return Verdict(looser, tighter)


def _closed(steps: Sequence[Step]) -> list[Step]:
    out: list[Step] = []
    for step in steps:
        out.append(step)
        if not step.tests:
            return out
    return [*out, KEPT]


def _first_applying(step: Step, others: Sequence[Step]) -> int:
    """Return the first of ``others`` that applies whenever ``step`` does."""
    for number, other in enumerate(others):
        if step.tightens and not other.tightens:
            if not other.tests:
                return number
            continue  # an undecidable test keeps in, and lets nothing out
        if all(any(implies(a, b) for a in step.tests) for b in other.tests):
            return number
    raise AssertionError  # the last one has no test


def _never_together(one: Step, other: Step) -> bool:
    if one.tightens and other.tightens:
        return False  # both may apply where neither can be decided
    return any(excludes(a, b) or excludes(b, a) for a in one.tests for b in other.tests)


# --- The order over outcomes ----------------------------------------------------------


def why_more(new: Way | None, old: Way | None) -> str:
    """Return why ``new`` lets out more than ``old``, or may; "" where it does not."""
    have, had = _level(new), _level(old)
    if have != had:
        return f"{_short(old)} before, {_short(new)} now" if have > had else ""
    if new is None or old is None or have == 0:
        return ""
    if new.action == Action.ALLOW != old.action:
        return "left sealed before, leaves in the open now"
    if not takes_more(new.transforms, old.transforms):
        return _step_lost(new.transforms, old.transforms)
    if new.custodian != old.custodian:
        return f"sealed to another custodian: {new.custodian}"
    if new.purpose != old.purpose and have > 1:
        return f"another purpose: {new.purpose or 'none'}"
    return _why_label(new, old)


def _why_label(new: Way, old: Way) -> str:
    """Return why the label says less than before, "" where it does not.

    A label may fall as far as the new transforms earn it (``policies.derive``) where
    they take more than the old ones did. Everything below that is a claim.
    """
    have, had = unpack(new.label_out), unpack(old.label_out)
    if have == had and new.category_out != old.category_out:
        return f"called {new.category_out} now, {old.category_out} before"
    if have.covers(had):
        return ""
    if new.transforms != old.transforms:
        steps = new.transforms
        earned = derive(unpack(new.label_in), Role(new.role), steps).label
        if have.covers(earned):
            return ""
    return f"labelled {have} now, {had} before"


def _level(way: Way | None) -> int:
    return 0 if way is None else way.level


def _short(way: Way | None) -> str:
    told = KEPT_BACK if way is None else ACTIONS[way.action]
    return told.removeprefix("is ")


def _step_lost(new: Sequence[Transform], old: Sequence[Transform]) -> str:
    """Name the first step of ``old`` that ``new`` has no equal of."""
    for number in range(1, len(old) + 1):
        if not takes_more(new, old[:number]):
            lost = transform_words(old[number - 1])
            same = [one for one in new if type(one) is type(old[number - 1])]
            now = transform_words(same[0]) if same else "not any more"
            return f"before: {lost}; now: {now}"
    raise AssertionError  # only asked where one is missing
