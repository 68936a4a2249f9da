"""How two policies differ, as records: lines in words, and what is weakened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from protocols.labels import Recognition, Tier

if TYPE_CHECKING:
    from protocols.labels import Label


class Kind(StrEnum):
    """In which direction a line goes; ``changed`` counts as looser (fail closed)."""

    LOOSER = "looser"
    CHANGED = "changed"
    TIGHTER = "tighter"


@dataclass(frozen=True, slots=True)
class Line:
    """One difference. ``items`` empty: of the destination or policy as a whole."""

    kind: Kind
    destination: str  # "" = all
    items: tuple[str, ...]  # the first few
    count: int  # of all of them
    category: str
    label: Label | None  # the graver of both sides
    before: str
    after: str
    why: str  # it is looser
    is_guarded: bool

    @property
    def weakens(self) -> bool:
        """Tell whether it weakens the protection of some data, or may."""
        is_data = bool(self.items or self.category) or self.is_guarded
        return is_data and self.kind != Kind.TIGHTER

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        more = self.count - len(self.items)
        what = ", ".join(self.items) + (f" and {more} more" if more > 0 else "")
        of = f"{what} ({self.category or 'unclassified'})" if what else self.category
        to = f"to {self.destination}" if self.destination else ""
        head = " ".join(part for part in (of, to) if part) or "the policy"
        change = f"{self.before}; now {self.after}" if self.before else self.after
        # "kept back before, leaves sealed now" is what the change says already
        more_to_say = self.why and not self.why.endswith(" now")
        return f"{head}: {change}" + (f" [{self.why}]" if more_to_say else "")


@dataclass(frozen=True, slots=True)
class Weakening:
    """Data whose protection a new policy weakens, or may weaken."""

    item: str  # the first of ``count``, "" where it is about a whole category
    category: str
    tier: Tier | None  # None: of no one category
    destination: str
    why: str
    count: int
    is_guarded: bool  # important or core: two different approvers (GOV-04)


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs. The guarded lines stand first."""

    lines: tuple[Line, ...]
    weakens: tuple[Weakening, ...]
    omitted: int = 0  # lines beyond those that are kept

    @property
    def looser(self) -> tuple[Line, ...]:
        """Return what lets out more."""
        return self._of(Kind.LOOSER)

    @property
    def tighter(self) -> tuple[Line, ...]:
        """Return what lets out less."""
        return self._of(Kind.TIGHTER)

    @property
    def changed(self) -> tuple[Line, ...]:
        """Return what cannot be ranked: it counts as looser."""
        return self._of(Kind.CHANGED)

    @property
    def is_looser(self) -> bool:
        """Tell whether anything is, or may be, looser."""
        return any(line.kind != Kind.TIGHTER for line in self.lines)

    @property
    def guarded(self) -> tuple[Weakening, ...]:
        """Return the weakenings that need two different approvers (GOV-04)."""
        return tuple(one for one in self.weakens if one.is_guarded)

    def _of(self, kind: Kind) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.kind == kind)


def is_guarded(label: Label) -> bool:
    """Tell whether weakening it needs two different approvers (GOV-04)."""
    return label.tier >= Tier.IMPORTANT or label.recognition > Recognition.NONE
