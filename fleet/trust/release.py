"""What is done with a repository and a folder of keys: publish, renew, roll out.

Role keys are found by the ids that the signed metadata name, never by file name.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from fleet.errors import BadInput, Refused, Unavailable
from fleet.trust.journal import FileJournal
from fleet.trust.making import DAY_S, rollout, sealed
from fleet.trust.proposal import NEW_ROOT, NEW_TARGETS
from fleet.trust.repository import Change, Online, Repository
from fleet.trust.signing import Passphrases, find_key, load_half
from policies.rollout import encode_rollout
from policies.trust.content import bundle_name, listing
from policies.trust.metadata import ROLLOUT, ROLLOUT_PATH, binding
from policies.trust.parts import TARGETS
from protocols.bundle import TIMESTAMP, encode_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tuf.api.metadata import Root, Targets

    from fleet.trust.proposal import Proposal
    from fleet.trust.signing import SigningKey
    from policies.rollout import Rollout

JOURNAL_HALF = "journal/journal.pub.json"


class Release:
    """The release desk of one fleet: its repository and the keys at hand."""

    def __init__(
        self,
        repository: Path,
        keys: Path,
        asked: Passphrases | None = None,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Open the repository; keys are looked for when they are needed."""
        self.repository = Repository(repository)
        self._keys = keys
        self._asked = asked or Passphrases()
        self._now_s = now_s

    @cached_property
    def journal(self) -> FileJournal:
        """The operator's journal, with the key that signs it."""
        half = load_half(self.repository.folder / JOURNAL_HALF)
        key = find_key(self._keys, [half.key_id], "the journal", self._asked)
        return FileJournal(self.repository.folder, self.repository.fleet, key)

    def online(self, root: Root | None = None) -> Online:
        """Return the keys of snapshot and timestamp that ``root`` names."""
        root = root or self.repository.standing().root
        return Online(
            *(
                find_key(self._keys, root.roles[role].keyids, role, self._asked)
                for role in ("snapshot", "timestamp")
            )
        )

    def rollout(self) -> Rollout | None:
        """Return the rollout that was signed last, None where none was."""
        return self.repository.rollout()

    def sign(self, told: Rollout, before: Rollout | None) -> bytes:
        """Sign a step of a rollout, snapshot and timestamp; return the bundle.

        Unavailable where it does not follow ``before``, because another desk signed.
        BadInput for a policy that the fleet role has not signed, and for a stable one
        below the floor, which an abort could not take devices back to.
        """
        with self.repository.locked():
            if self.repository.rollout() != before:
                raise Unavailable(told.name, "another desk signed a step meanwhile")
            targets = self._listing(told)
            text = encode_rollout(told)
            change = Change(
                rollout=self._rollout(targets, text), files={ROLLOUT_PATH: text}
            )
            files = self.repository.advance(change, self.online(), self._now_s())
        return encode_bundle(files)

    def _listing(self, told: Rollout) -> Targets:
        """Return the targets metadata; BadInput where they do not list its policies."""
        targets = self.repository.standing().targets
        listed = {} if targets is None else listing(targets)
        for version in (told.candidate, told.stable):
            if version and version not in listed:
                hint = "sluicectl policy propose, sign, publish"
                raise BadInput("", f"policy {version}", "is not published", hint)
        least = max((one.custom.min_version for one in listed.values()), default=0)
        if told.candidate < least or 0 < told.stable < least:
            reason = f"a policy is below min_version {least}, which is signed"
            raise BadInput("", told.name, reason, "devices never go below it")
        assert targets is not None  # a candidate is listed
        return targets

    def publish(self, proposal: Proposal) -> bytes:
        """Put a signed proposal into the repository; return the bundle.

        Refused where devices would refuse it, or where the journal, which names who
        approved, holds no more; BadInput where it was made on something else than what
        is published now. One that is out already (the last run was cut short) is given
        again, and recorded if it was not.
        """
        with self.repository.locked():
            self.journal.check()
            now = self.repository.standing()
            roots = self.repository.view().roots()
            out = roots[now.root.version], now.raw.get(TARGETS, b"")
            old = proposal.old_root, proposal.old_targets
            if out == (proposal.new_root or old[0], proposal.new_targets or old[1]):
                if not self.journal.holds("publish", _facts(proposal)):
                    self.journal.record("publish", _facts(proposal))
                return self.bundle()
            if out != old:
                reason = "was made on other metadata than the published ones"
                raise BadInput("", "proposal", reason, "propose again")
            _check_signed(proposal)
            change = Change(
                proposal.new_root,
                proposal.new_targets,
                self._renewed_rollout(proposal),
                _files(proposal),
            )
            online = self.online(proposal.root())
            files = self.repository.advance(change, online, self._now_s())
            self.journal.record("publish", _facts(proposal))
        return encode_bundle(files)

    def renew(self) -> bytes:
        """Sign a newer timestamp; return the renewal to publish."""
        with self.repository.locked():
            raw = self.repository.renew(self.online(), self._now_s())
        return encode_bundle({TIMESTAMP: raw})

    def bundle(self) -> bytes:
        """Return the bundle as it is published."""
        return encode_bundle(self.repository.bundle())

    def renewal(self) -> bytes:
        """Return the renewal as it is published."""
        return encode_bundle({TIMESTAMP: self.repository.standing().raw["timestamp"]})

    def _rollout(self, targets: Targets, text: bytes) -> bytes:
        delegations = targets.delegations
        roles = {} if delegations is None else delegations.roles or {}
        if ROLLOUT not in roles:
            raise BadInput("", "policies", "nobody may sign a rollout")
        desk = find_key(self._keys, roles[ROLLOUT].keyids, ROLLOUT, self._asked)
        number = self.repository.next_version(ROLLOUT)
        until_s = self._now_s() + self.repository.days.rollout * DAY_S
        made = rollout(self.repository.fleet, number, text, until_s)
        return sealed(made, [desk.signer()])

    def _renewed_rollout(self, proposal: Proposal) -> bytes:
        """Return the rollout signed by a new desk, b"" where the old one stays."""
        told, after = self.repository.rollout(), proposal.targets()
        before = self.repository.standing().targets
        if told is None or after is None or before is None:
            return b""
        if before.delegations == after.delegations:
            return b""
        return self._rollout(after, encode_rollout(told))

    def signing_key(self, ids: list[str], what: str) -> SigningKey:
        """Return a key of the folder by its ids."""
        return find_key(self._keys, ids, what, self._asked)


