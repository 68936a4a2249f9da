"""The filing of a catalogue of important and core data: eleven fields per category.

MIITM article 12 names the fields; the data itself is never among them. What policy,
bindings and counters tell is filled in; what only a person can tell comes from a file,
or is marked. An earlier filing shows what has changed (T30: by 30 %, or any field).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.errors import BadInput
from policies.tables import Action
from policies.words import transform_words
from protocols.labels import Label, Recognition, Tier, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from policies.compile import Compiled
    from policies.tables import CompiledRule

SCHEMA: Final = "sluicegate/filing/1"
FIELDS: Final = (
    "data_source", "category", "level", "scale", "carrier", "purpose_and_method",
    "scope_of_use", "responsible_entity", "external_sharing", "cross_border_transfer",
    "protection_measures",
)  # fmt: skip
NO_RULE: Final = "dropped: no rule lets it out"
TO_FILL: Final = "to be filled"
DRIFT: Final = 0.30  # T30, MIITM 12
_NONE: Final = "none"
_COUNTED: Final = ("items", "rows", "subjects", "samples_read")


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much there is; -1: nothing here could count it."""

    items: int  # bound on one device
    rows: int = -1  # of this category, in the collector's ledger
    subjects: int = -1  # devices that they came from
    samples_read: int = -1  # of this level, by the devices' counters


class Filed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One category as it is filed."""

    id: str
    category: str
    data_source: str
    level: str
    scale: Scale
    carrier: str
    purpose_and_method: str
    scope_of_use: str
    responsible_entity: str
    external_sharing: str
    cross_border_transfer: str
    protection_measures: str


class Filing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole filing, and which policy it was made from."""

    schema: str
    policy: str
    version: int
    digest: str
    categories: tuple[Filed, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What ledger or store have counted; never a value."""

    rows: Mapping[str, int] | None  # by category; None: nothing counts them here
    subjects: Mapping[str, int] | None  # devices, by category
    read: Mapping[str, int]  # samples read, by label in its text form
    where: tuple[str, ...] = ()  # carriers that were looked into


def filing(
    compiled: Compiled,
    counts: Counts | None,
    said: Mapping[str, Mapping[str, str]],
    *,
    everything: bool,
) -> Filing:
    """Return the filing of a policy with its bindings.

    ``said``: what persons told, by category, "" for all. Without ``everything`` only
    what is important or core, or may become it, is filed.
    """
    policy = compiled.policy
    rows: dict[str, list[int]] = {}
    for row, category in enumerate(policy.items.category):
        if category:
            rows.setdefault(category, []).append(row)
    filed = [
        _filed(compiled, category, members, counts, said)
        for category, members in sorted(rows.items())
        if everything or _is_grave(compiled, category)
    ]
    return Filing(
        SCHEMA, policy.name, policy.version, policy.digest.hex(), tuple(filed)
    )


def _is_grave(compiled: Compiled, category: str) -> bool:
    """Important or core by its label, a candidate, or raised to it by the catalogue."""
    label = compiled.catalogues.labels[category]
    raised = compiled.catalogues.entries[category].raises
    words = " ".join(one.to.lower() for one in raised)
    return (
        label.tier >= Tier.IMPORTANT
        or label.recognition >= Recognition.CANDIDATE
        or "important" in words
        or "core" in words
    )


def _filed(
    compiled: Compiled,
    category: str,
    members: Sequence[int],
    counts: Counts | None,
    said: Mapping[str, Mapping[str, str]],
) -> Filed:
    entry = compiled.catalogues.entries[category]
    label = _label(compiled, members)
    items = compiled.policy.items
    names = {items.source[row] for row in members} if items.source else set()
    out = {
        "data_source": "devices' buses and links: " + _list(names),
        "level": _level(label, [one.to for one in entry.raises]),
        "carrier": _list(("encrypted store of the device", *_where(counts))),
        "responsible_entity": TO_FILL,
        **_decided(compiled, members),
    }
    told = {**said.get("", {}), **said.get(category, {})}
    scale = Scale(len(members))
    if counts is not None:
        scale = Scale(
            len(members),
            -1 if counts.rows is None else counts.rows.get(category, 0),
            -1 if counts.subjects is None else counts.subjects.get(category, 0),
            counts.read.get(str(label), 0),
        )
    return Filed(id=entry.id, category=category, scale=scale, **{**out, **told})


def _label(compiled: Compiled, members: Sequence[int]) -> Label:
    """Return the gravest of the category's labels (MIITM 13)."""
    labels = [unpack(int(compiled.policy.items.label[row])) for row in members]
    whole = labels[0]
    for one in labels[1:]:
        whole = whole.join(one)
    return whole


def _level(label: Label, raises: Sequence[str]) -> str:
    grown = [word for word in raises if "important" in word or "core" in word]
    return f"{label}" + (f"; may become {_list(grown)}" if grown else "")


def _where(counts: Counts | None) -> tuple[str, ...]:
    return counts.where if counts else ()


def _decided(compiled: Compiled, members: Sequence[int]) -> dict[str, str]:
    """Return what the rules make of a category, in words."""
    policy = compiled.policy
    purposes: set[str] = set()
    methods: set[str] = set()
    scope: set[str] = set()
    sharing: set[str] = set()
    abroad: set[str] = set()
    measures: set[str] = set()
    home = compiled.document.model.home_region
    for place in policy.destinations:
        for rule in _rules(policy.rules, place.chain[members].ravel().tolist()):
            methods |= {transform_words(step) for step in rule.transforms}
            if rule.action in {Action.DROP, Action.KEEP}:
                word = "dropped" if rule.action == Action.DROP else "kept on the device"
                measures.add(f"{word} by {rule.name}")
                continue
            purposes |= {rule.purpose} - {""}
            scope.add(f"{place.name} ({rule.name})")
            sharing.add(f"{place.name}: {_list(place.recipients)}")
            is_sealed = rule.action == Action.ENCRYPT
            measures.add(f"sealed with {place.suite}" if is_sealed else "signed, open")
            measures |= {transform_words(step) for step in rule.transforms}
            if place.region != home:
                abroad.add(f"{place.name} in {place.region}")
    return {
        "purpose_and_method": f"{_list(purposes)}; {_list(methods)}",
        "scope_of_use": _list(scope),
        "external_sharing": _list(sharing),
        "cross_border_transfer": _list(abroad),
        "protection_measures": _list(measures) if measures else NO_RULE,
    }


def _rules(rules: Sequence[CompiledRule], numbers: Iterable[int]) -> list[CompiledRule]:
    return [rules[number] for number in sorted(set(numbers)) if number >= 0]


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words))) or _NONE


