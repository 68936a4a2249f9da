"""Rules of a policy file to rules for one destination each, over columns of items.

A rule for two destinations becomes two. ``keep`` and ``drop`` without ``to`` hold for
every destination: what is kept is stored once, at the destination ``device``, and its
way to every other destination ends there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from policies.errors import nearest, shown
from policies.model import HYSTERESIS
from policies.quantities import (
    glob_parts,
    hysteresis_ns,
    item_name,
    time_window,
)
from policies.raising.raised import accepts
from policies.steps import StepReader
from policies.tables import (
    Action,
    Condition,
    ConsentTest,
    ItemTest,
    Transform,
    ZoneTest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.catalogue import CatalogueSet
    from policies.matching import Matcher
    from policies.model import Match, Policy, Rule
    from policies.outcome import Outcome, Outcomes
    from policies.parse import Document
    from policies.raising.raised import Raised
    from policies.tables import ItemTable
    from policies.yaml_tree import Path
    from protocols.frames import U16, Bool

LEAVES: Final = (Action.ALLOW, Action.ENCRYPT)
FORMS_MAX: Final = 32_767  # a chain holds rule numbers as int16
EVERYWHERE: Final = "*"


@dataclass(frozen=True, slots=True)
class RuleForm:
    """One rule for one destination."""

    number: int  # of the rule in the file
    name: str
    purpose: str
    destination: int  # the number of destinations: the device itself
    action: Action
    transforms: tuple[Transform, ...]
    conditions: tuple[Condition, ...]
    items: Bool  # [N] items that it could match
    label_out: U16  # [N]
    category_out: tuple[str, ...]  # [N]
    refused: tuple[tuple[int, str], ...]  # items whose claim is not justified, and why
    raised: tuple[Raised, ...] = ()  # what lifted the label of which items
    cut: tuple[Raised, ...] = ()  # items that may not leave with their lifted label
    volumes: tuple[int, ...] = ()  # limits that all it lets out counts to


class RuleReader:
    """Reads the rules of one policy against one item table."""

    def __init__(
        self,
        document: Document[Policy],
        catalogues: CatalogueSet,
        items: ItemTable,
        outcomes: Outcomes,
        matcher: Matcher,
    ) -> None:
        """Compile zones; PolicyError where one is wrong."""
        self._document = document
        self._catalogues = catalogues
        self._items = items
        self._outcomes = outcomes
        self._matcher = matcher
        self._seen: dict[bytes, Bool] = {}  # rules that take the same items share them
        self._labels, self._label_of = np.unique(items.label, return_inverse=True)
        self._steps = StepReader(document, gcj02=bool(items.gcj02))
        self._by_name: dict[str, list[int]] = {}
        for row, name in enumerate(items.name):
            self._by_name.setdefault(name, []).append(row)

    def read(self, names: list[str]) -> tuple[RuleForm, ...]:
        """Return the rules for each of their destinations, in the file's order.

        ``names``: the policy's destinations; a rule's ``destination`` is its number
        there, or their count for the device itself (``keep``).
        """
        rules = self._document.model.rules
        keeps = any(rule.do[-1] == "keep" and rule.to is None for rule in rules)
        out: list[RuleForm] = []
        for number in range(len(rules)):
            out += self._rule(number, names, keeps=keeps)
            if len(out) > FORMS_MAX:
                raise self._document.error(
                    ("rules", number), f"more than {FORMS_MAX} rules and destinations"
                )
        return tuple(out)

    def _rule(self, number: int, names: list[str], *, keeps: bool) -> list[RuleForm]:
        rule = self._document.model.rules[number]
        path: Path = ("rules", number)
        conditions = self._conditions(rule, (*path, "match"))
        matched = self._matched(rule.match, (*path, "match"))
        forms: list[RuleForm] = []
        shared: dict[tuple[Transform, ...], Outcome] = {}
        self._steps.read(number, rule.purpose or "-")  # wrong steps are wrong for all
        targets = self._targets(rule, names, path, keeps=keeps)
        for destination in targets:
            purpose = rule.purpose
            if not purpose and destination < len(names):
                purpose = self._document.model.destinations[names[destination]].purpose
            transforms, action = self._steps.read(number, purpose)
            if action == Action.KEEP and rule.to is None and destination < len(names):
                # It is stored once, at the device; here its way only ends.
                transforms, action = (), Action.DROP
            if transforms not in shared:
                shared[transforms] = self._outcomes.of(rule, matched, transforms)
            outcome = shared[transforms]
            forms.append(
                RuleForm(
                    number,
                    rule.name,
                    purpose,
                    destination,
                    action,
                    transforms,
                    conditions,
                    outcome.items,
                    outcome.label,
                    outcome.category,
                    outcome.refused,
                )
            )
        return forms

    def _targets(
        self, rule: Rule, names: list[str], path: Path, *, keeps: bool
    ) -> list[int]:
        """Return destination numbers; PolicyError for an unknown one or none."""
        if rule.to is None:
            if rule.do[-1] not in {"keep", "drop"}:
                raise self._document.error(path, "does not say to whom", "add to:")
            every = self._in_region(rule, names, names)
            return [*every, len(names)] if keeps or not names else every
        wanted = [rule.to] if isinstance(rule.to, str) else rule.to
        if wanted == [EVERYWHERE]:
            wanted = names
        for name in wanted:
            if name not in names:
                hint = nearest(name, names) or f"known: {', '.join(names) or 'none'}"
                reason = f"no such destination: {shown(name)}"
                raise self._document.error((*path, "to"), reason, hint)
        if not wanted or len(set(wanted)) != len(wanted):
            raise self._document.error((*path, "to"), "names no one, or one twice")
        return self._in_region(rule, wanted, names)

    def _in_region(self, rule: Rule, wanted: list[str], names: list[str]) -> list[int]:
        """Return the numbers of those of ``wanted`` that ``match.region`` means."""
        regions = listed(rule.match.region)
        model = self._document.model
        return [
            names.index(name)
            for name in wanted
            if not regions or model.destinations[name].region in regions
        ]

    def _matched(self, match: Match, path: Path) -> Bool:
        """Return which items the rule could match [N] bool, conditions left aside."""
        items = self._items
        rows = items.classified.copy()
        prefixes = listed(match.category)
        for prefix in prefixes:
            if not self._catalogues.under(prefix):
                raise self._document.error(
                    (*path, "category"),
                    f"no such category: {shown(prefix)}",
                    self._catalogues.hint(prefix),
                )
        if prefixes:
            rows &= self._matcher.under(items.category, prefixes)
        patterns = listed(match.item)
        for pattern in patterns:
            self._steps.quantity(glob_parts, pattern, (*path, "item"))
        if patterns:
            rows &= self._matcher.named(patterns)
        rows &= accepts(match, self._labels)[self._label_of]
        data = rows.tobytes()
        return self._seen.setdefault(data, np.frombuffer(data, np.bool_))

    def _conditions(self, rule: Rule, path: Path) -> tuple[Condition, ...]:
        match = rule.match
        out: list[Condition] = []
        for name, wanted in match.when.items():
            here = (*path, "when", name)
            self._steps.quantity(item_name, name, here)
            tests = wanted if isinstance(wanted, dict) else {"==": wanted}
            if not tests:
                raise self._document.error(here, "compares with nothing")
            rows = tuple(self._by_name.get(name, ()))
            out += [ItemTest(rows, op, float(value)) for op, value in tests.items()]
        here = (*path, "hysteresis")
        if match.hysteresis is not None and not (match.inside or match.outside):
            reason = "belongs to inside or outside, and there is neither"
            raise self._document.error(here, reason)
        lingers = HYSTERESIS if match.hysteresis is None else match.hysteresis
        lingers_ns = self._steps.quantity(hysteresis_ns, lingers, here)
        leaves = rule.do[-1] in {"allow", "encrypt"}
        for inside, names in ((True, match.inside), (False, match.outside)):
            if names is not None:
                where = "inside" if inside else "outside"
                zones = self._steps.zone_list(names, (*path, where))
                # The side that closes: for what leaves, the one where it may not.
                out.append(ZoneTest(zones, inside, lingers_ns, leaves == inside))
        if match.time is not None:
            here = (*path, "time")
            out.append(self._steps.quantity(time_window, match.time, here))
        if match.consent is not None:
            out.append(ConsentTest(match.consent))
        return tuple(out)


def listed(value: str | Sequence[str] | None) -> list[str]:
    """Return one or many names as a list; nothing is none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else [*value]
