"""The owner's floor: what no policy may go below, whoever signed it (promise 8).

``/etc/sluicegate/floor.yaml`` never comes over the network. A policy that is weaker in
one point is refused, with the floor rule named; it is never mended silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from policies.catalogue import is_under
from policies.derive import POSITION_ROLES, slowest_ns
from policies.errors import shown
from policies.firewall.floor import firewall_floor
from policies.quantities import ItemGlob, duration_ns, length_m
from policies.rules import LEAVES, listed
from policies.tables import NO_RULE, Action, Grid
from protocols.labels import Geo, Pi, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from policies.compile import Compiled
    from policies.model_floor import Floor, FloorMatch, FloorRule
    from policies.parse import Document
    from policies.tables import CompiledDestination, CompiledRule, ItemTable
    from protocols.frames import U16, Bool

# From the most open to the most closed.
_ORDER: Final = (Action.ALLOW, Action.ENCRYPT, Action.KEEP, Action.DROP)


@dataclass(frozen=True, slots=True)
class Violation:
    """One point where a policy is weaker than the floor."""

    floor_rule: str
    policy_rule: str
    destination: str
    item: str  # the first item that shows it
    reason: str

    def __str__(self) -> str:
        """Return the one line that names the floor rule."""
        if not self.destination:  # of the Modbus firewall
            whose = f"Modbus rule {self.policy_rule}: " if self.policy_rule else ""
            return f"floor rule {self.floor_rule}: {whose}{self.reason}"
        return (
            f"floor rule {self.floor_rule}: rule {self.policy_rule} for"
            f" {self.destination}: {self.item}: {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class FloorLine:
    """One floor rule with its quantities read."""

    rule: FloorRule
    globs: tuple[ItemGlob, ...]
    grid_m: float  # 0: no such demand
    rate_ns: int
    action: Action


def compile_floor(document: Document[Floor]) -> tuple[FloorLine, ...]:
    """Return the floor's lines; PolicyError where one is wrong or demands nothing."""
    out: list[FloorLine] = []
    names: set[str] = set()
    for number, rule in enumerate(document.model.rules):
        path = ("rules", number)
        if rule.name in names:
            raise document.error((*path, "name"), "another rule has this name")
        names.add(rule.name)
        if not _demands(rule):
            raise document.error(path, "demands nothing", "such as never_leaves: true")
        if not _names_something(rule.match):
            raise document.error((*path, "match"), "matches nothing in particular")
        try:
            out.append(
                FloorLine(
                    rule,
                    tuple(map(ItemGlob, listed(rule.match.item))),
                    0.0 if rule.min_grid is None else length_m(rule.min_grid),
                    0 if rule.max_rate is None else duration_ns(rule.max_rate),
                    Action[(rule.min_action or "allow").upper()],
                )
            )
        except ValueError as error:
            raise document.error(path, str(error)) from None
    return tuple(out)


def check_floor(compiled: Compiled, floor: Document[Floor]) -> list[Violation]:
    """Return every point where the policy is weaker than the floor.

    One violation for each (floor rule, policy rule, destination, reason). PolicyError
    where the floor itself is wrong or names a category that no catalogue has.
    """
    lines = compile_floor(floor)
    for number, line in enumerate(lines):
        for prefix in listed(line.rule.match.category):
            if not compiled.catalogues.under(prefix):
                raise floor.error(
                    ("rules", number, "match", "category"),
                    f"no such category: {shown(prefix)}",
                    compiled.catalogues.hint(prefix),
                )
    found: dict[tuple[str, str, str, str], Violation] = {}
    for line in lines:
        meant = _meant(line, compiled)
        for violation in _against(line, meant, meant.anywhere(), compiled):
            key = (
                violation.floor_rule, violation.policy_rule,
                violation.destination, violation.reason,
            )  # fmt: skip
            found.setdefault(key, violation)
    return [
        *found.values(),
        *(
            Violation(one.floor_rule, one.policy_rule, "", "", one.reason)
            for one in firewall_floor(compiled, floor)
        ),
    ]


def _demands(rule: FloorRule) -> bool:
    lists = (rule.allowed_regions, rule.allowed_destinations, rule.allowed_suites)
    quantities = (rule.min_action, rule.min_grid, rule.max_rate)
    return rule.never_leaves or any(one is not None for one in (*lists, *quantities))


def _names_something(match: FloorMatch) -> bool:
    given = (match.category, match.item, match.min_tier, match.pi, match.geo)
    return any(one is not None for one in given)


