"""Consents of a policy: what a person may agree to, checked and compiled.

A consent is for named classes of data, for a purpose, for a time (PIPL 14, 29; AUTO 9):
it has an end, always (T51: never "permanent" nor "always"). Its ``terms`` are a digest
of what the person was told; a policy that tells something else needs to ask again
(PIPL 14, second paragraph).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from policies.errors import nearest, shown
from policies.quantities import NS, duration_ns, item_name
from policies.tables import CompiledConsent, ItemTest

if TYPE_CHECKING:
    from policies.catalogue import CatalogueSet
    from policies.model import Policy
    from policies.parse import Document
    from policies.tables import ItemTable
    from policies.yaml_tree import Path

AT_MOST_NS_MAX: Final = 365 * 86_400 * NS  # ours: whoever means longer asks again
_ENDLESS: Final = frozenset(
    {"permanent", "permanently", "always", "forever", "never", "unlimited", "none", "0"}
)


def check_consents(document: Document[Policy], catalogues: CatalogueSet) -> None:
    """Raise PolicyError for the first consent that is none, or is not declared."""
    policy = document.model
    for name, consent in policy.consents.items():
        path: Path = ("consents", name)
        if not consent.about.strip():
            reason = "says nothing to the person who is asked"
            raise document.error((*path, "about"), reason)
        for number, category in enumerate(consent.categories):
            if not catalogues.under(category):
                reason = f"no such category: {shown(category)}"
                hint = catalogues.hint(category)
                raise document.error((*path, "categories", number), reason, hint)
        _check_end(document, consent.at_most, (*path, "at_most"))
    for number, rule in enumerate(policy.rules):
        name_or_none = rule.match.consent
        if name_or_none is not None and name_or_none not in policy.consents:
            known = ", ".join(policy.consents) or "none"
            hint = nearest(name_or_none, policy.consents) or f"known: {known}"
            reason = f"no such consent: {shown(name_or_none)}"
            raise document.error(("rules", number, "match", "consent"), reason, hint)
    if policy.ignition is not None:
        _check_ignition(document, policy.ignition.item, policy.ignition.on)


def _check_end(document: Document[Policy], text: str, path: Path) -> None:
    if text.strip().lower() in _ENDLESS:
        reason = f"a consent has an end, it is not {shown(text)} (T51)"
        raise document.error(path, reason, "1y at most, such as 30d")
    try:
        longest_ns = duration_ns(text)
    except ValueError as error:
        raise document.error(path, str(error)) from None
    if longest_ns > AT_MOST_NS_MAX:
        reason = f"a consent lasts a year at most, not {shown(text)} (T51)"
        raise document.error(path, reason, "1y at most, such as 30d")


def _check_ignition(document: Document[Policy], item: str, on: object) -> None:
    try:
        item_name(item)
    except ValueError as error:
        raise document.error(("ignition", "item"), str(error)) from None
    if isinstance(on, dict) and not on:
        raise document.error(("ignition", "on"), "compares with nothing")


def compiled_consents(document: Document[Policy]) -> tuple[CompiledConsent, ...]:
    """Return the consents of a checked policy, in the file's order."""
    out = []
    for name, consent in document.model.consents.items():
        told = (name, consent.about, sorted(consent.categories), consent.purpose)
        terms = hashlib.sha256(msgspec.json.encode(told)).digest()
        out.append(
            CompiledConsent(
                name,
                consent.about,
                tuple(consent.categories),
                terms,
                duration_ns(consent.at_most),
                consent.survives_ignition,
            )
        )
    return tuple(out)


def ignition_tests(
    document: Document[Policy], items: ItemTable
) -> tuple[ItemTest, ...]:
    """Return what holds while the ignition is on, all of it; none: nobody tells.

    The item may be bound on several buses; rows is empty where it is bound on none.
    """
    told = document.model.ignition
    if told is None:
        return ()
    rows = tuple(row for row, name in enumerate(items.name) if name == told.item)
    tests = told.on if isinstance(told.on, dict) else {"==": told.on}
    return tuple(ItemTest(rows, op, float(value)) for op, value in tests.items())
