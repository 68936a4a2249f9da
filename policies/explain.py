"""Why an item goes where it goes: every rule of the policy, in order, with its reason.

For one item and one destination: which rules may decide and under which conditions,
what they do, what label comes out, and why the others have no say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from policies.catalogue import is_under
from policies.compile import DEVICE
from policies.errors import nearest, shown
from policies.firewall.explain import rules_about
from policies.floor import floor_on_item
from policies.quantities import ItemGlob
from policies.rules import EVERYWHERE, listed
from policies.tables import NO_RULE
from policies.words import ACTIONS, KEPT_BACK, condition_words, transform_words
from protocols.labels import Tier, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.model import Match
    from policies.model_floor import Floor, FloorRule
    from policies.parse import Document
    from policies.rules import RuleForm
    from policies.tables import CompiledDestination
    from protocols.labels import Label


class Say(StrEnum):
    """What a rule has to say about an item at a destination."""

    DECIDES = "decides"
    MAY = "decides if"  # where its conditions hold, and no rule before it did
    BEHIND = "not reached"  # a rule without conditions stands before it
    CLAIM = "claim fails"  # its ``becomes`` is not earned: the item stays
    OTHER = "does not match"
    AWAY = "not for it"  # the rule is about other destinations


@dataclass(frozen=True, slots=True)
class RuleWord:
    """One rule of the file, as it is for one item at one destination."""

    name: str
    line: int  # in the policy file
    say: Say
    reason: str  # why it has no say, "" where it has
    conditions: tuple[str, ...]
    action: str
    transforms: tuple[str, ...]
    purpose: str
    category_out: str
    label_out: str


@dataclass(frozen=True, slots=True)
class FloorWord:
    """One rule of the owner's floor about the item."""

    name: str
    demands: str
    violations: tuple[str, ...]  # of this policy, for this item


@dataclass(frozen=True, slots=True)
class PlaceWord:
    """All rules for one destination, in order; what none of them takes stays."""

    destination: str
    region: str
    recipients: tuple[str, ...]
    suite: str
    rules: tuple[RuleWord, ...]
    otherwise: str  # what holds where no rule decides, "" where one always does

    @property
    def deciding(self) -> tuple[RuleWord, ...]:
        """Return the rules that decide or may decide, in order."""
        return tuple(one for one in self.rules if one.say in {Say.DECIDES, Say.MAY})


@dataclass(frozen=True, slots=True)
class ItemWord:
    """One item from one source."""

    item: str
    source: str
    category: str  # "" = unclassified
    label: str
    basis: tuple[str, ...]  # of the category, as the catalogue gives it
    note: str  # "" or why nothing of it ever leaves
    places: tuple[PlaceWord, ...]
    floor: tuple[FloorWord, ...]
    firewall: tuple[str, ...] = ()  # its rules about where a Modbus item lies


def explain(
    compiled: Compiled,
    item: str,
    destination: str | None = None,
    floor: Document[Floor] | None = None,
) -> tuple[ItemWord, ...]:
    """Return what the policy says of an item, for each source that it comes from.

    ``destination`` None: every one. ValueError for an item that is not bound or a
    destination that the policy does not have.
    """
    policy = compiled.policy
    names = [one.name for one in policy.destinations]
    if destination is not None and destination not in names:
        hint = nearest(destination, names) or f"known: {', '.join(names)}"
        raise ValueError(f"no such destination: {shown(destination)} ({hint})")
    rows = [row for row, name in enumerate(policy.items.name) if name == item]
    if not rows:
        hint = nearest(item, policy.items.name)
        reason = f"no such item is bound: {shown(item)}"
        raise ValueError(f"{reason} ({hint})" if hint else reason)
    return tuple(_item(compiled, row, destination, floor) for row in rows)


def _item(
    compiled: Compiled, row: int, destination: str | None, floor: Document[Floor] | None
) -> ItemWord:
    items = compiled.policy.items
    category = items.category[row]
    entry = compiled.catalogues.entries.get(category)
    known = bool(items.classified[row])
    return ItemWord(
        items.name[row],
        items.source[row] if items.source else "",
        category,
        str(unpack(int(items.label[row]))),
        tuple(entry.basis) if entry else (),
        "" if known else "in no catalogue: it stays, whatever a rule says (GOV-02)",
        tuple(
            _place(compiled, number, row)
            for number, place in enumerate(compiled.policy.destinations)
            if destination in {None, place.name}
        ),
        tuple(_floor(compiled, floor, row)) if floor is not None else (),
        tuple(rules_about(compiled, row)),
    )


def _place(compiled: Compiled, number: int, row: int) -> PlaceWord:
    place = compiled.policy.destinations[number]
    chain = [one for one in place.chain[row].tolist() if one != NO_RULE]
    here: dict[int, list[int]] = {}
    for index, form in enumerate(compiled.forms):
        if form.destination == number:
            here.setdefault(form.number, []).append(index)
    words: list[RuleWord] = []
    closed = ""
    for at in range(len(compiled.document.model.rules)):
        if at not in here:
            words.append(_elsewhere(compiled, at, place))
            continue
        for index in _about(compiled, here[at], row):
            form = compiled.forms[index]
            word = _rule(compiled, form, row, decides=index in chain, closed=closed)
            words.append(word)
            if word.say == Say.CLAIM:
                closed = closed or f"{word.name} meant it, and its claim fails"
            elif word.say == Say.DECIDES:
                closed = closed or f"{word.name} decides before it"
    return PlaceWord(
        place.name,
        place.region,
        place.recipients,
        place.suite,
        tuple(words),
        "" if any(one.say == Say.DECIDES for one in words) else KEPT_BACK,
    )


