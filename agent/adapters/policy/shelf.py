"""What decides at a start: read from the store, verified again, compiled again.

    on trial ─> active ─> lockdown         where a pushed policy was ever confirmed
    on trial ─> local  ─> lockdown         before that

The first that is good decides: never none. What was passed over is damage, or files of
the owner that have changed since; either is told in evidence and state. An older
policy, or the local one, could let out more than the one that is lost (promise 4):
lockdown stands in for it until the offer that is kept, or a bundle, brings it again.
The metadata's expiry is no question here: an old policy goes on to protect.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from agent.activation import (
    REASON_MAX,
    Event,
    Standing,
    State,
    after,
    decode_standing,
    restarted,
)
from agent.adapters.policy.floors import floors_of
from agent.adapters.policy.loader import accept, accept_signed, lock_down
from agent.errors import BadInput, Refused
from agent.store.documents import ACTIVE, STANDING, TRIAL, TRUST, opened
from policies.errors import PolicyError
from policies.trust import TrustError, begin, reopen, reverify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.adapters.policy.floors import Floors
    from agent.adapters.policy.loader import Paths
    from agent.control import Accepted
    from policies.trust import Offer, Trusted

BAD: Final = (BadInput, PolicyError, Refused, TrustError)


@dataclass(slots=True)
class Restored:
    """Who decides first, and what the policy path goes on from."""

    accepted: Accepted
    confirmed: Accepted  # what a revert goes back to
    standing: Standing
    trusted: Trusted
    offered: Offer | None = None
    step: str = ""  # to be recorded: trial (it goes on) | reverted | fallback
    troubles: list[str] = field(default_factory=list)


def restore(
    paths: Paths, store: Documents, root: bytes, newest: Iterable[bytes] = ()
) -> Restored:
    """Return what the store holds, as far as it is good.

    Where nothing was ever pushed, a bad local policy raises as without trust (BadInput,
    PolicyError, Refused): somebody is there to mend it. ``root`` is the pinned one;
    ``newest`` yields the evidence log from its end on, asked for where what was trusted
    is lost.
    """
    shelf = _Shelf(paths, store, root)
    standing = shelf.standing()
    trusted, offered = shelf.trust()
    if shelf.trust_is_lost:
        floors = shelf.floors(newest)
        trusted = replace(
            trusted,
            root_floor=floors.root,
            min_version=max(floors.least, floors.policy),
        )
        decided = standing.decided or floors.policy > 0
        standing = msgspec.structs.replace(standing, decided=decided)
    confirmed, fell = shelf.confirmed(trusted, decided=standing.decided)
    found = Restored(
        confirmed, confirmed, restarted(standing), trusted, offered, "", shelf.troubles
    )
    if standing.state is State.TRIAL:
        _on_trial(shelf, found)
    elif fell:
        found.step = "fallback"
        found.standing = Standing(
            failures=standing.failures,
            decided=standing.decided or confirmed.stands_in,
            rule="damaged",
            reason=shelf.troubles[-1][:REASON_MAX],
        )
    return found


def _on_trial(shelf: _Shelf, found: Restored) -> None:
    """Let the trial go on, or take the policy back: too many starts, or damage."""
    standing = found.standing
    try:
        accepted = shelf.kept(TRIAL, found.trusted)
        assert accepted.signed is not None  # it has come with a proof
        most = accepted.signed.terms.restarts_max
        if standing.restarts > most:
            raise Refused("restarts", f"{standing.restarts} starts, {most} allowed")
    except BAD as error:
        rule = getattr(error, "rule", "") or "policy"
        told = {"rule": rule, "reason": str(error)}
        found.standing = after(standing, Event.REVERT, **told)
        found.step = State.REVERTED.value
    else:
        found.accepted = accepted
        found.step = State.TRIAL.value


class Documents(Protocol):
    """Where documents are kept by name; the store is one."""

    def document(self, name: str) -> bytes | None:
        """Return a document; None where there is none."""


class _Shelf:
    """The documents of one store, opened one by one."""

    def __init__(self, paths: Paths, store: Documents, root: bytes) -> None:
        self._paths = paths
        self._store = store
        self._root = root
        self.troubles: list[str] = []
        self.trust_is_lost = False  # or there never was any

    def _document(self, name: str) -> bytes | None:
        """Return a document's body; None where there is none. Refused: damaged."""
        stored = self._store.document(name)
        if stored is None:
            return None
        try:
            return opened(name, stored)
        except ValueError as error:
            raise Refused("damaged", f"{name} {error}") from None

    def standing(self) -> Standing:
        """Return how things stood; from the beginning where that is damaged."""
        try:
            document = self._document(STANDING)
            return Standing() if document is None else decode_standing(document)
        except (Refused, ValueError) as error:
            self.troubles.append(f"standing: {error}")
            return Standing()

    def trust(self) -> tuple[Trusted, Offer | None]:
        """Return what new metadata are held against; the pinned root where damaged."""
        fleet = self._paths.config.fleet
        try:
            document = self._document(TRUST)
            if document is not None:
                return reopen(document, self._root, fleet)
        except BAD as error:
            self.troubles.append(f"trust begins anew from the pinned root: {error}")
        self.trust_is_lost = True
        return begin(self._root, fleet), None

    def floors(self, newest: Iterable[bytes]) -> Floors:
        """Return how far this device had come, as far as anything tells."""
        names = (ACTIVE, TRIAL, STANDING)
        return floors_of({name: self._store.document(name) for name in names}, newest)

    def kept(self, name: str, trusted: Trusted) -> Accepted:
        """Return a kept policy that may decide; raises one of ``BAD`` otherwise."""
        document = self._document(name)
        if document is None:
            raise Refused("damaged", f"{name} is not there")
        return accept_signed(self._paths, reverify(trusted, document))

    def confirmed(self, trusted: Trusted, *, decided: bool) -> tuple[Accepted, bool]:
        """Return the policy last confirmed, and whether another stands in for it.

        ``decided``: the standing says that a pushed one was confirmed.
        """
        if decided or self._store.document(ACTIVE) is not None:
            try:
                return self.kept(ACTIVE, trusted), False
            except BAD as error:
                self.troubles.append(f"{ACTIVE}: {error}")
            return lock_down(self._paths, stands_in=True), True
        try:
            return accept(self._paths), False
        except BAD as error:
            if self._store.document(TRIAL) is None:
                raise
            self.troubles.append(f"local policy: {error}")
        return lock_down(self._paths), True
