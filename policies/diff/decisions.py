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

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from policies.derive import derive
from policies.diff.strength import excludes, implies, takes_more
from policies.tables import Action, Role, VolumeTest
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
    """``looser``: why the new list may let out more, "" where it cannot.

    ``tighter``: why the old one did; its "now" is the new list, too.
    """

    looser: str
    tighter: str


Times: TypeAlias = "tuple[str, str]"  # what the one and the other list are called
ONWARD: Final[Times] = ("now", "before")
BACK: Final[Times] = ("before", "now")  # the list that is asked about is the old one
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
            tighter = tighter or why_more(other.way, step.way, BACK)
    return Verdict(looser, tighter)


def _closed(steps: Sequence[Step]) -> list[Step]:
    out: list[Step] = []
    for given in steps:
        step = _told(given, out)
        out.append(step)
        if not step.tests:
            return out
    return [*out, KEPT]


def _told(step: Step, before: Sequence[Step]) -> Step:
    """Return a step without the volume tests that hold wherever it is reached.

    It is above a volume if a step before it takes all that is below. A volume is always
    known; where other tests are not, what keeps in applies and what lets out does not.
    """
    if step.tightens and len(step.tests) > 1:
        return step
    tests = list(step.tests)
    for test in step.tests:
        if isinstance(test, VolumeTest):
            other = [one for one in tests if one != test]
            known = [*other, replace(test, above=not test.above)]
            if any(_applies(one, known) for one in before):
                tests = other
    return replace(step, tests=tuple(tests))


def _applies(step: Step, known: Sequence[Atom]) -> bool:
    return all(any(implies(a, b) for a in known) for b in step.tests)


def _first_applying(step: Step, others: Sequence[Step]) -> int:
    """Return the first of ``others`` that applies whenever ``step`` does."""
    for number, other in enumerate(others):
        if step.tightens and not other.tightens:
            if not other.tests:
                return number
            continue  # an undecidable test keeps in, and lets nothing out
        if _applies(other, step.tests):
            return number
    raise AssertionError  # the last one has no test


def _never_together(one: Step, other: Step) -> bool:
    if one.tightens and other.tightens:
        return False  # both may apply where neither can be decided
    return any(excludes(a, b) or excludes(b, a) for a in one.tests for b in other.tests)


# --- The order over outcomes ----------------------------------------------------------


def why_more(new: Way | None, old: Way | None, times: Times = ONWARD) -> str:
    """Return why ``new`` lets out more than ``old``, or may; "" where it does not.

    ``times``: what the reason calls them.
    """
    have, had = _level(new), _level(old)
    now, before = times
    if have != had:
        if have < had:
            return ""
        return _in_order((before, _short(old)), (now, _short(new)))
    if new is None or old is None or have == 0:
        return ""
    if new.action == Action.ALLOW != old.action:
        return _in_order((before, "leaves sealed"), (now, "leaves in the open"))
    if not takes_more(new.transforms, old.transforms):
        return _step_lost(new.transforms, old.transforms, times)
    if new.custodian != old.custodian:
        return f"sealed to another custodian: {_of(new, old, times).custodian}"
    if new.purpose != old.purpose and have > 1:
        return f"another purpose: {_of(new, old, times).purpose or 'none'}"
    return _why_label(new, old, times)


def _in_order(*told: tuple[str, str]) -> str:
    """Return what is told of both times, what was before first."""
    return ", ".join(f"{what} {time}" for time, what in sorted(told))


def _of(new: Way, old: Way, times: Times) -> Way:
    """Return the way of now."""
    return new if times == ONWARD else old


def _why_label(new: Way, old: Way, times: Times) -> str:
    """Return why the label says less than before, "" where it does not.

    A label may fall as far as the new transforms earn it (``policies.derive``) where
    they take more than the old ones did. Everything below that is a claim.
    """
    have, had = unpack(new.label_out), unpack(old.label_out)
    now, before = times
    if have == had and new.category_out != old.category_out:
        return f"called {new.category_out} {now}, {old.category_out} {before}"
    if have.covers(had):
        return ""
    if new.transforms != old.transforms:
        steps = new.transforms
        earned = derive(unpack(new.label_in), Role(new.role), steps).label
        if have.covers(earned):
            return ""
    return f"labelled {have} {now}, {had} {before}"


def _level(way: Way | None) -> int:
    return 0 if way is None else way.level


def _short(way: Way | None) -> str:
    told = KEPT_BACK if way is None else ACTIONS[way.action]
    return told.removeprefix("is ")


def _step_lost(new: Sequence[Transform], old: Sequence[Transform], times: Times) -> str:
    """Name the first step of ``old`` that ``new`` has no equal of."""
    for number in range(1, len(old) + 1):
        if not takes_more(new, old[:number]):
            lost = transform_words(old[number - 1])
            same = [one for one in new if type(one) is type(old[number - 1])]
            told = transform_words(same[0]) if same else "not at all"
            now, before = times
            return "; ".join(sorted((f"{before}: {lost}", f"{now}: {told}")))
    raise AssertionError  # only asked where one is missing
