"""What lint says of consents: SG030 to SG037 of ``lint_rules.py``.

SG032 takes as a reason: a consent, an ``approval`` (the reference of whatever decision
allows it without one), or a purpose of ``DUTIES``: what PIPL 13(3), (4) or (7) lets a
processor do without consent. Convenience, analytics and "safety" as such are not among
them: AUTO 9 asks for consent even where the purpose is driving safety. Aggregates of
one device are still about one person; only the form ``anonymous`` ends the question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from policies.catalogue import is_under
from policies.lint.findings import finding
from policies.rules import LEAVES, listed
from protocols.labels import Form, Pi, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.lint.findings import Finding
    from policies.model import Consent, Rule
    from policies.rules import RuleForm
    from policies.yaml_tree import Path

DUTIES: Final = frozenset({"emergency", "emergency-call", "legal-duty", "court-order"})
SHOWN_MAX: Final = 3


def consent_findings(compiled: Compiled) -> Iterator[Finding]:
    """Yield all that is odd about consents and who asks for them."""
    asked: set[str] = set()
    for form in compiled.forms:
        rule = compiled.document.model.rules[form.number]
        name = rule.match.consent
        if name is not None:
            asked.add(name)
            yield from _opened(compiled, form, rule, name)
        elif form.action in LEAVES:
            yield from _unasked(compiled, form, rule)
    yield from _declared(compiled, asked)
    yield from _ignition(compiled)


def _opened(
    compiled: Compiled, form: RuleForm, rule: Rule, name: str
) -> Iterator[Finding]:
    path: Path = ("rules", form.number, "match", "consent")
    consent = compiled.document.model.consents[name]
    if form.action not in LEAVES:
        reason = f"{form.action.name.lower()}s only while {name} is given"
        yield finding(
            compiled, "SG036", path, f"{reason}: without it later rules decide"
        )
        return
    beyond = _beyond(compiled, form, rule, consent)
    if beyond:
        shown = ", ".join(beyond[:SHOWN_MAX])
        reason = f"{name} is not for {shown}: a consent opens its own classes only"
        yield finding(compiled, "SG030", path, reason)
    if consent.purpose and form.purpose != consent.purpose:
        reason = (
            f"the person agrees to {consent.purpose}, the rule is for"
            f" {form.purpose or 'no purpose'}"
        )
        yield finding(compiled, "SG031", path, reason)


def _beyond(
    compiled: Compiled, form: RuleForm, rule: Rule, consent: Consent
) -> list[str]:
    """Return the categories that a rule means and its consent is not for."""
    items, match = compiled.policy.items, rule.match
    found = {items.category[row] for row in np.flatnonzero(form.items).tolist()}
    # Not bound here is bound elsewhere: a policy meets other vehicles than this one.
    narrowed = (match.item, match.pi, match.geo, match.min_tier, match.max_tier)
    if narrowed == (None,) * len(narrowed):
        found |= {*listed(match.category)} or {"everything"}
    return sorted(
        category
        for category in found
        if not any(is_under(category, one) for one in consent.categories)
    )


def _unasked(compiled: Compiled, form: RuleForm, rule: Rule) -> Iterator[Finding]:
    if rule.approval or form.purpose in DUTIES:
        return
    codes = [code for code in np.unique(form.label_out).tolist() if _is_sensitive(code)]
    rows = form.items & np.isin(form.label_out, codes)
    sensitive = {form.category_out[row] for row in np.flatnonzero(rows).tolist()}
    if sensitive:
        shown = ", ".join(sorted(sensitive)[:SHOWN_MAX])
        where = compiled.policy.destinations[form.destination].name
        reason = (
            f"sensitive personal data ({shown}) goes to {where} without a consent;"
            " where none is needed, say by which decision: approval"
        )
        yield finding(compiled, "SG032", ("rules", form.number), reason)


def _is_sensitive(packed: int) -> bool:
    label = unpack(packed)
    return label.pi == Pi.SENSITIVE and label.form != Form.ANONYMOUS


def _declared(compiled: Compiled, asked: set[str]) -> Iterator[Finding]:
    labels = compiled.catalogues.labels
    for name, consent in compiled.document.model.consents.items():
        path: Path = ("consents", name)
        if name not in asked:
            yield finding(compiled, "SG033", path, "no rule asks for this consent")
        classes = {
            category.partition(".")[0]
            for category, label in labels.items()
            if label.pi == Pi.SENSITIVE
            and any(is_under(category, one) for one in consent.categories)
        }
        if len(classes) > 1:
            shown = ", ".join(sorted(classes))
            reason = f"one consent for {shown}: each class is agreed to by itself"
            yield finding(compiled, "SG034", (*path, "categories"), reason)


def _ignition(compiled: Compiled) -> Iterator[Finding]:
    told = compiled.document.model.ignition
    if told is not None and told.item not in compiled.policy.items.name:
        reason = "is not bound here: only a start of the agent is a new ignition cycle"
        yield finding(compiled, "SG037", ("ignition", "item"), reason)
