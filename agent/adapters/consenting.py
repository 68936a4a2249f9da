"""Consents between the file that people write, the flow, and the store.

``watch`` looks at the file and hands it to ``Consents``; the flow judges by those;
``settle`` destroys what waits under what ended, and makes durable what changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from agent.adapters.files import read_limited
from agent.budget import Budget
from agent.consent_file import FILE_BYTES_MAX, FILE_NAME, parse_consents
from agent.consents import Consents
from agent.errors import BadInput
from agent.records import Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

    from agent.adapters.keeper import Keeper
    from agent.adapters.outside import Now
    from agent.consent_file import Statement
    from agent.evidence import Evidence
    from agent.ports import Clock
    from policies.tables import CompiledPolicy

LOOK_S: Final = 0.25  # PI-06: nothing flows one second after a withdrawal
EPOCHS_LOOKED_MAX: Final = 256  # beyond them, those that were sent are forgotten
CHANGES_MAX: Final = 32  # of the file at once; then one every CHANGE_NS
CHANGE_NS: Final = 10_000_000_000
MEMORY: Final = "consents"
EPOCHS: Final = "consent epochs"
TROUBLE: Final = "consents"


class Consenting:
    """What of consents is not pure. Owned by the flow's task, but for ``watch``."""

    def __init__(
        self, folder: Path, keeper: Keeper, evidence: Evidence, clock: Clock, now: Now
    ) -> None:
        """``folder``: ``state_dir``; the policy is the one that ``now`` names."""
        self.consents = Consents(now.accepted.compiled.policy.consents)
        self._file = folder / FILE_NAME
        self._keeper = keeper
        self._evidence = evidence
        self._clock = clock
        self._now = now
        self._seen: tuple[int, int, int] | None = (0, 0, 0)  # no file is like that
        self._given: tuple[Statement, ...] | None = None  # None: could not be read
        self._budget = Budget(CHANGES_MAX, CHANGE_NS)
        self._epochs: dict[bytes, str] = {}  # epoch -> its consent
        now.consents = self.consents.standings

    async def begin(self, *, clock_ok: bool) -> None:
        """Take over what the run before knew; a start is an ignition cycle."""
        keeper = self._keeper
        memory = await keeper.ask(keeper.store.document, MEMORY)
        if memory is not None:
            self.consents.remember(memory)
        epochs = await keeper.ask(keeper.store.document, EPOCHS)
        if epochs is not None:
            self._epochs = _decoded(epochs)
        self.look()
        self.consents.look(self._clock.now_ns(), clock_ok=clock_ok)
        await self.settle()

    async def watch(self, wake: Callable[[], None]) -> None:
        """Look at the file for ever; ``wake`` the flow where it has changed."""
        while True:
            await self._clock.sleep(LOOK_S)
            if self.look():
                wake()

    def look(self) -> bool:
        """Read the file where it is another one than before; tell whether it was."""
        try:
            found = self._file.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        except FileNotFoundError:
            seen = None
        except OSError as error:
            seen = (-1, error.errno or 0, 0)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            text = b"" if seen is None else read_limited(self._file, FILE_BYTES_MAX)
            self._take(() if seen is None else parse_consents(text))
        except BadInput as error:
            place = f"{error.place}: " if error.place else ""
            self.consents.unread("the file cannot be read")
            self._given = None
            self._now.troubles[TROUBLE] = f"{FILE_NAME}: {place}{error.reason}"
        return True

    def _take(self, statements: tuple[Statement, ...]) -> None:
        """Let the file hold; what is new in one that changes without end waits.

        Every change is an entry of the evidence, and nobody may flood that.
        """
        if self._budget.spend(self._clock.monotonic_ns()):
            self._now.troubles.pop(TROUBLE, None)
        else:
            self._seen = (0, 0, 0)  # looked at again
            self._now.troubles[TROUBLE] = f"{FILE_NAME}: changes too often"
            if self._given is None:
                return
            before = set(self._given)
            statements = tuple(one for one in statements if one in before)
            if statements == self._given:
                return
        self._given = statements
        self.consents.take(statements)

    def declare(self, policy: CompiledPolicy) -> None:
        """Another policy decides from now on."""
        self.consents.declare(policy.consents)

    async def remembered(self, commit: Commit) -> Commit:
        """Return a commit that also keeps which consent its new epochs are under."""
        fresh = {r.epoch: r.consent for r in commit.records if r.consent}
        if fresh.keys() <= self._epochs.keys():
            return commit
        self._epochs |= fresh
        if len(self._epochs) > EPOCHS_LOOKED_MAX:
            await self._forget_sent(keep=fresh.keys())
        return replace(commit, documents={**commit.documents, EPOCHS: self._encoded()})

    async def settle(self) -> None:
        """Destroy what waits under consents that ended, and record what changed.

        In this order: were the power cut between the two, the next start would find the
        same change again.
        """
        changes = self.consents.changes()
        if not changes:
            return
        keeper, now_ns = self._keeper, self._clock.now_ns()
        await self._destroy({one.consent for one in changes if one.destroys})
        entries = tuple(self._evidence.consent(now_ns, one) for one in changes)
        documents = {MEMORY: self.consents.encode(), EPOCHS: self._encoded()}
        await keeper.record(lambda _: Commit(evidence=entries, documents=documents))

    async def _destroy(self, ended: set[str]) -> None:
        keeper = self._keeper
        epochs = [epoch for epoch, name in self._epochs.items() if name in ended]
        if epochs:
            await keeper.let_go(lambda: keeper.store.destroy((), epochs=epochs))
        for epoch in epochs:
            del self._epochs[epoch]

    async def _forget_sent(self, keep: Container[bytes]) -> None:
        store = self._keeper.store
        for epoch in [*self._epochs]:
            waits = await self._keeper.ask(store.destination_of, epoch)
            if waits is None and epoch not in keep:
                del self._epochs[epoch]

    def _encoded(self) -> bytes:
        return msgspec.msgpack.encode(self._epochs)


def _decoded(body: bytes) -> dict[bytes, str]:
    try:
        return msgspec.msgpack.decode(body, type=dict[bytes, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
