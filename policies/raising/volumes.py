"""Volume lifts a label: so much of a category to one receiver is another category.

A rule whose output counts is compiled to two forms with a ``VolumeTest``: below the
limit it does what it says; above it the label is the graver one of both. If the match
of the rule does not accept that label, the form above the limit drops. So labels stay
static, and lint, floor and the seal see both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from policies.quantities import NS, duration_ns
from policies.raising.raised import Raised, accepts, check_category, declared, joined
from policies.rules import FORMS_MAX, LEAVES, listed
from policies.tables import Action, CompiledVolume, VolumeTest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.catalogue import CatalogueSet
    from policies.matching import Matcher
    from policies.model import Catalogue, Policy
    from policies.model_raising import Volume
    from policies.parse import Document
    from policies.rules import RuleForm
    from policies.yaml_tree import Path
    from protocols.frames import Bool
    from protocols.labels import Label

SLOTS: Final = 16  # of a window of samples: how exactly it slides
UNITS_NS: Final = {"hours": 3600 * NS, "days": 86_400 * NS}
CELLS_MAX: Final = 50_000_000  # of forms times items: three bytes each
WINDOW_NS_MIN: Final = NS
HOURS_WINDOW_NS_MAX: Final = 31 * 86_400 * NS  # each hour is a counter
WINDOW_NS_MAX: Final = 366 * 86_400 * NS


@dataclass(frozen=True, slots=True)
class VolumeRule:
    """A limit with its quantities read; ``table`` is what the data path gets of it."""

    table: CompiledVolume
    becomes: str
    label: Label
    prefixes: tuple[str, ...]


def read_volumes(
    policy: Document[Policy], catalogues: CatalogueSet
) -> tuple[VolumeRule, ...]:
    """Return those of the catalogues, then the policy's own.

    PolicyError where one is wrong, or a policy takes the name of a catalogue's.
    """
    said = declared(policy, catalogues, "volumes", lambda one: one.volumes)
    return tuple(
        _compiled(document, path, one, catalogues) for document, path, one in said
    )


def _compiled(
    document: Document[Policy] | Document[Catalogue],
    path: Path,
    given: Volume,
    catalogues: CatalogueSet,
) -> VolumeRule:
    prefixes = tuple(listed(given.category))
    here = (*path, "category")
    if not prefixes:
        raise document.error(here, "names nothing")
    check_category(document, here, catalogues, prefixes, prefix=True)
    here = (*path, "becomes")
    check_category(document, here, catalogues, [given.becomes], prefix=False)
    try:
        window_ns = _window_ns(given)
    except ValueError as error:
        raise document.error((*path, "window"), str(error)) from None
    slot_ns = UNITS_NS.get(given.unit) or -(-window_ns // SLOTS)
    by_time = given.unit in UNITS_NS
    table = CompiledVolume(given.name, given.more_than, window_ns, slot_ns, by_time)
    label = catalogues.labels[given.becomes]
    return VolumeRule(table, given.becomes, label, prefixes)


def _window_ns(given: Volume) -> int:
    window_ns = duration_ns(given.window)
    if given.unit == "samples":
        if not WINDOW_NS_MIN <= window_ns <= WINDOW_NS_MAX:
            raise ValueError("a window of 1 s to 366 d is needed")
        return window_ns
    longest_ns = HOURS_WINDOW_NS_MAX if given.unit == "hours" else WINDOW_NS_MAX
    if window_ns > longest_ns:
        days = longest_ns // UNITS_NS["days"]
        raise ValueError(f"a window of {given.unit} is {days} d at most")
    if given.more_than * UNITS_NS[given.unit] >= window_ns:
        reason = f"holds no more than {given.more_than} {given.unit}: never reached"
        raise ValueError(reason)
    return window_ns


def with_volumes(
    document: Document[Policy],
    forms: Sequence[RuleForm],
    volumes: Sequence[VolumeRule],
    matcher: Matcher,
) -> tuple[RuleForm, ...]:
    """Return the rules with the forms of what counts, in their order."""
    now = list(forms)
    for number, volume in enumerate(volumes):
        now = [
            one
            for form in now
            for one in _split(
                document.model, form, number, volume, _counted(form, volume, matcher)
            )
        ]
        made = len(now) - len(forms)
        items = len(forms[0].items) if forms else 0
        if len(now) > FORMS_MAX or made * items > CELLS_MAX:
            reason = "too many rules, destinations and volumes that count for one item"
            raise document.error(("volumes",), reason)
    return tuple(now)


def _split(
    policy: Policy, form: RuleForm, number: int, volume: VolumeRule, counts: Bool
) -> Iterator[RuleForm]:
    """Yield one rule's forms for one limit: what does not count, below, above.

    ``counts``: its items that do.
    """
    if not counts.any():
        yield form
        return
    rest = form.items & ~counts
    if rest.any() or form.refused:
        yield replace(form, items=rest)
    places = list(policy.destinations.values())
    recipients = tuple(places[form.destination].recipients)
    below, above = (
        VolumeTest(volume.table, recipients, above=up) for up in (False, True)
    )
    marked = (*form.volumes, number)
    yield replace(
        form,
        items=counts,
        refused=(),
        volumes=marked,
        conditions=(*form.conditions, below),
    )
    label = form.label_out.copy()
    label[counts] = joined(label[counts], volume.label)
    passes = accepts(policy.rules[form.number].match, label)
    passes |= label == form.label_out
    refused = counts & ~passes
    for rows, action in ((counts & passes, form.action), (refused, Action.DROP)):
        if not rows.any():
            continue
        told = Raised(volume.table.name, volume.becomes, _numbers(rows))
        lets_out = action in LEAVES
        yield replace(
            form,
            items=rows,
            refused=(),
            action=action,
            transforms=form.transforms if lets_out else (),
            label_out=label,
            raised=(*form.raised, told),
            volumes=marked if lets_out else (),
            conditions=(*form.conditions, above),
        )


def _counted(form: RuleForm, volume: VolumeRule, matcher: Matcher) -> Bool:
    if form.action not in LEAVES:
        return np.zeros_like(form.items)
    return form.items & matcher.under(form.category_out, volume.prefixes)


def _numbers(rows: Bool) -> tuple[int, ...]:
    return tuple(np.flatnonzero(rows).tolist())
