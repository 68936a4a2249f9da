"""Consents, slowly: by id, from docs/formats/consents.md, sharing no code.

One dictionary per id and every rule asked again each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.consent_file import Statement
    from policies.tables import CompiledConsent

S = 1_000_000_000


@dataclass
class Life:
    """What is known of one id."""

    statement: Statement
    terms: bytes | None = None  # told when it came on; None: never was
    dead: bool = False
    destroyed: bool = False  # what waited under it was to go


@dataclass
class Book:
    """Everything, as an oracle sees it."""

    policy: dict[str, CompiledConsent]
    file: dict[str, Statement] | None = None
    lives: dict[str, Life] = field(default_factory=dict)
    started: bool = False

    def take(self, statements: list[Statement]) -> None:
        self.file = {one.name: one for one in statements}
        for one in statements:
            self.lives.setdefault(one.id, Life(one))
        if not self.started:
            self.started = True
            self.ignition()

    def unread(self) -> None:
        self.file = None

    def ignition(self) -> None:
        for identity, life in self.lives.items():
            in_file = self.file is not None and identity in {
                one.id for one in self.file.values()
            }
            if (life.terms is not None or in_file) and not self._survives(life):
                life.dead = True

    def _survives(self, life: Life) -> bool:
        declared = self.policy.get(life.statement.name)
        if life.terms is not None:  # as it was when it came on
            return life.statement.opt_in
        allowed = declared is not None and declared.survives_ignition
        return life.statement.opt_in and allowed

    def holding(self, now_ns: int, *, clock_ok: bool) -> set[str]:
        """Return the names that hold now; call it after every event."""
        for life in self.lives.values():
            if life.terms is not None and not life.destroyed:
                self._ended(life, now_ns, clock_ok)
        if self.file is None or not clock_ok:
            return set()
        found = set()
        for name, one in self.file.items():
            life = self.lives[one.id]
            declared = self.policy.get(name)
            if declared is None or life.dead or not self._allowed(one, declared):
                continue
            if one.given * S > now_ns + 300 * S or now_ns >= one.expires * S:
                continue
            if life.terms is None:
                life.terms = declared.terms
                self._replaced(name, one.id)
            if life.terms == declared.terms:
                found.add(name)
        return found

    @staticmethod
    def _allowed(one: Statement, declared: CompiledConsent) -> bool:
        span_ns = (one.expires - one.given) * S
        too_much = one.opt_in and not declared.survives_ignition
        return 0 < span_ns <= declared.at_most_ns and not too_much

    def _replaced(self, name: str, identity: str) -> None:
        for other, life in self.lives.items():
            same = life.statement.name == name and other != identity
            if same and life.terms is not None:
                life.dead = life.destroyed = True  # renewed: nothing more to say of it

    def _ended(self, life: Life, now_ns: int, clock_ok: bool) -> None:
        """Mark a life whose consent has ended for what waits, too."""
        one = life.statement
        gone = clock_ok and now_ns >= one.expires * S
        if self.file is not None:
            here = self.file.get(one.name)
            gone |= here is None
            if here is not None and here.id != one.id and clock_ok:
                gone |= not self._would_hold(here, now_ns)
        if gone:
            life.dead = life.destroyed = True

    def _would_hold(self, one: Statement, now_ns: int) -> bool:
        declared = self.policy.get(one.name)
        timely = one.given * S <= now_ns + 300 * S and now_ns < one.expires * S
        fresh = not self.lives[one.id].dead
        return bool(timely and fresh and declared and self._allowed(one, declared))