# --- Drift ---------------------------------------------------------------------------


def parse_filing(body: bytes, file: str) -> Filing:
    """Return an earlier filing; BadInput where the file is none."""
    try:
        found = msgspec.json.decode(body, type=Filing)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(file, "", str(error), "made by --json") from None
    if found.schema != SCHEMA:
        raise BadInput(file, "schema", f"is not {SCHEMA}")
    return found


def drift(old: Filing, new: Filing) -> list[tuple[str, str, str]]:
    """Return (category, field, what happened) for all that asks for a new filing."""
    before = {one.category: one for one in old.categories}
    after = {one.category: one for one in new.categories}
    out = [(name, "category", "is new") for name in sorted(set(after) - set(before))]
    out += [(name, "category", "is gone") for name in sorted(set(before) - set(after))]
    for name in sorted(set(before) & set(after)):
        out += _changed(before[name], after[name])
    return out


def _changed(old: Filed, new: Filed) -> list[tuple[str, str, str]]:
    out = [
        (new.category, name, f"{getattr(old, name)} -> {getattr(new, name)}")
        for name in FIELDS
        if name not in {"scale", "category"}
        and getattr(old, name) != getattr(new, name)
    ]
    for name in _COUNTED:
        first, last = getattr(old.scale, name), getattr(new.scale, name)
        if first < 0 or last < 0 or first == last:
            continue
        share = abs(last - first) / first if first else 1.0
        if share >= DRIFT:
            out.append((new.category, f"scale: {name}", f"{first} -> {last}"))
    return out
