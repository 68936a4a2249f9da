"""Signs a step of a rollout in the fleet's repository: rollout, snapshot, timestamp.

The key of the delegated role `rollout` signs rollout.json and nothing else; which key
that is stands in the targets metadata that the people signed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleet.errors import BadInput, Unavailable
from fleet.making import DAY_S, rollout, sealed
from fleet.repository import Change, Online, Repository
from fleet.signing import Passphrases, find_key
from policies.rollout import encode_rollout
from policies.trust.content import listing
from policies.trust.metadata import ROLLOUT, ROLLOUT_PATH
from protocols.bundle import encode_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.signing import SigningKey
    from policies.rollout import Rollout


class RepositorySigner:
    """`rollout_desk.Signer` over a repository; keys are opened when one is needed."""

    def __init__(self, repository: Path, keys: Path, asked: Passphrases) -> None:
        """Open the repository; BadInput where the folder is none."""
        self._repository = Repository(repository)
        self._keys = keys
        self._asked = asked

    @property
    def fleet(self) -> str:
        """Return the fleet whose repository it is."""
        return self._repository.fleet

    def rollout(self) -> Rollout | None:
        """Return the rollout that was signed last, None where none was."""
        return self._repository.rollout()

    def sign(self, step: Rollout, before: Rollout | None) -> bytes:
        """Sign it, snapshot and timestamp, durably; return the bundle to publish.

        BadInput where its policies are not signed or a key is missing; Unavailable
        where another desk signed since ``before`` was read.
        """
        repository = self._repository
        with repository.locked():
            if repository.rollout() != before:
                raise Unavailable(step.name, "another desk changed it meanwhile")
            desk = self._desk(step)
            text, now_s = encode_rollout(step), int(time.time())
            made = rollout(
                repository.fleet,
                repository.next_version(ROLLOUT),
                text,
                now_s + repository.days.rollout * DAY_S,
            )
            change = Change(
                rollout=sealed(made, [desk.signer()]), files={ROLLOUT_PATH: text}
            )
            return encode_bundle(repository.advance(change, self._online(), now_s))

    def _desk(self, step: Rollout) -> SigningKey:
        """Return the key that the people delegated rollouts to."""
        targets = self._repository.standing().targets
        listed = {} if targets is None else listing(targets)
        for what, version in (("candidate", step.candidate), ("stable", step.stable)):
            if version and version not in listed:
                known = ", ".join(map(str, sorted(listed))) or "none"
                hint = f"signed and published: {known}"
                raise BadInput("", f"--{what}", f"no policy {version}", hint)
        assert targets is not None  # it lists the candidate
        assert targets.delegations is not None  # as devices check
        ids = list(targets.delegations.keys)
        return find_key(self._keys, ids, "the release desk", self._asked)

    def _online(self) -> Online:
        roles = self._repository.standing().root.roles
        return Online(
            *(
                find_key(self._keys, roles[role].keyids, role, self._asked)
                for role in ("snapshot", "timestamp")
            )
        )
