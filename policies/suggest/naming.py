"""Item names for proposals: VSS paths where one fits, unique within one draft."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING, Final

from policies.quantities import NAME_CHARACTERS_MAX
from policies.suggest.makers import CORNERS
from policies.suggest.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.suggest.suggesting import Proposal

_PART: Final = re.compile(r"[^A-Za-z0-9]+")
_NAME_PART_MAX: Final = 80
NUMBER_CHARACTERS: Final = 8  # room for _2 and so on


class Namer:
    """Hands out item names; the same name is never given twice."""

    def __init__(self) -> None:
        """Start with no name given."""
        self._given: set[str] = set()
        self._next: dict[str, int] = {}  # below it, every number of a name is given

    def name(self, proposal: Proposal) -> str:
        """Return an item name of the proposal's form.

        Where the form's own name is taken, the signal's name tells the difference, then
        the message's, then a number.
        """
        facts = proposal.facts
        own, group = camel(facts.name), camel(facts.group)
        plain = _filled(proposal.form.replace("{Group}", group), own, facts.name)
        parent = plain.rpartition(".")[0] or "Vehicle"
        full = f"{parent}.{group}.{own}"[: NAME_CHARACTERS_MAX - NUMBER_CHARACTERS]
        numbered = self._numbered(full)
        choices = chain((plain, f"{parent}.{own}", full), numbered)
        cut = (one[:NAME_CHARACTERS_MAX] for one in choices)
        found = next(one for one in cut if one not in self._given)
        self._given.add(found)
        return found

    def _numbered(self, full: str) -> Iterator[str]:
        for number in count(self._next.get(full, 2)):
            self._next[full] = number
            yield f"{full}_{number}"


def camel(name: str) -> str:
    """Return a name as one part of an item: letters and digits, CamelCase."""
    words = [part for part in _PART.split(name) if part]
    text = "".join(word[:1].upper() + _tail(word) for word in words)
    text = text if text[:1].isalpha() else f"N{text}"
    return text[:_NAME_PART_MAX]


def _tail(word: str) -> str:
    """Lower the rest of a word that is written in capitals throughout."""
    return word[1:].lower() if word.isupper() and len(word) > 3 else word[1:]


def _filled(form: str, own: str, name: str) -> str:
    if "{row}" not in form:
        return form.replace("{Name}", own)
    corner = next((CORNERS[part] for part in tokens(name) if part in CORNERS), None)
    if corner is None:
        return f"{form.partition('.Row')[0]}.Row0.Wheel.{own}.{form.rpartition('.')[2]}"
    row, side = corner
    return form.format(row=row, side=side, Name=own)
