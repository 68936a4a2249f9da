"""The release desk: signs a step of a rollout, publishes it, watches the acks, halts.

Acks are retained, so the desk may come and go: what it missed lies at the broker. When
nothing has come for ASK_S, those still expected are asked for again, so a message that
a broker dropped delays the count and does not falsify it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from fleet.ending import ended
from fleet.errors import Unavailable
from fleet.rollout.ack_feed import opened
from fleet.rollout.steps import paused
from fleet.rollout.totals import AckBook, Tally, report
from fleet.trust.publishing import ATTEMPTS, BUNDLE, PAUSE_S, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleet.link import BrokerOptions
    from fleet.rollout.ack_feed import AckFeed
    from fleet.rollout.totals import Report
    from policies.rollout import Rollout

ASK_S: Final = 5.0  # nothing has come for so long: ask again
SHOW_S: Final = 0.5
AGAIN_S: Final = 60.0  # a connection that lasted so long was a good one


class Signer(Protocol):
    """The fleet's repository as the desk needs it, with the rollout key unlocked."""

    def rollout(self) -> Rollout | None:
        """Return the rollout that was signed last, None where none was."""

    def sign(self, rollout: Rollout, before: Rollout | None) -> bytes:
        """Sign it, snapshot and timestamp, durably; return the bundle to publish.

        ``before`` is what it follows; Unavailable where another desk signed meanwhile.
        """


class Journal(Protocol):
    """The operator's record of what was done."""

    def record(self, action: str, facts: Mapping[str, str | int | bool]) -> None:
        """Append one operation: who and when are the journal's to add."""


class Ended(NamedTuple):
    """How watching ended; neither done nor halted: the time was up."""

    report: Report
    done: bool
    halted: str  # why it was halted, "" where it was not


class Desk:
    """One fleet at one broker; a rollout is signed, published and watched here."""

    def __init__(
        self,
        fleet: str,
        options: BrokerOptions,
        keys: Mapping[str, bytes],
        signer: Signer,
        journal: Journal,
    ) -> None:
        """Take the registry's keys and what signs; nothing is opened yet."""
        self._fleet = fleet
        self._options = options
        self._signer = signer
        self._journal = journal
        self._start_s = time.monotonic()
        self.book = AckBook(keys)

    async def change(
        self,
        action: str,
        rollout: Rollout,
        before: Rollout | None,
        by: str = "person",
    ) -> None:
        """Sign and publish a step; Unavailable where it is signed and not published."""
        bundle = self._signer.sign(rollout, before)
        facts: dict[str, str | int | bool] = {
            "rollout": rollout.name, "attempt": rollout.attempt, "by": by,
            "state": rollout.state, "candidate": rollout.candidate,
            "stable": rollout.stable, "upto": rollout.upto,
            "groups": ",".join(rollout.groups), "devices": len(rollout.devices),
            "note": rollout.note, "published": False,
        }  # fmt: skip
        try:
            await publish(self._options, self._fleet, {BUNDLE: bundle})
            facts["published"] = True
        finally:
            self._journal.record(f"rollout {action}", facts)

    async def status(self, rollout: Rollout) -> Report:
        """Return what the retained acks say now."""
        async with opened(self._options, self._fleet, self.book) as feed:
            await feed.ask(self.book.keys)
        return self._report(Tally(rollout, self.book))

    async def watch(
        self,
        rollout: Rollout,
        show: Callable[[Report], None],
        *,
        halts: bool = True,
        seconds: float = 0,
    ) -> Ended:
        """Follow the acks until the cohort is done, a limit is passed, or time is up.

        Where a limit is passed and ``halts``, the pause is signed and published before
        this returns. ``seconds`` 0: no end. Unavailable where the broker stays away.
        """
        tally = Tally(rollout, self.book)
        until_s = time.monotonic() + seconds if seconds else float("inf")
        ended = await self._watched(tally, show, until_s)
        if ended.halted and halts:
            step = paused(rollout, ended.halted)
            await self.change("halt", step, rollout, "limits")
        return ended

    async def _watched(
        self, tally: Tally, show: Callable[[Report], None], until_s: float
    ) -> Ended:
        away = 0
        while True:
            began_s = time.monotonic()
            try:
                async with opened(self._options, self._fleet, self.book) as feed:
                    return await self._follow(feed, tally, show, until_s)
            except Unavailable:
                away = 1 if time.monotonic() - began_s > AGAIN_S else away + 1
                if away == ATTEMPTS or time.monotonic() >= until_s:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _follow(
        self,
        feed: AckFeed,
        tally: Tally,
        show: Callable[[Report], None],
        until_s: float,
    ) -> Ended:
        """Follow while connected; all that is kept is asked for before any verdict."""
        asking = asyncio.create_task(feed.ask(self.book.keys), name="rollout.ask")
        try:
            while True:
                is_whole = asking.done()
                if is_whole:
                    await asking  # a lost connection says so
                found = self._report(tally)
                show(found)
                if time.monotonic() >= until_s:
                    return Ended(found, False, "")
                if is_whole and (found.limit or found.done):
                    return Ended(found, not found.limit, found.limit)
                if is_whole and time.monotonic() - feed.heard_s > ASK_S:
                    asking = asyncio.create_task(feed.ask(tally.expected()))
                await feed.sleep(SHOW_S)
        finally:
            await ended(asking)
            await asyncio.gather(asking, return_exceptions=True)

    def _report(self, tally: Tally) -> Report:
        return report(tally, time.monotonic() - self._start_s)
