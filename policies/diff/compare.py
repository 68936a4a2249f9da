"""What a new policy lets out more, or less, than an old one: in words, and for GOV-04.

Per item and destination the outcomes are ordered, from tight to loose:

  kept back or dropped < kept for the custodian < leaves sealed < leaves in the open

Of two that leave (or are kept), one is tighter only if it takes away all that the
other does: every transform at least as strong (a coarser grid, a rarer ``every``, a
longer window), for the same purpose, under a label that says no less than the other's
or than what its own transforms earn. Fewer conditions are looser: whole lists of rules
are compared (``policies.diff.decisions``). Beside that a new destination, a new
recipient, another region, a weaker suite, an acknowledgement by the broker alone, a
longer retention and a lower classification are looser. Names of rules mean nothing.

The order is partial on purpose. What it cannot rank (a histogram instead of a slow
sample, another purpose, another region) is "changed", and counts as looser wherever
somebody must approve: fail closed. So the relation is monotone: a policy that is called
"tighter" lets out no more in any state of the world; exchanging the sides exchanges
looser and tighter; a policy compared with itself differs in nothing.

GOV-04 (MIITM 13(3), NDSR 30, DSL 27): what weakens the protection of important or core
data needs two different approvers. Guarded are items whose label, in the old or the new
catalogue, has tier important or core or is recognised as anything but ``none``: a
candidate is protected as important until it is decided (NDSR 29, 37). A section that
this version cannot compare is guarded, too.

Bounded: items with equal lists of rules are one group; at most ``GROUPS_MAX`` groups
are compared rule by rule, every one beyond them counts as changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from policies.diff.columns import ABSENT, NO_KEYS, Pair, names_of
from policies.diff.decisions import TOO_MANY, Verdict, compare_lists
from policies.diff.difference import Difference, Kind, Line, Weakening, is_guarded
from policies.diff.settings import classifications, places, settings
from policies.rules import LEAVES
from policies.words import chain_words
from protocols.labels import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from policies.compile import Compiled
    from policies.diff.columns import Group, Side
    from protocols.recipients import RecipientCard

Cards: TypeAlias = "tuple[Mapping[str, RecipientCard], Mapping[str, RecipientCard]]"

__all__ = ["Difference", "Kind", "Line", "Weakening", "compare"]

GROUPS_MAX: Final = 20_000
LINES_MAX: Final = 5_000
NAMES_MAX: Final = 3  # of the items of one line
WORDS_MAX: Final = 400  # characters of a list of rules


def compare(
    old: Compiled | None, new: Compiled, cards: Cards | None = None
) -> Difference:
    """Return what ``new`` does differently; ``old`` None lets nothing out.

    Both are compiled against the same gateway's bindings; an item that only one side
    has is kept back on the other. ``cards``: the recipients' cards of (old, new), by
    name; with them another key under the same name is another recipient.
    """
    keys = NO_KEYS
    if cards is not None:
        before, after = ({n: c.digest() for n, c in one.items()} for one in cards)
        keys = (before, after)
    if old is new and keys[0] == keys[1]:
        return Difference((), ())
    pair = Pair(old, new, keys)
    budget = _Budget(GROUPS_MAX)
    lines = [*classifications(pair), *settings(pair)]
    weakens = [_weakening(line) for line in lines if line.weakens]
    for name in names_of(pair):
        of_place = places(pair, name)
        lines += of_place
        worse = [line for line in of_place if line.kind != Kind.TIGHTER]
        for group in pair.groups(name, unchanged=bool(worse)):
            line = None if group.same else _line(pair, name, group, budget)
            if line is not None:
                lines.append(line)
            if line is not None and line.kind != Kind.TIGHTER:
                weakens.append(_weakening(line))
            elif worse and _may_leave(pair, name, group):
                weakens.append(_to_other_place(pair, name, group, worse[0]))
    return _bounded(lines, weakens)


@dataclass(slots=True)
class _Budget:
    """How many groups may still be compared rule by rule."""

    left: int

    def verdict(self, pair: Pair, item: int, name: str) -> Verdict:
        """Return how the lists of an item at a destination differ."""
        if self.left <= 0:
            return Verdict(TOO_MANY, TOO_MANY)
        self.left -= 1
        old, new = (pair.steps(side, item, name) for side in pair.sides)
        return compare_lists(old, new)


def _line(pair: Pair, name: str, group: Group, budget: _Budget) -> Line | None:
    """Return the line of a group; None where its lists come to the same."""
    item = int(group.items[0])
    verdict = budget.verdict(pair, item, name)
    if not verdict.looser and not verdict.tighter:
        return None
    kind = Kind.CHANGED
    if not verdict.tighter:
        kind = Kind.LOOSER
    elif not verdict.looser:
        kind = Kind.TIGHTER
    label = pair.label(item)
    before, after = (_words(pair, side, item, name) for side in pair.sides)
    if before == after:  # they differ in what the rules call it, or what for
        before, after = (
            f"{text}{_called(pair, side, item, name)}"
            for text, side in zip((before, after), pair.sides, strict=True)
        )
    return Line(
        kind,
        name,
        _names(pair, group),
        len(group.items),
        pair.category(item),
        label,
        before,
        after,
        verdict.looser,
        is_guarded(label),
    )


def _names(pair: Pair, group: Group) -> tuple[str, ...]:
    names = dict.fromkeys(pair.items[item][0] for item in group.items.tolist())
    return tuple(names)[:NAMES_MAX]


def _words(pair: Pair, side: Side | None, item: int, name: str) -> str:
    if side is None:
        return "nothing left before"
    if side.rows[item] == ABSENT:
        return "is not bound"
    text = chain_words(pair.rules(side, item, name), side.policy.items.name)
    return text if len(text) <= WORDS_MAX else f"{text[: WORDS_MAX - 3]}..."


def _called(pair: Pair, side: Side | None, item: int, name: str) -> str:
    """Return under which categories, labels and purposes an item leaves."""
    ways = [step.way for step in pair.steps(side, item, name)]
    told = [
        f"as {way.category_out}, {unpack(way.label_out)}"
        + (f", for {way.purpose}" if way.purpose else "")
        for way in ways
        if way is not None and way.action in LEAVES
    ]
    text = "; else ".join(dict.fromkeys(told))
    return f" {text}" if text else ""


def _may_leave(pair: Pair, name: str, group: Group) -> bool:
    """Tell whether anything of a group may go to the destination now."""
    rules = pair.rules(pair.new, int(group.items[0]), name)
    return any(rule.action in LEAVES for rule in rules)


def _weakening(line: Line) -> Weakening:
    why = line.why or f"{line.before}; now {line.after}"
    return Weakening(
        line.items[0] if line.items else "",
        line.category,
        None if line.label is None else line.label.tier,
        line.destination,
        why,
        line.count,
        line.is_guarded,
    )


def _to_other_place(pair: Pair, name: str, group: Group, line: Line) -> Weakening:
    """Return the weakening of items whose rules stay, at a place that did not."""
    item = int(group.items[0])
    label = pair.label(item)
    return Weakening(
        pair.items[item][0], pair.category(item), label.tier, name,
        line.why or line.after, len(group.items), is_guarded(label),
    )  # fmt: skip


def _merged(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines that say the same of other items (latitude, longitude) as one."""
    found: dict[tuple[object, ...], Line] = {}
    for line in lines:
        key = (line.kind, line.destination, line.category, line.label, line.before,
               line.after, line.why, bool(line.items))  # fmt: skip
        first = found.get(key)
        found[key] = line if first is None else replace(
            first,
            items=tuple(dict.fromkeys((*first.items, *line.items)))[:NAMES_MAX],
            count=first.count + line.count,
        )  # fmt: skip
    yield from found.values()


def _bounded(lines: Iterable[Line], weakens: Iterable[Weakening]) -> Difference:
    order = list(Kind)
    lines = _merged(lines)
    ranked = sorted(lines, key=lambda one: (not one.is_guarded, order.index(one.kind)))
    worst = sorted(weakens, key=lambda one: not one.is_guarded)
    omitted = max(0, len(ranked) - LINES_MAX)
    return Difference(tuple(ranked[:LINES_MAX]), tuple(worst[:LINES_MAX]), omitted)
