"""Keeps the device's certificate good while the daemon runs. No restart, ever.

What `sluicegate provision` installed is renewed over MQTT: a request signed with the
identity key goes up, the answer comes down, and is held against the authority that
issued before. Files that the owner's tool replaces are noticed. Either way the next
connection comes with the new certificate, and that connection is made at once; where
the broker turns it away, an enrolled device goes back to the former one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agent.adapters.certificates import facts
from agent.adapters.enrolment import RENEWING
from agent.adapters.enrolment_changes import changing
from agent.adapters.mqtt import check
from agent.enrolling import ALONE, Expected, Times, check_answer, renewed
from agent.errors import BadInput, Refused, Unavailable
from agent.uplink.lifetime import PAUSE_NS, Lifetime
from protocols.enrolment import (
    RENEWAL_BYTES_MAX,
    as_message,
    decode_answer,
)
from protocols.errors import WireError
from protocols.topics import down_topic

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.access import Access
    from agent.adapters.certificates import Certificate
    from agent.adapters.enrolment import Enrolments
    from agent.adapters.steering import Desk
    from agent.ports import Link
    from agent.records import Incoming

LOOK_S: Final = 10.0
AGAIN_NS: Final = 3600 * 1_000_000_000  # a new one that was turned away is tried again
NOT_REPLACED: Final = "nobody has replaced its file"
NOT_ANSWERED: Final = "no answer to our request"
BEGIN: Final = "sluicegate provision begin"
TROUBLE: Final = "certificate"


class Renewing:
    """Looks every LOOK_S; implements ``adapters.mails.Mail`` for answers."""

    def __init__(
        self,
        names: tuple[str, str],
        desk: Desk,
        access: Access,
        enrolments: Enrolments | None,
    ) -> None:
        """``names``: (fleet, device); without ``enrolments`` the owner renews."""
        self._fleet, self._device = names
        self._desk = desk
        self._access = access
        self._enrolments = enrolments
        mine = down_topic(self._fleet, self._device, "enrolled")
        self.topics: tuple[str, ...] = (mine,) if enrolments is not None else ()
        self._letter: tuple[Link, Incoming] | None = None
        self._wake = asyncio.Event()
        access.told = self._wake.set
        self._asked_ns: int | None = None  # monotonic
        self._tried: tuple[object, int] | None = None  # what, and when, monotonic
        self._refused = ""  # the last answer, by which rule
        self._missed = False  # an answer came, and the disk did not take it
        self._spoilt = False  # what we ask next must be another request
        self._seen: tuple[object, Certificate] | None = None

    async def take(self, link: Link, message: Incoming) -> None:
        """Let the newest answer wait; never waits itself."""
        old, self._letter = self._letter, (link, message)
        self._wake.set()
        if old is not None:
            await _dealt_with(old)

    async def run(self) -> None:
        """Look, and take what comes, for ever."""
        while True:
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()

    async def look(self) -> None:
        """Do what is due at this moment."""
        if self._letter is not None:
            letter, self._letter = self._letter, None
            await self._answered(letter[1].body)
            await _dealt_with(letter)
        self._look_at_change()
        try:
            life = self._lifetime()
        except BadInput as error:
            self._tell(str(error))
            return
        if life is None:
            return
        watch = self._desk.watch
        now_ns = watch.known_ns() or watch.past_ns()
        self._desk.now.certificate_ns = life.not_after_ns
        access = self._access
        if access.has_changed() and not access.trouble:
            self._tell("")  # a new one is there, and the next connection's
            return
        why = self._why()
        if self._enrolments is not None and now_ns >= life.renew_ns:
            why = await self._due(life, self._enrolments)
        self._tell(access.trouble or life.trouble(now_ns, why))

    async def _due(self, life: Lifetime, enrolments: Enrolments) -> str:
        """Ask for the next one; return why there is none yet."""
        try:
            present = enrolments.current()
        except BadInput as error:  # it went while we looked: the next look sees which
            return str(error)
        if present is not None and not present.is_renewable:
            return f"{ALONE}: {BEGIN}"
        await self._ask(life, enrolments)
        return self._why()

    # --- what is there ----------------------------------------------------------------

    def _lifetime(self) -> Lifetime | None:
        """Return that of the certificate that is used; None where there is none."""
        path = self._present()
        if path is None:
            return None
        with contextlib.suppress(OSError):
            status = path.stat()
            mark = (str(path), status.st_mtime_ns, status.st_ino)
            if self._seen is None or self._seen[0] != mark:
                self._seen = (mark, facts(path))
            found = self._seen[1]
            return Lifetime(found.not_before_ns, found.not_after_ns)
        raise BadInput(str(path), "", "is gone")

    def _present(self) -> Path | None:
        if self._access.certificate is not None or self._enrolments is None:
            return self._access.certificate
        found = self._enrolments.current()
        return None if found is None else found.cert_file

    def _why(self) -> str:
        if self._enrolments is None:
            return NOT_REPLACED
        refused = self._desk.publisher.enrol_refused
        return (
            self._refused
            or (f"our request was {refused}" if refused else "")
            or (NOT_ANSWERED)
        )

    def _tell(self, trouble: str) -> None:
        if trouble:
            self._desk.now.troubles[TROUBLE] = trouble
        else:
            self._desk.now.troubles.pop(TROUBLE, None)

    # --- what has changed -------------------------------------------------------------

    def _look_at_change(self) -> None:
        """Come again with what is new, where it is usable; one that fails, seldom."""
        access, uplink = self._access, self._desk.uplink
        if not uplink.online:
            return
        if not access.has_changed():
            access.trouble = ""
            return
        now_ns = self._desk.clock.monotonic_ns()
        wanted = access.wanted()
        if self._tried is not None:
            what, when_ns = self._tried
            if what == wanted and now_ns - when_ns < AGAIN_NS:
                return
        self._tried = (wanted, now_ns)
        try:
            check(access.newest())
        except (BadInput, Unavailable) as error:
            access.trouble = f"the new one cannot be used: {error}"
            return
        uplink.come_again()

    # --- asking -----------------------------------------------------------------------

    async def _ask(self, life: Lifetime, enrolments: Enrolments) -> None:
        """Send the request, where we are online and it is time (again)."""
        desk = self._desk
        now_ns = desk.clock.monotonic_ns()
        soon = self._missed or desk.publisher.enrol_refused
        pause_ns = PAUSE_NS[0] if soon else life.pause_ns
        waits = self._asked_ns is not None and now_ns - self._asked_ns < pause_ns
        if waits or not desk.uplink.online:
            return
        try:
            made = await asyncio.to_thread(
                self._request, enrolments, desk.clock.now_ns(), fresh=self._spoilt
            )
        except (BadInput, Unavailable) as error:
            self._refused = str(error)
            return
        self._asked_ns, self._missed, self._spoilt = now_ns, False, False
        desk.publisher.enrol(as_message(made))

    def _request(self, enrolments: Enrolments, now_ns: int, *, fresh: bool) -> bytes:
        """Return what we ask; ``fresh``: the same would get the same answer again."""
        signer = self._desk.identity.signer
        with changing(enrolments) as folder:
            return folder.begin(signer, self._fleet, now_ns, RENEWING, fresh=fresh)

    async def _answered(self, body: bytes) -> None:
        """Hold an answer against what we asked and what we have; install it."""
        desk = self._desk
        times = Times(desk.clock.now_ns(), desk.watch.past_ns())
        try:
            leaf = await asyncio.to_thread(self._installed, body, times)
        except Unavailable as error:
            self._refused, self._missed = str(error), True
            return
        except (Refused, BadInput, WireError) as error:  # WireError: what is here
            self._refused = f"an answer was refused: {error}"
            self._spoilt = True
            return
        if leaf is None:
            return  # to an earlier request: it came twice
        self._refused, self._asked_ns = "", None
        entry = desk.evidence.certificate(
            desk.clock.now_ns(), bytes.fromhex(leaf.sha256), leaf.not_after_ns
        )
        await desk.keeper.testify(entry)

    def _installed(self, body: bytes, times: Times) -> Certificate | None:
        """Return the new certificate, in place; None where nothing was asked."""
        assert self._enrolments is not None  # nobody else subscribes
        with changing(self._enrolments) as folder:
            asked, present = folder.asked(RENEWING), folder.current()
            if asked is None or present is None:
                return None
            try:
                answer = decode_answer(body, RENEWAL_BYTES_MAX)
            except WireError as error:
                raise Refused("form", error.reason) from None
            key = folder.pending_key(RENEWING)
            check_answer(
                answer, Expected(self._device, self._fleet, key, asked.digest), times
            )
            kept = renewed(answer, present.answer)
            return facts(folder.install(kept, RENEWING).cert_file)


async def _dealt_with(letter: tuple[Link, Incoming]) -> None:
    link, message = letter
    with contextlib.suppress(Unavailable):
        await link.acknowledge(message)