def _about(compiled: Compiled, forms: list[int], row: int) -> list[int]:
    """Return the forms of one rule that are about an item: below and above a volume.

    The first where none is: it tells why the rule does not match.
    """
    found = [
        index
        for index in forms
        if compiled.forms[index].items[row] or _forbidden(compiled.forms[index], row)
    ]
    return found or forms[:1]


def _rule(
    compiled: Compiled, form: RuleForm, row: int, *, decides: bool, closed: str
) -> RuleWord:
    names = compiled.policy.items.name
    conditions = tuple(condition_words(one, names) for one in form.conditions)
    claim = _forbidden(form, row)
    say, reason = Say.OTHER, ""
    if decides:
        say = Say.MAY if conditions else Say.DECIDES
        unbound = _unbound(compiled, form)
        reason = f"never holds here: {unbound} is not bound" if unbound else ""
    elif closed and (claim or form.items[row]):
        say, reason = Say.BEHIND, closed
    elif claim:
        say, reason = Say.CLAIM, claim
    else:
        match = compiled.document.model.rules[form.number].match
        reason = "; ".join(mismatches(compiled, match, row)) or "does not match"
    return RuleWord(
        form.name,
        compiled.document.tree.line(("rules", form.number)),
        say,
        reason,
        conditions,
        ACTIONS[form.action],
        tuple(map(transform_words, form.transforms)),
        form.purpose,
        form.category_out[row],
        str(unpack(int(form.label_out[row]))),
    )


def _forbidden(form: RuleForm, row: int) -> str:
    """Return why a rule that means an item may not let it out, "" where it may."""
    for number, why in form.refused:
        if number == row:
            return f"its becomes is not earned: {why}"
    for one in form.cut:
        if row in one.rows:
            what = f"with what else goes there it makes {one.name} ({one.becomes})"
            return f"{what}, and its match does not allow that label"
    return ""


def _unbound(compiled: Compiled, form: RuleForm) -> str:
    """Return the first item of ``when`` that is not bound here, "" for none."""
    bound = set(compiled.policy.items.name)
    wanted = compiled.document.model.rules[form.number].match.when
    return next((name for name in wanted if name not in bound), "")


def _elsewhere(compiled: Compiled, at: int, place: CompiledDestination) -> RuleWord:
    """Return the word of a rule that is not about this destination at all."""
    rule = compiled.document.model.rules[at]
    regions = listed(rule.match.region)
    if place.name == DEVICE:
        reason = "keeps nothing on the device"
    elif (to := listed(rule.to)) and place.name not in to and to != [EVERYWHERE]:
        reason = f"goes to {', '.join(to)}"
    else:
        reason = f"for region {', '.join(regions)}, not {place.region}"
    line = compiled.document.tree.line(("rules", at))
    return RuleWord(rule.name, line, Say.AWAY, reason, (), "", (), "", "", "")


def mismatches(compiled: Compiled, match: Match, row: int) -> Iterator[str]:
    """Yield why a rule's match does not take an item; conditions are left aside."""
    items = compiled.policy.items
    if not items.classified[row]:
        yield "the item is unclassified"
        return
    category, label = items.category[row], unpack(int(items.label[row]))
    wanted = listed(match.category)
    if wanted and not any(is_under(category, one) for one in wanted):
        yield f"category {category} is not under {' or '.join(wanted)}"
    globs = listed(match.item)
    name = items.name[row]
    if globs and not any(ItemGlob(one).fullmatch(name) for one in globs):
        yield f"the name does not match {' or '.join(globs)}"
    yield from _label_mismatches(match, label)


def _label_mismatches(match: Match, label: Label) -> Iterator[str]:
    tier = label.tier.name if label.tier < Tier.IMPORTANT else label.tier.name.lower()
    if match.min_tier is not None and label.tier < Tier[match.min_tier.upper()]:
        yield f"tier {tier} is below {match.min_tier}"
    if match.max_tier is not None and label.tier > Tier[match.max_tier.upper()]:
        yield f"tier {tier} is above {match.max_tier}"
    for axis, wanted in (("pi", match.pi), ("geo", match.geo)):
        have = getattr(label, axis).name.lower()
        if wanted is not None and have not in listed(wanted):
            yield f"{axis} is {have}, not {' or '.join(listed(wanted))}"


# --- The floor ------------------------------------------------------------------------


def _floor(compiled: Compiled, floor: Document[Floor], row: int) -> Iterator[FloorWord]:
    for rule, violations in floor_on_item(compiled, floor, row):
        told = tuple(
            f"rule {one.policy_rule} for {one.destination}: {one.reason}"
            for one in violations
        )
        yield FloorWord(rule.name, "; ".join(demands(rule)), told)


def demands(rule: FloorRule) -> Iterator[str]:
    """Yield what a floor rule demands, in words."""
    if rule.never_leaves:
        yield "never leaves this device"
    if rule.min_action is not None:
        yield f"{rule.min_action} or stricter"
    if rule.min_grid is not None:
        yield f"on a grid of {rule.min_grid} or more"
    if rule.max_rate is not None:
        yield f"once in {rule.max_rate} at most"
    for what, allowed in (
        ("to regions", rule.allowed_regions),
        ("to destinations", rule.allowed_destinations),
        ("sealed with", rule.allowed_suites),
    ):
        if allowed is not None:
            yield f"only {what} {', '.join(allowed) or 'none'}"