def _rows(line: FloorLine, items: ItemTable, label: U16) -> Bool:
    """Return which items a floor rule is about [N] bool, by packed labels [N]."""
    match = line.rule.match
    rows = np.ones(len(items), np.bool_)
    prefixes = listed(match.category)
    if prefixes:
        rows &= _mask(items.category, lambda c: any(is_under(c, p) for p in prefixes))
    if line.globs:
        rows &= _mask(items.name, lambda n: any(g.fullmatch(n) for g in line.globs))
    if match.min_tier is not None:
        rows &= label >> 8 >= int(Tier[match.min_tier.upper()])
    if match.pi is not None:
        wanted = [Pi[name.upper()] for name in listed(match.pi)]
        rows &= np.isin(label >> 6 & 3, wanted)
    if match.geo is not None:
        places = [Geo[name.upper()] for name in listed(match.geo)]
        rows &= np.isin(label >> 2 & 3, places)
    return rows


@dataclass(frozen=True, slots=True)
class _Meant:
    """Which items a floor rule is about: by what they are, or as what they leave.

    Combinations and volumes lift the label of what leaves.
    """

    own: Bool  # [N]
    lifted: dict[int, Bool]  # by rule that lifts something: own, or meant as it leaves

    def by(self, rule: int) -> Bool:
        return self.lifted.get(rule, self.own)

    def anywhere(self) -> Bool:
        return np.asarray(np.logical_or.reduce([self.own, *self.lifted.values()]))


def _meant(line: FloorLine, compiled: Compiled) -> _Meant:
    items = compiled.policy.items
    own = _rows(line, items, items.label)
    return _Meant(
        own,
        {
            number: own | _rows(line, items, form.label_out)
            for number, form in enumerate(compiled.forms)
            if form.raised
        },
    )


def _against(
    line: FloorLine, meant: _Meant, rows: Bool, compiled: Compiled
) -> Iterator[Violation]:
    policy = compiled.policy
    for destination in policy.destinations:
        for row in np.flatnonzero(rows).tolist():
            for number in destination.chain[row].tolist():
                if number == NO_RULE:
                    break
                if not meant.by(number)[row]:
                    continue
                rule = policy.rules[number]
                is_place = int(policy.items.role[row]) in POSITION_ROLES
                for reason in _reasons(line, rule, destination, is_place=is_place):
                    yield Violation(
                        line.rule.name,
                        rule.name,
                        destination.name,
                        policy.items.name[row],
                        reason,
                    )


def _reasons(
    line: FloorLine,
    rule: CompiledRule,
    destination: CompiledDestination,
    *,
    is_place: bool,
) -> Iterator[str]:
    floor = line.rule
    if _ORDER.index(rule.action) < _ORDER.index(line.action):
        need, have = line.action.name.lower(), rule.action.name.lower()
        yield f"the floor demands {need}, the policy has {have}"
    if rule.action not in LEAVES:
        return
    if floor.never_leaves:
        yield "never leaves this device"
    regions = floor.allowed_regions
    if regions is not None and destination.region not in regions:
        yield f"may not go to region {destination.region}"
    names = floor.allowed_destinations
    if names is not None and destination.name not in names:
        yield "may not go to this destination"
    suites = floor.allowed_suites
    if suites is not None and destination.suite not in suites:
        yield f"may not be sealed with {destination.suite}"
    sizes = [step.size_m for step in rule.transforms if isinstance(step, Grid)]
    if line.grid_m and is_place and max(sizes, default=0.0) < line.grid_m:
        yield f"needs a grid of {line.grid_m:g} m or more"
    if line.rate_ns > slowest_ns(rule.transforms):
        yield f"may leave once in {line.rate_ns / 1e9:g} s at most"


def _mask(texts: tuple[str, ...], holds: Callable[[str], bool]) -> Bool:
    return np.fromiter(map(holds, texts), np.bool_, len(texts))


def floor_on_item(
    compiled: Compiled, floor: Document[Floor], row: int
) -> Iterator[tuple[FloorRule, tuple[Violation, ...]]]:
    """Yield every floor rule about one item, with what the policy does against it."""
    one = np.zeros(len(compiled.policy.items), np.bool_)
    one[row] = True
    for line in compile_floor(floor):
        meant = _meant(line, compiled)
        if meant.anywhere()[row]:
            yield line.rule, tuple(_against(line, meant, one, compiled))
