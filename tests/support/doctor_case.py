"""One case of a doctor's check: how it is spoilt, what is told, how it is mended."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.support.doctor_house import House

Act: TypeAlias = Callable[["House"], Any]


def nothing(_: House) -> None:
    """Leave all as it is."""


@dataclass(frozen=True)
class Case:
    """``mend``: for a fix line that no script can follow, what a person then does.

    The keys are what the line must match; its groups are given to the act.
    """

    id: str
    name: str
    verdict: str
    says: str
    seed: Act
    prepare: Act = nothing
    around: Callable[[House], AbstractContextManager[Any]] = contextlib.nullcontext
    given: dict[str, str] = field(default_factory=dict)
    mend: tuple[str, Callable[..., Any]] | None = None
    also: tuple[str, ...] = ()  # other checks that the fault cannot but touch
    as_root: bool = False  # only root can seed it
    whole: tuple[str, ...] = ()  # what is examined; (): its group

    @property
    def looked(self) -> tuple[str, ...]:
        """Return the checks and groups that are examined."""
        return self.whole or (self.id.partition(".")[0],)

    def follow(self, house: House, fix: str) -> None:
        """Do what the fix line says."""
        if self.mend is None:
            house.follow(fix, self.given)
            return
        pattern, act = self.mend
        found = re.search(pattern, fix)
        assert found, f"{fix!r} does not say {pattern!r}"
        act(house, *found.groups())

    def __str__(self) -> str:
        return f"{self.id}-{self.name}"
