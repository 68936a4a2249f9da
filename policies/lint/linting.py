"""What regulation refuses although it would compile, with the duty it comes from.

The rules, how grave they are and their duties stand in ``lint_rules.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from policies.catalogue import is_under
from policies.compile import unclassified
from policies.derive import COARSE_CATEGORY
from policies.errors import nearest
from policies.lint.consents import consent_findings
from policies.lint.findings import finding
from policies.lint.firewall import firewall_findings
from policies.lint.inspection import inspection_findings
from policies.lint.raising import raising_findings
from policies.lint.zones import zone_findings
from policies.quantities import NS, duration_ns
from policies.raising.raised import fits
from policies.rules import LEAVES, listed
from policies.tables import Action, Grid, Mask, Noise, Role, TripEnds
from protocols.labels import Geo, Pi, Recognition, Tier, unpack
from protocols.samples import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.lint.findings import Finding
    from policies.rules import RuleForm
    from policies.tables import Transform
    from policies.yaml_tree import Path
    from protocols.frames import Bool
    from protocols.labels import Label

TRACK_RETENTION_NS_MAX: Final = 14 * 86_400 * NS  # T54
NAMES_SHOWN_MAX: Final = 3
HINTS_MAX: Final = 16  # names that near ones are looked for: each asks all items
_PLACE: Final = (int(Role.LATITUDE), int(Role.LONGITUDE))


def lint(compiled: Compiled) -> tuple[Finding, ...]:
    """Return all findings, errors first, then by line."""
    found = {
        *_rules(compiled),
        *_policy(compiled),
        *zone_findings(compiled),
        *raising_findings(compiled),
        *consent_findings(compiled),
        *firewall_findings(compiled),
        *inspection_findings(compiled),
    }
    return tuple(
        sorted(found, key=lambda f: (not f.is_error, f.line, f.rule, f.reason))
    )


def _rules(compiled: Compiled) -> Iterator[Finding]:
    reached = {
        int(number)
        for destination in compiled.policy.destinations
        for number in np.unique(destination.chain)
    }
    for number, form in enumerate(compiled.forms):
        path: Path = ("rules", form.number)
        if form.action in LEAVES:
            yield from _leaving(compiled, form, path)
        yield from _claims(compiled, form, path)
        yield from _transforms(compiled, form, path)
        where = compiled.policy.destinations[form.destination].name
        if number not in reached and form.items.any():
            reason = f"can never decide for {where}: earlier rules take all its items"
            yield finding(compiled, "SG007", path, reason)


def _leaving(compiled: Compiled, form: RuleForm, path: Path) -> Iterator[Finding]:
    if not form.purpose:
        reason = "lets data leave without a purpose"
        yield finding(compiled, "SG001", path, reason)
    destination = compiled.policy.destinations[form.destination]
    home = compiled.document.model.home_region
    approval = compiled.document.model.rules[form.number].approval
    abroad = destination.region != home
    for category, label in _outputs(compiled, form):
        if label.tier == Tier.CORE and not approval:
            reason = f"core data ({category}) leaves"
            yield finding(compiled, "SG006", path, reason)
        if abroad and not approval and _is_guarded(label):
            what = "sensitive personal" if label.pi == Pi.SENSITIVE else "important"
            reason = (
                f"{what} data ({category}) goes to {destination.name} in"
                f" {destination.region} without an approval"
            )
            yield finding(compiled, "SG002", path, reason)
        open_to_all = form.action == Action.ALLOW
        if open_to_all and (label.pi > Pi.NONE or label.tier >= Tier.G3):
            reason = f"{category} leaves in the open: {label}"
            yield finding(compiled, "SG005", path, reason)


def _is_guarded(label: Label) -> bool:
    important = (
        label.tier >= Tier.IMPORTANT or label.recognition >= Recognition.NOTIFIED
    )
    return important or label.pi == Pi.SENSITIVE


def _outputs(compiled: Compiled, form: RuleForm) -> set[tuple[str, Label]]:
    """Return (category, label) of what a rule may let out.

    From the bound items and, where the rule names categories, from the catalogue: a
    policy is written once and meets other vehicles than this one.
    """
    rows = np.flatnonzero(form.items).tolist()
    codes = form.label_out[form.items].tolist()
    found = {(form.category_out[row], c) for row, c in zip(rows, codes, strict=True)}
    out = {(category, unpack(code)) for category, code in found}
    match = compiled.document.model.rules[form.number].match
    if match.item is not None or form.transforms or match.category is None:
        return out
    prefixes = listed(match.category)
    for category, label in compiled.catalogues.labels.items():
        if any(is_under(category, one) for one in prefixes) and fits(match, label):
            out.add((category, label))
    return out


def _claims(compiled: Compiled, form: RuleForm, path: Path) -> Iterator[Finding]:
    if not form.refused:
        return
    names = sorted({compiled.policy.items.name[row] for row, _ in form.refused})
    shown = ", ".join(names[:NAMES_SHOWN_MAX])
    more = "" if len(names) <= NAMES_SHOWN_MAX else f" and {len(names) - 3} more"
    reason = form.refused[0][1]
    place = (*path, "becomes")
    if not form.items.any():
        text = f"claims a label that its transforms do not give: {reason}"
        yield finding(compiled, "SG003", place, text)
    else:
        text = f"{shown}{more} stay: for them {reason}"
        yield finding(compiled, "SG014", place, text)


def _transforms(compiled: Compiled, form: RuleForm, path: Path) -> Iterator[Finding]:
    items = compiled.policy.items
    rows: Bool = form.items
    if not rows.any():
        return
    places = np.isin(items.role[rows], _PLACE)
    locates = (items.label[rows] >> 2 & 3) > int(Geo.NONE)
    texts = items.kind[rows] == int(Kind.TEXT)
    for step in form.transforms:
        name = type(step).__name__.lower()
        if isinstance(step, Noise) and (places | locates).any():
            reason = "noise on a position: the points of a track average it out"
            yield finding(compiled, "SG004", path, reason)
        if _idle(step, places=bool(places.any()), texts=bool(texts.any())):
            reason = f"{name}: no item of this rule can take it"
            yield finding(compiled, "SG013", path, reason)


def _idle(step: Transform, *, places: bool, texts: bool) -> bool:
    if isinstance(step, Grid | TripEnds):
        return not places
    return isinstance(step, Mask) and not texts


def _idle_rules(compiled: Compiled) -> Iterator[Finding]:
    """One line for all rules that have nothing to do here; normal for other models."""
    busy = {f.number for f in compiled.forms if f.items.any() or f.refused or f.cut}
    rules = compiled.document.model.rules
    names = [rule.name for number, rule in enumerate(rules) if number not in busy]
    if names and len(compiled.policy.items):
        shown = ", ".join(names[:NAMES_SHOWN_MAX])
        more = len(names) - NAMES_SHOWN_MAX
        shown = f"{shown} and {more} more" if more > 0 else shown
        reason = f"{len(names)} rules match no bound item: {shown}"
        yield finding(compiled, "SG008", ("rules",), reason)


def _policy(compiled: Compiled) -> Iterator[Finding]:
    model, items = compiled.document.model, compiled.policy.items
    bound = set(items.name)
    hints: dict[str, str] = {}
    for number, rule in enumerate(model.rules):
        for name in rule.match.when:
            if name not in bound:
                path: Path = ("rules", number, "match", "when", name)
                if name not in hints and len(hints) < HINTS_MAX:
                    hints[name] = nearest(name, bound)
                hint = hints.get(name, "")
                reason = "this item is not bound here, so it never holds"
                reason = f"{reason}; {hint}" if hint else reason
                yield finding(compiled, "SG009", path, reason)
    for name, text in model.retention.items():
        is_track = is_under(name, "location") and name != COARSE_CATEGORY
        if is_track and duration_ns(text) > TRACK_RETENTION_NS_MAX:
            reason = "positions are kept longer than 14 days"
            yield finding(compiled, "SG010", ("retention", name), reason)
    for group in np.unique(items.group[items.group >= 0]).tolist():
        roles = set(items.role[items.group == group].tolist())
        if not set(_PLACE) <= roles:
            reason = "a position needs both latitude and longitude; this one stays"
            yield finding(compiled, "SG011", (), reason)
    yield from _idle_rules(compiled)
    stay = unclassified(items)
    if stay:
        shown = ", ".join(stay[:NAMES_SHOWN_MAX])
        reason = f"{len(stay)} items are in no catalogue and stay: {shown}"
        yield finding(compiled, "SG012", ("catalogues",), reason)