def _files(proposal: Proposal) -> dict[str, bytes]:
    """Return the target files that are new, by path."""
    old, new = proposal.policies(new=False), proposal.policies(new=True)
    at_hand = proposal.files or {}
    return {
        path: at_hand[bundle_name(path, target)]
        for version in new.keys() - old.keys()
        for path, target in new[version].files.items()
    }


def _check_signed(proposal: Proposal) -> None:
    parts = ((NEW_ROOT, proposal.new_root), (NEW_TARGETS, proposal.new_targets))
    if any(new and not proposal.signed(part) for part, new in parts):
        raise Refused("unsigned", "nobody has signed it: sluicectl policy sign")


def _facts(proposal: Proposal) -> dict[str, str | int | bool]:
    """Return what the journal says of a proposal: which policy, and who approved."""
    people = binding("root", proposal.root()).people
    facts: dict[str, str | int | bool] = {"root": proposal.root().version}
    for part in (NEW_ROOT, NEW_TARGETS):
        ids = proposal.signed(part)
        names = sorted({people.get(one, one[:16]) for one in ids})
        if names:
            what = "root_approvers" if part == NEW_ROOT else "approvers"
            facts[what] = ",".join(names)
    old, new = proposal.policies(new=False), proposal.policies(new=True)
    for version in sorted(new.keys() - old.keys()):
        found = proposal.newest(new=True)
        if found is not None and found.version == version:
            facts |= {
                "policy": found.name,
                "version": version,
                "digest": found.digest.hex(),
                "devices": len(found.devices),
            }
    return facts
