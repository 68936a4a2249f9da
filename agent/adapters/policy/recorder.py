"""Makes a step durable, then tells of it: one transaction, then the signed ack.

The standing, the documents that it speaks of and the evidence entry that says so are
one commit. Order (DESIGN section 9): commit, sign, publish; the ack names the entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from agent.activation import REASON_MAX, Standing, State, encode_standing
from agent.records import Commit
from agent.steps import Moment, Versions, ack_of, step_facts
from agent.store.documents import CHECKED, STANDING, closed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.adapters.steering import Desk
    from agent.control import Accepted
    from agent.steps import Speaker


REFUSED_REASON_MAX: Final = 400  # characters


class PolicyRecorder:
    """Holds the standing; changed by `record` and `wait` only, in one task."""

    def __init__(self, desk: Desk, speaker: Speaker, standing: Standing) -> None:
        """Start from what the store had."""
        self._desk = desk
        self._speaker = speaker
        self.standing = standing
        self.versions = Versions()
        self.nonce = ""  # asked for with every ack until it is answered

    async def record(
        self,
        step: str,
        standing: Standing,
        accepted: Accepted,
        documents: Mapping[str, bytes] | None = None,
    ) -> None:
        """Make ``step`` durable; ``accepted`` decides from here on.

        ``documents``: by name, b"" for one that is kept no more.
        """
        now_ns = self._desk.clock.now_ns()
        standing = self._dated(standing, now_ns)
        policy = accepted.compiled.policy
        facts = step_facts(standing, self.versions, policy.catalogue_digest)
        entry = self._desk.evidence.step(now_ns, policy, step, facts)
        checked = {
            name: closed(name, body) if body and name in CHECKED else body
            for name, body in (documents or {}).items()
        }

        def made(index: int) -> Commit:
            body = encode_standing(
                msgspec.structs.replace(standing, evidence_index=index)
            )
            return Commit(
                evidence=(entry,),
                documents={**checked, STANDING: closed(STANDING, body)},
            )

        index = await self._desk.keeper.record(made)
        self.standing = msgspec.structs.replace(standing, evidence_index=index)
        self.tell(accepted)

    def wait(self, standing: Standing, accepted: Accepted) -> None:
        """Change what is not durable: a wait, and why. Told once per change."""
        if _without_time(standing) == _without_time(self.standing):
            return
        self.standing = self._dated(standing, self._desk.clock.now_ns())
        self.tell(accepted)

    async def refuse(self, rule: str, reason: str, accepted: Accepted) -> None:
        """Record a message that was refused whole: the standing stays what it is."""
        now_ns = self._desk.clock.now_ns()
        name = accepted.compiled.policy.name
        said = reason[:REFUSED_REASON_MAX]
        entry = self._desk.evidence.refused(now_ns, name, rule, said)
        index = await self._desk.keeper.record(lambda _: Commit(evidence=(entry,)))
        refused = Standing(
            state=State.REFUSED,
            rule=rule,
            reason=reason[:REASON_MAX],
            since_ns=now_ns,
            evidence_index=index,
            slot=self.standing.slot,
        )
        self._publish(accepted, refused)
        if self.standing.state not in {State.NONE, State.WAITING}:
            self.tell(accepted)  # what is retained speaks of the candidate again

    def tell(self, accepted: Accepted) -> None:
        """Publish the ack of the standing as it is now."""
        self._publish(accepted, self.standing)

    def _publish(self, accepted: Accepted, standing: Standing) -> None:
        desk = self._desk
        moment = Moment(
            desk.publisher.ack_number(),
            desk.clock.now_ns(),
            desk.now.clock_level,
            self.nonce,
        )
        desk.publisher.acknowledge(
            ack_of(self._speaker, moment, accepted, standing, self.versions)
        )
        state = self.standing.state
        word = "" if state is State.NONE else state.value
        desk.now.candidate = (self.standing.version, word)
        desk.publisher.state_changed()

    def _dated(self, standing: Standing, now_ns: int) -> Standing:
        if standing.state is self.standing.state:
            return standing
        return msgspec.structs.replace(standing, since_ns=now_ns)


def _without_time(standing: Standing) -> Standing:
    return msgspec.structs.replace(standing, since_ns=0, evidence_index=-1)
