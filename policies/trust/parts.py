"""Snapshot, targets and rollout: each as the one before it names it (5.5, 5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Root, Snapshot, Targets

from policies.errors import TrustError
from policies.trust.metadata import (
    ROLLOUT,
    binding,
    check_delegation,
    expires_ns,
    load,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuf.api.metadata import MetaFile, Signed, Timestamp

    from policies.trust.model import Trusted

TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class Taken:
    """Verified metadata of one consistent set, with their files."""

    snapshot: Snapshot
    snapshot_raw: bytes
    targets: Targets
    targets_raw: bytes
    signers: tuple[str, ...]  # people whose keys signed the targets metadata
    rollout: Targets | None
    rollout_raw: bytes


def read_parts(
    trusted: Trusted,
    files: Mapping[str, bytes],
    root: Root,
    timestamp: Timestamp,
    before: Snapshot | None,
    now_ns: int | None,
) -> Taken:
    """Return the set that the timestamp names; TrustError where a part of it is not."""
    meta = timestamp.snapshot_meta
    raw = _file("snapshot", meta, files, trusted.snapshot)
    loaded = load(Snapshot, "snapshot", raw)
    verify("snapshot", root, loaded, trusted.fleet)
    snapshot = loaded.signed
    _check_version("snapshot", snapshot, meta)
    if before is not None:
        _check_rollback(before, snapshot, is_same=raw == trusted.snapshot)
    check_expiry("snapshot", snapshot, now_ns)
    if (
        not {f"{TARGETS}.json"}
        <= set(snapshot.meta)
        <= {
            f"{TARGETS}.json",
            f"{ROLLOUT}.json",
        }
    ):
        raise TrustError("mix-and-match", "snapshot: names other metadata than ours")

    meta = snapshot.meta[f"{TARGETS}.json"]
    targets_raw = _file(TARGETS, meta, files, trusted.targets)
    metadata = load(Targets, TARGETS, targets_raw)
    key_ids = verify(TARGETS, root, metadata, trusted.fleet)
    targets = metadata.signed
    _check_version(TARGETS, targets, meta)
    check_expiry(TARGETS, targets, now_ns)
    check_delegation(targets)
    rollout, rollout_raw = _rollout(trusted, files, snapshot, targets, now_ns)
    people = binding("root", root).people
    signers = tuple(sorted({people[one] for one in key_ids}))
    return Taken(snapshot, raw, targets, targets_raw, signers, rollout, rollout_raw)


def check_expiry(kind: str, signed: Signed, now_ns: int | None) -> None:
    """Return where it has not expired; without a time nothing has.

    An expired timestamp is what a freeze looks like: somebody holds the newer one back.
    """
    if now_ns is not None and expires_ns(signed) <= now_ns:
        rule = "freeze" if kind == "timestamp" else "expired"
        raise TrustError(rule, f"{kind}: version {signed.version} has expired")


def _rollout(
    trusted: Trusted,
    files: Mapping[str, bytes],
    snapshot: Snapshot,
    targets: Targets,
    now_ns: int | None,
) -> tuple[Targets | None, bytes]:
    meta = snapshot.meta.get(f"{ROLLOUT}.json")
    if meta is None:
        return None, b""
    if targets.delegations is None:
        raise TrustError("delegation", "snapshot: names a rollout that nobody may sign")
    raw = _file(ROLLOUT, meta, files, trusted.rollout)
    metadata = load(Targets, ROLLOUT, raw)
    verify(ROLLOUT, targets, metadata, trusted.fleet)
    _check_version(ROLLOUT, metadata.signed, meta)
    check_expiry(ROLLOUT, metadata.signed, now_ns)
    return metadata.signed, raw


def _file(
    kind: str, meta: MetaFile, files: Mapping[str, bytes], stored: bytes
) -> bytes:
    """Return the file that ``meta`` names, of the offer, else the one that we have."""
    if meta.length is None or not meta.hashes or [*meta.hashes] != ["sha256"]:
        raise TrustError("hash", f"{kind}: is not named by length and SHA-256")
    raw = files.get(f"{meta.version}.{kind}.json")
    if raw is None and _is_named(meta, stored):
        return stored
    if raw is None:
        raise TrustError("missing", f"{kind} {meta.version} is not in the bundle")
    if not _is_named(meta, raw):
        reason = f"{kind} {meta.version} is not the one that is named"
        raise TrustError("mix-and-match", reason)
    return raw


def _is_named(meta: MetaFile, raw: bytes) -> bool:
    try:
        meta.verify_length_and_hashes(raw)
    except LengthOrHashMismatchError:
        return False
    return True


def _check_version(kind: str, signed: Signed, meta: MetaFile) -> None:
    if signed.version != meta.version:
        reason = f"{kind}: version {signed.version} under the name of {meta.version}"
        raise TrustError("mix-and-match", reason)


def _check_rollback(before: Snapshot, after: Snapshot, *, is_same: bool) -> None:
    """Return where no metadata's version is lower or gone (5.5.5)."""
    if after.version == before.version and not is_same:
        reason = f"snapshot {after.version} again, with other content"
        raise TrustError("replay", reason)
    for name, old in before.meta.items():
        new = after.meta.get(name)
        if new is None:
            raise TrustError("rollback", f"snapshot: {name} is gone")
        if new.version < old.version:
            reason = f"snapshot: {name} {new.version} is older than {old.version}"
            raise TrustError("rollback", reason)
