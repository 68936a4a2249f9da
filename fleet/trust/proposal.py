"""A change that waits for signatures: one file that travels on a stick.

A bundle (``protocols.bundle``) of the metadata to be signed (``new.root.json``,
``new.targets.json``), those that are published (``old.*``), and the target files that
the new policy and the newest published one are made of, so that whoever signs sees what
changes without the repository. Each signer adds a signature and passes it on.
docs/formats/trust.md section 7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.files import replace as replace_file
from fleet.trust.making import COMPACT, also_signed
from policies.errors import TrustError
from policies.trust.chain import first_root
from policies.trust.content import Listed, bundle_name, listing, read_content
from policies.trust.form import depth
from policies.trust.metadata import binding, check_delegation, load, verify
from protocols.bundle import (
    BUNDLE_BYTES_MAX,
    BundleError,
    encode_bundle,
    parse_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fleet.trust.signing import SigningKey
    from policies.trust.model import SignedPolicy

S = TypeVar("S", Root, Targets)

OLD_ROOT: Final = "old.root.json"
NEW_ROOT: Final = "new.root.json"
OLD_TARGETS: Final = "old.targets.json"
NEW_TARGETS: Final = "new.targets.json"
DEPTH_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed over what is published; empty bytes: not there."""

    old_root: bytes
    new_root: bytes = b""
    old_targets: bytes = b""
    new_targets: bytes = b""
    files: Mapping[str, bytes] | None = None  # target files by bundle name

    def root(self) -> Root:
        """Return the root that will hold."""
        return _part(Root, self.new_root or self.old_root)

    def before(self) -> Root:
        """Return the root that holds."""
        return _part(Root, self.old_root)

    def fleet(self) -> str:
        """Return the fleet that the root names."""
        return binding("root", self.before()).fleet

    def targets(self) -> Targets | None:
        """Return the proposed targets metadata, None where there are none."""
        return _part(Targets, self.new_targets) if self.new_targets else None

    def policies(self, *, new: bool) -> dict[int, Listed]:
        """Return what the new or the published targets metadata list."""
        raw = self.new_targets if new else self.old_targets
        return listing(_part(Targets, raw)) if raw else {}

    def newest(self, *, new: bool) -> SignedPolicy | None:
        """Return the newest policy of a side; None where its files are not here."""
        listed = self.policies(new=new)
        if not listed:
            return None
        version = max(listed)
        found = read_content({version: listed[version]}, None, (), self.files or {})
        return found.policies.get(version)

    def signed(self, name: str) -> set[str]:
        """Return the ids of the keys whose signature on a part holds."""
        raw = self.new_root if name == NEW_ROOT else self.new_targets
        if not raw:
            return set()
        metadata = Metadata[Root].from_bytes(raw)
        kind = "root" if name == NEW_ROOT else "targets"
        good: set[str] = set()
        for root in (self.before(), self.root()):
            if metadata.signatures:
                found = root.get_verification_result(
                    kind, metadata.signed_bytes, metadata.signatures
                )
                good |= set(found.signed)
        return good


def encode_proposal(proposal: Proposal) -> bytes:
    """Return the file."""
    parts = {
        OLD_ROOT: proposal.old_root,
        NEW_ROOT: proposal.new_root,
        OLD_TARGETS: proposal.old_targets,
        NEW_TARGETS: proposal.new_targets,
    }
    named = {name: raw for name, raw in parts.items() if raw}
    try:
        return encode_bundle({**(proposal.files or {}), **named})
    except BundleError as error:
        raise BadInput("", "proposal", error.reason) from None


def load_proposal(path: Path) -> Proposal:
    """Return a proposal; BadInput where the file is none or hides something."""
    try:
        files = parse_bundle(read_limited(path, BUNDLE_BYTES_MAX))
        names = (OLD_ROOT, NEW_ROOT, OLD_TARGETS, NEW_TARGETS)
        old_root, new_root, old_targets, new_targets = (
            files.pop(name, b"") for name in names
        )
        proposal = Proposal(old_root, new_root, old_targets, new_targets, files)
        check_proposal(proposal)
    except (BundleError, TrustError) as error:
        raise BadInput(str(path), "", f"no proposal: {error.reason}") from None
    return proposal


def check_proposal(proposal: Proposal) -> None:
    """Return where nothing is in it that a signer would not be shown; TrustError.

    What it says is published was signed by the people of its root, or a signer could be
    shown a difference to something else. Published policies stay as they are; the files
    of the new one are those it names.
    """
    if not proposal.old_root or not (proposal.new_root or proposal.new_targets):
        raise TrustError("format", "has no root or proposes nothing")
    fleet = proposal.fleet()
    before = first_root(proposal.old_root, fleet)
    if proposal.old_targets:
        published = load(Targets, "targets", proposal.old_targets)
        verify("targets", before, published, fleet)
    parts: list[Root | Targets] = [proposal.before(), proposal.root()]
    sides = (proposal.old_targets, proposal.new_targets)
    parts += [_part(Targets, raw) for raw in sides if raw]
    if {binding("part", one).fleet for one in parts} != {fleet}:
        raise TrustError("wrong-fleet", "its parts are of several fleets")
    old, new = proposal.policies(new=False), proposal.policies(new=True)
    for version in old.keys() & new.keys():
        if old[version] != new[version]:
            raise TrustError("policy-version", f"changes policy {version} that is out")
    targets = proposal.targets()
    if targets is not None:
        check_delegation(targets)
    added = new.keys() - old.keys()
    if len(added) > 1 or any(version <= max(old, default=0) for version in added):
        # Signers are shown the newest one; a device may be sent any of them.
        reason = "adds more than one policy, or one older than what is out"
        raise TrustError("policy-version", reason)
    for version in added:
        one = new[version]
        named = {bundle_name(path, target) for path, target in one.files.items()}
        if not named <= set(proposal.files or {}):
            raise TrustError("missing", f"files of policy {version} are not in it")
        read_content({version: one}, None, (), proposal.files or {})


def add_signature(proposal: Proposal, key: SigningKey) -> tuple[Proposal, list[str]]:
    """Return the proposal with the key's signatures and the parts that it signed.

    BadInput where it may sign nothing of it.
    """
    before, after = proposal.before(), proposal.root()
    key_id = key.half().key_id
    parts: list[str] = []
    ids = {*before.roles["root"].keyids, *after.roles["root"].keyids}
    if proposal.new_root and key_id in ids:
        proposal = replace(
            proposal, new_root=also_signed(proposal.new_root, key.signer())
        )
        parts.append("root")
    if proposal.new_targets and key_id in after.roles["targets"].keyids:
        proposal = replace(
            proposal, new_targets=also_signed(proposal.new_targets, key.signer())
        )
        parts.append("policies")
    if not parts:
        raise BadInput(key.name, "", "may sign nothing of this proposal")
    return proposal, parts


def write_proposal(path: Path, proposal: Proposal) -> None:
    """Put the proposal in its file's place: the old one or the new one."""
    replace_file(path, encode_proposal(proposal))


def _part(model: type[S], raw: bytes) -> S:
    """Return the signed part of a file that may not be signed yet; TrustError."""
    if depth(raw) > DEPTH_MAX:
        raise TrustError("depth", "nested too deep")
    try:
        metadata = Metadata[S].from_bytes(raw)
    except RepositoryError:
        raise TrustError("format", "a part is no metadata") from None
    if not isinstance(metadata.signed, model) or metadata.to_bytes(COMPACT) != raw:
        raise TrustError("non-canonical", "a part has another form than its one")
    return metadata.signed
