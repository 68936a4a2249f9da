"""Catalogues: what an item is. Patterns give a category, the category gives the label.

The most specific pattern wins; between equally specific ones the graver label does
(MIITM art. 13: what cannot be told apart takes the highest level). A binding's own
``category`` wins over all patterns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.errors import nearest, shown
from policies.quantities import ItemGlob, specificity
from policies.tables import Role
from protocols.labels import Form, Geo, Label, Pi, Recognition, Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.matching import Matcher
    from policies.model import Catalogue, Entry, LabelFile
    from policies.parse import Document

ROLES: Final = {role.name.lower(): role for role in Role if role != Role.NONE}


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A compiled pattern of one entry or role."""

    rank: tuple[int, ...]  # larger wins
    text: str
    match: ItemGlob
    number: int  # of the entry or role, in order


@dataclass(frozen=True, slots=True)
class RoleHit:
    """What part of which position an item is."""

    role: Role
    group: str


_NO_ROLE: Final = RoleHit(Role.NONE, "")


class CatalogueSet:
    """The catalogues of one policy, joined: a category means one thing in all."""

    def __init__(self, documents: Sequence[Document[Catalogue]]) -> None:
        """Compile all patterns.

        PolicyError for a category, id or pattern that is there twice, or a bad pattern.
        """
        self.documents = tuple(documents)
        self.entries: dict[str, Entry] = {}
        self.labels: dict[str, Label] = {}
        self._patterns: list[_Pattern] = []
        self._names: list[str] = []
        self._roles: list[_Pattern] = []
        self._role_hits: list[RoleHit] = []
        ids: dict[str, str] = {}
        seen: dict[str, str] = {}
        for document in documents:
            for number, entry in enumerate(document.model.categories):
                path = ("categories", number)
                if self.entries.get(entry.category) == entry:
                    continue  # what belongs to every tree stands in each catalogue
                if entry.category in self.entries:
                    raise document.error(
                        (*path, "category"), "this category is there already"
                    )
                if entry.id in ids:
                    raise document.error((*path, "id"), "this id is there already")
                ids[entry.id] = entry.category
                self._add(document, number, entry, seen)
            self._add_roles(document)
        self._patterns.sort(key=lambda one: one.rank, reverse=True)
        self._roles.sort(key=lambda one: one.rank, reverse=True)

    def _add(
        self,
        document: Document[Catalogue],
        number: int,
        entry: Entry,
        seen: dict[str, str],
    ) -> None:
        label = label_of(entry.label)
        self.entries[entry.category] = entry
        self.labels[entry.category] = label
        for index, pattern in enumerate(entry.items):
            path = ("categories", number, "items", index)
            if pattern in seen:
                raise document.error(
                    path, f"this pattern belongs to {shown(seen[pattern])} already"
                )
            seen[pattern] = entry.category
            try:
                match = ItemGlob(pattern)
            except ValueError as error:
                raise document.error(path, str(error)) from None
            literal, stars, letters = specificity(pattern)
            rank = (literal, label.pack(), stars, letters)
            self._patterns.append(_Pattern(rank, pattern, match, len(self._names)))
        self._names.append(entry.category)

    def _add_roles(self, document: Document[Catalogue]) -> None:
        for number, role in enumerate(document.model.roles):
            try:
                match = ItemGlob(role.item)
            except ValueError as error:
                raise document.error(("roles", number, "item"), str(error)) from None
            rank = specificity(role.item)
            self._roles.append(_Pattern(rank, role.item, match, len(self._role_hits)))
            self._role_hits.append(RoleHit(ROLES[role.role], role.group))

    def category_of(self, item: str) -> str:
        """Return the category that the patterns give an item, "" where none does."""
        for pattern in self._patterns:
            if pattern.match.fullmatch(item):
                return self._names[pattern.number]
        return ""

    def role_of(self, item: str) -> RoleHit:
        """Return what part of a position an item is.

        The group is the item's parent path where the catalogue names none.
        """
        for pattern in self._roles:
            if pattern.match.fullmatch(item):
                return self._role(pattern, item)
        return _NO_ROLE

    def categories_of(self, column: Matcher) -> list[str]:
        """Return the same as ``category_of`` for each name of a column."""
        found = column.first_of([one.text for one in self._patterns])
        names = [*(self._names[one.number] for one in self._patterns), ""]
        return [names[number] for number in found]

    def roles_of(self, column: Matcher, items: Sequence[str]) -> list[RoleHit]:
        """Return the same as ``role_of`` for each name of a column."""
        found = column.first_of([one.text for one in self._roles])
        return [
            _NO_ROLE if number < 0 else self._role(self._roles[number], item)
            for number, item in zip(found, items, strict=True)
        ]

    def _role(self, pattern: _Pattern, item: str) -> RoleHit:
        hit = self._role_hits[pattern.number]
        return RoleHit(hit.role, hit.group or item.rpartition(".")[0])

    def under(self, prefix: str) -> tuple[str, ...]:
        """Return the categories that a dotted prefix names; () where there are none."""
        return tuple(name for name in self.entries if is_under(name, prefix))

    def hint(self, name: str) -> str:
        """Return the nearest category or prefix of one, as a question."""
        known = set(self.entries)
        for category in self.entries:
            parts = category.split(".")
            known |= {".".join(parts[:end]) for end in range(1, len(parts))}
        return nearest(name, known)


def is_under(category: str, prefix: str) -> bool:
    """Tell whether ``category`` is ``prefix`` or below it (whole dotted parts)."""
    return category == prefix or category.startswith(prefix + ".")


def label_of(label: LabelFile) -> Label:
    """Return the label of a catalogue file's five words."""
    return Label(
        Tier[label.tier.upper()],
        Pi[label.pi.upper()],
        Form[label.form.upper()],
        Geo[label.geo.upper()],
        Recognition[label.recognition.upper()],
    )
