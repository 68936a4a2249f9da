"""Differences beside the rules: destinations, classification, retention, sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from policies.catalogue import is_under
from policies.compile import DEVICE
from policies.diff.columns import place
from policies.diff.difference import Kind, Line, is_guarded
from policies.diff.firewall import firewall_lines
from policies.diff.strength import SUITES
from policies.words import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from policies.diff.columns import Pair, Side
    from policies.tables import CompiledConsent, CompiledDestination
    from protocols.labels import Label

NAMES_MAX: Final = 3
# Fields of a policy that are compared as what they compile to, or say nothing about
# protection. Every other one is compared as it stands, and guarded (fail closed).
COMPARED: Final = frozenset({
    "schema", "name", "version", "note", "catalogues", "destinations", "custodian",
    "zones", "rules", "combinations", "volumes",
    "retention", "telemetry", "min_version", "consents", "ignition", "modbus",
})  # fmt: skip


# --- Destinations ---------------------------------------------------------------------


def places(pair: Pair, name: str) -> list[Line]:
    """Return what is new about a destination itself, whatever goes there."""
    if name == DEVICE:  # what it keeps, and for whom, the rules tell
        return []
    old, new = (place(side, name) for side in pair.sides)
    if old is None and new is not None:
        told = f"new destination in {new.region}: {', '.join(new.recipients)}"
        return [_of(Kind.LOOSER, name, "", f"{told}, {new.suite}", "")]
    if new is None and old is not None:
        return [_of(Kind.TIGHTER, name, "a destination", "no destination any more", "")]
    assert old is not None
    assert new is not None
    return [
        *_recipients(pair, name, old, new),
        *_region(name, old, new),
        *_suite(name, old, new),
    ]


def _recipients(
    pair: Pair, name: str, old: CompiledDestination, new: CompiledDestination
) -> Iterator[Line]:
    assert pair.old is not None  # it has the destination
    had = {pair.key_of(pair.old, one) for one in old.recipients}
    have = {pair.key_of(pair.new, one) for one in new.recipients}
    if had == have:
        return
    kind = Kind.CHANGED
    if had < have:
        kind = Kind.LOOSER
    elif have < had:
        kind = Kind.TIGHTER
    why = f"new recipient: {', '.join(sorted(have - had))}" if have - had else ""
    before, after = (f"sealed to {', '.join(sorted(one))}" for one in (had, have))
    yield _of(kind, name, before, after, why)


def _region(
    name: str, old: CompiledDestination, new: CompiledDestination
) -> Iterator[Line]:
    if old.region != new.region:
        why = f"another region: {new.region}"
        yield _of(Kind.CHANGED, name, f"in {old.region}", f"in {new.region}", why)


def _suite(
    name: str, old: CompiledDestination, new: CompiledDestination
) -> Iterator[Line]:
    if old.suite != new.suite:
        had, have = SUITES.get(old.suite, 0), SUITES.get(new.suite, 0)
        why = f"a weaker suite: {new.suite}"
        kind = Kind.LOOSER if have < had else Kind.TIGHTER
        if have == had:
            kind, why = Kind.CHANGED, f"another suite: {new.suite}"
        yield _of(kind, name, old.suite, new.suite, why if kind != Kind.TIGHTER else "")
    if old.confirm != new.confirm:
        looser = new.confirm == "puback"
        why = "leaves the spool on the broker's word alone" if looser else ""
        kind = Kind.LOOSER if looser else Kind.TIGHTER
        before, after = (f"confirmed by {one.confirm}" for one in (old, new))
        yield _of(kind, name, before, after, why)


def _of(kind: Kind, name: str, before: str, after: str, why: str) -> Line:
    return Line(kind, name, (), 0, "", None, before, after, why, is_guarded=False)


# --- Classification -------------------------------------------------------------------


def classifications(pair: Pair) -> Iterator[Line]:
    """Yield the items whose label is another one: a lower one is looser (GOV-04)."""
    facts = pair.labels()
    both = np.flatnonzero((facts >= 0).all(axis=1) & (facts[:, 0] != facts[:, 1]))
    if not len(both):
        return
    found, number = np.unique(facts[both], axis=0, return_inverse=True)
    for at in range(len(found)):
        items = both[number.reshape(-1) == at].tolist()
        old, new = (pair.label_of(side, items[0]) for side in pair.sides)
        assert old is not None
        assert new is not None
        kind = Kind.CHANGED
        if old.covers(new):
            kind = Kind.LOOSER
        elif new.covers(old):
            kind = Kind.TIGHTER
        yield Line(
            kind,
            "",
            tuple(pair.items[item][0] for item in items[:NAMES_MAX]),
            len(items),
            pair.category(items[0]),
            old.join(new),
            f"classified {old}",
            str(new),
            "" if kind == Kind.TIGHTER else f"classified {new} now, {old} before",
            is_guarded(old.join(new)),
        )


# --- Retention and the rest -----------------------------------------------------------


def settings(pair: Pair) -> Iterator[Line]:
    """Yield what differs for the policy as a whole."""
    yield from firewall_lines(
        None if pair.old is None else pair.old.compiled, pair.new.compiled
    )
    if pair.old is None:
        return
    yield from _retention(pair.old, pair.new)
    yield from _consents(pair.old, pair.new)
    yield from _ignition(pair.old, pair.new)
    yield from _volumes(pair.old, pair.new)
    old, new = pair.old.compiled, pair.new.compiled
    for what, had, have in (
        ("telemetry every", old.policy.telemetry_ns, new.policy.telemetry_ns),
        ("checkpoints every", old.policy.checkpoint_ns, new.policy.checkpoint_ns),
    ):
        if had != have:
            kind = Kind.LOOSER if have > had else Kind.TIGHTER
            why = "is seen more rarely" if have > had else ""
            yield _of(kind, "", f"{what} {span(had)}", f"{what} {span(have)}", why)
    before, after = old.document.model, new.document.model
    if before.min_version != after.min_version:
        lower = after.min_version < before.min_version
        kind = Kind.LOOSER if lower else Kind.TIGHTER
        why = "older policies may come back" if lower else ""
        words = [f"min_version {one.min_version}" for one in (before, after)]
        yield _of(kind, "", words[0], words[1], why)
    for field in before.__struct_fields__:
        if field not in COMPARED and getattr(before, field) != getattr(after, field):
            why = f"the section {field} differs, and it is not compared in words"
            yield Line(
                Kind.CHANGED, "", (), 0, "", None, f"{field} as before", "another one",
                why, is_guarded=True,
            )  # fmt: skip


def _retention(old: Side, new: Side) -> Iterator[Line]:
    """Yield per pair of spans the categories, of bound items, that it holds for."""
    named = {*old.policy.retention_ns, *new.policy.retention_ns}
    bound = {*old.policy.items.category, *new.policy.items.category} - {""}
    spans: dict[tuple[int, int], list[str]] = {}
    for category in sorted(named | bound):
        had, have = _kept_ns(old, category), _kept_ns(new, category)
        if had != have:
            spans.setdefault((had, have), []).append(category)
    for (had, have), categories in spans.items():
        kind = Kind.LOOSER if have > had else Kind.TIGHTER
        why = "is retained longer" if have > had else ""
        for category in categories:
            if any(category != one and is_under(category, one) for one in categories):
                continue  # told with the one above it
            label = _label(old, new, category)
            yield Line(
                kind,
                DEVICE,
                (),
                0,
                category,
                label,
                f"retained {span(had)}",
                span(have),
                why,
                label is not None and is_guarded(label),
            )


def _consents(old: Side, new: Side) -> Iterator[Line]:
    """Yield what is new about consents that both sides know by name.

    A new consent opens nothing by itself and a lost one shuts nothing: rules do.
    """
    before = {one.name: one for one in old.policy.consents}
    for have in new.policy.consents:
        had = before.get(have.name)
        if had is None or had == have:
            continue
        looser = tighter = have.terms != had.terms and set(have.classes) == set(
            had.classes
        )
        for more, less in ((have, had), (had, have)):
            opens = (
                more.at_most_ns > less.at_most_ns
                or more.survives_ignition > less.survives_ignition
                or not set(more.classes) <= set(less.classes)
            )
            looser |= opens and more is have
            tighter |= opens and more is had
        label = _joined(
            _label(old, new, category) for category in {*had.classes, *have.classes}
        )
        yield Line(
            _kind(looser=looser, tighter=tighter),
            "",
            (),
            0,
            ", ".join(sorted({*had.classes, *have.classes})),
            label,
            f"consent {have.name}: {_consent_words(had)}",
            _consent_words(have),
            "a consent opens more, or something else" if looser else "",
            label is not None and is_guarded(label),
        )


def _consent_words(consent: CompiledConsent) -> str:
    until = " also after the ignition was off" if consent.survives_ignition else ""
    return f"{span(consent.at_most_ns)} at most{until}, {consent.about!r}"


def _ignition(old: Side, new: Side) -> Iterator[Line]:
    """Yield another way to tell a new ignition cycle: it ends consents."""
    before, after = (one.compiled.document.model.ignition for one in (old, new))
    if before == after:
        return
    words = [
        f"ignition told by {one.item if one else 'a start of the agent alone'}"
        for one in (before, after)
    ]
    kind = _kind(looser=before is not None, tighter=after is not None)
    why = "consents may end later" if kind != Kind.TIGHTER else ""
    yield _of(kind, "", words[0], words[1], why)


def _volumes(old: Side, new: Side) -> Iterator[Line]:
    """Yield the volumes that count other categories: they are reached later, or sooner.

    Limits, windows and labels above are conditions and outputs of rules: those tell
    them. What a limit counts is in no rule.
    """
    before = {one.table.name: one for one in old.compiled.volumes}
    for have in new.compiled.volumes:
        had = before.get(have.table.name)
        if had is None or set(had.prefixes) == set(have.prefixes):
            continue
        named = sorted({*had.prefixes, *have.prefixes})
        label = _joined([had.label, have.label, *(_label(old, new, n) for n in named)])
        looser = not _all_under(had.prefixes, have.prefixes)
        yield Line(
            _kind(looser=looser, tighter=not _all_under(have.prefixes, had.prefixes)),
            "",
            (),
            0,
            ", ".join(named),
            label,
            f"the volume {have.table.name} counts {', '.join(had.prefixes)}",
            ", ".join(have.prefixes),
            "what it counts no more leaves beside the limit" if looser else "",
            label is not None and is_guarded(label),
        )


def _all_under(names: Iterable[str], prefixes: Iterable[str]) -> bool:
    known = tuple(prefixes)
    return all(any(is_under(name, one) for one in known) for name in names)


def _kind(*, looser: bool, tighter: bool) -> Kind:
    if looser and tighter:
        return Kind.CHANGED
    return Kind.LOOSER if looser else Kind.TIGHTER


def _joined(labels: Iterable[Label | None]) -> Label | None:
    found: Label | None = None
    for label in labels:
        if label is not None:
            found = label if found is None else found.join(label)
    return found


def _kept_ns(side: Side, category: str) -> int:
    """Return how long records of a category are kept: the longest prefix says."""
    parts = category.split(".")
    for length in range(len(parts), 0, -1):
        found = side.policy.retention_ns.get(".".join(parts[:length]))
        if found is not None:
            return found
    return side.policy.retention_default_ns


def _label(old: Side, new: Side, category: str) -> Label | None:
    """Return the gravest label below a category in either catalogue."""
    known = [side.compiled.catalogues for side in (old, new)]
    return _joined(one.labels[name] for one in known for name in one.under(category))
