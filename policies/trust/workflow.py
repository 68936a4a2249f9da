"""The TUF client workflow (TUF specification 1.0, sections 5.3 to 5.7), time given.

Every offer verifies the whole set again, whatever part of it is new, under the newest
root. What is refused changes nothing: the new ``Trusted`` is made at the end.
"""

from __future__ import annotations

import json
from collections import ChainMap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from policies.errors import TrustError
from policies.trust.chain import follow
from policies.trust.content import listing, read_content
from policies.trust.form import BYTES_MAX, DEPTH_MAX, depth
from policies.trust.metadata import (
    NS,
    binding,
    expires_ns,
    is_signed,
    load,
    public_keys,
    verify,
)
from policies.trust.model import Offer, Trusted
from policies.trust.parts import Taken, check_expiry, read_parts
from protocols.bundle import FILES_MAX, TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.trust.content import Content, Listed


@dataclass(frozen=True, slots=True)
class Before:
    """What the newest root still vouches for of the set before."""

    timestamp: Timestamp | None
    snapshot: Snapshot | None
    time_floor_ns: int


def offer(
    trusted: Trusted, files: Mapping[str, bytes], now_ns: int
) -> tuple[Trusted, Offer]:
    """Return the new trust and what it offers; TrustError, and nothing has changed.

    ``files`` by bundle name; what is not among them is taken from ``trusted``, where it
    is the right one. ``now_ns``: what the caller believes, ns since the epoch. Steps,
    by the section of the specification:

    (5.3.4-9)  root chain: version by version, each signed by the threshold of the one
               before and by its own; at most 32; expiry of those between is no matter
    (5.3.11)   what the newest root does not vouch for any more is forgotten: timestamp
               (and the time that its keys told), snapshot; before any time is looked
               at, so that a stolen timestamp key is cured by rotating it
    (5.3.10)   the newest root has not expired
    (5.4)      timestamp: signature, fleet, no lower version, no lower snapshot version,
               not expired; its time of signing is the floor of the clock from here on
    (5.5)      snapshot: as the timestamp names it, signature, fleet, no version of its
               metadata lower or gone, not expired
    (5.6)      targets: as the snapshot names it, signatures of two people, fleet, not
               expired; delegates rollout.json and nothing else
    (5.6.7)    rollout, delegated and terminating: the same
    (5.7)      target files: length and SHA-256
    (ours)     versions of policies rise, none below the highest floor ever signed
    """
    return update(trusted, files, now_ns)


def update(
    trusted: Trusted, files: Mapping[str, bytes], now_ns: int | None
) -> tuple[Trusted, Offer]:
    """Do the steps of ``offer``; without a time (None) expiry is passed over."""
    if len(files) > FILES_MAX:
        raise TrustError("size", f"more than {FILES_MAX} files")
    roots, root = follow(trusted.roots, files, trusted.fleet)
    if root.version < trusted.root_floor:
        reason = f"root: version {root.version} is older than {trusted.root_floor}"
        raise TrustError("rollback", reason)
    before = _still_vouched(trusted, root)
    now_ns = _later(now_ns, before.time_floor_ns)
    check_expiry("root", root, now_ns)
    raw, timestamp = _timestamp(trusted, before, files, root)
    floor_ns = max(before.time_floor_ns, binding("timestamp", timestamp).time_s * NS)
    now_ns = _later(now_ns, floor_ns)
    check_expiry("timestamp", timestamp, now_ns)
    taken = read_parts(trusted, files, root, timestamp, before.snapshot, now_ns)
    listed = listing(taken.targets)
    content = read_content(
        listed, taken.rollout, taken.signers, ChainMap({**files}, {**trusted.files})
    )
    version, least = _versions(trusted, taken, listed, content)
    new = replace(
        trusted,
        roots=roots,
        timestamp=raw,
        snapshot=taken.snapshot_raw,
        targets=taken.targets_raw,
        rollout=taken.rollout_raw,
        policy_version=version,
        min_version=least,
        time_floor_ns=floor_ns,
        files=content.files,
    )
    return new, _offer(root, timestamp, taken, content, least)


def combined(
    bundle: Mapping[str, bytes], renewal: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return the bundle with the newer of two timestamps; nothing is verified here."""
    newer = renewal.get(TIMESTAMP)
    if newer is None or _claimed_version(newer) <= _claimed_version(
        bundle.get(TIMESTAMP, b"")
    ):
        return {**bundle}
    return {**bundle, TIMESTAMP: newer}


def _claimed_version(raw: bytes) -> int:
    """Return the version that an unverified timestamp claims, 0 where none."""
    if len(raw) > BYTES_MAX["timestamp"] or depth(raw) > DEPTH_MAX:
        return 0
    try:
        plain: object = json.loads(raw)
    except (ValueError, RecursionError):
        return 0
    match plain:
        case {"signed": {"version": int(version)}}:
            return version
    return 0


def _still_vouched(trusted: Trusted, root: Root) -> Before:
    """Return the set before, without what ``root`` does not vouch for (5.3.11).

    As python-tuf does it: forgotten is what ``root``'s keys did not sign. The time goes
    as soon as one key is gone that may have told it.
    """
    timestamp, snapshot = None, None
    if trusted.timestamp:
        loaded = load(Timestamp, "timestamp", trusted.timestamp)
        timestamp = loaded.signed if is_signed("timestamp", root, loaded) else None
    if trusted.snapshot:
        other = load(Snapshot, "snapshot", trusted.snapshot)
        snapshot = other.signed if is_signed("snapshot", root, other) else None
    old = load(Root, "root", trusted.roots[-1]).signed
    has_keys = public_keys(old, "timestamp") <= public_keys(root, "timestamp")
    return Before(timestamp, snapshot, trusted.time_floor_ns if has_keys else 0)


def _timestamp(
    trusted: Trusted, before: Before, files: Mapping[str, bytes], root: Root
) -> tuple[bytes, Timestamp]:
    """Return the newer of the timestamp at hand and the one before (5.4)."""
    old = before.timestamp
    raw = files.get(TIMESTAMP)
    if raw is None:
        if old is None:
            raise TrustError("missing", f"{TIMESTAMP} is not in the bundle")
        return trusted.timestamp, old
    metadata = load(Timestamp, "timestamp", raw)
    verify("timestamp", root, metadata, trusted.fleet)
    new = metadata.signed
    if old is None or raw == trusted.timestamp:
        return raw, new
    if new.version == old.version:
        raise TrustError("replay", f"timestamp {new.version} again, with other content")
    if new.version > old.version:
        if new.snapshot_meta.version < old.snapshot_meta.version:
            raise TrustError("rollback", "timestamp: names an older snapshot")
        return raw, new
    if new.snapshot_meta == old.snapshot_meta:
        # The bundle keeps the timestamp that it was published with, while renewals go
        # on: it comes again at every connection, names what we have, and is only late.
        return trusted.timestamp, old
    reason = f"timestamp {new.version} is older than {old.version}"
    raise TrustError("rollback", reason)


def _versions(
    trusted: Trusted, taken: Taken, listed: Mapping[int, Listed], content: Content
) -> tuple[int, int]:
    """Return highest policy version and highest floor; TrustError where they sink."""
    known: Mapping[int, Listed] = {}
    if trusted.targets and trusted.targets != taken.targets_raw:
        known = listing(load(Targets, "targets", trusted.targets).signed)
    for version, one in listed.items() if trusted.targets != taken.targets_raw else ():
        if version in known and known[version].digests != one.digests:
            reason = f"policy {version} has other content than before"
            raise TrustError("policy-version", reason)
        if version not in known and version <= trusted.policy_version:
            reason = f"policy {version} is new, but {trusted.policy_version} was before"
            raise TrustError("policy-version", reason)
    floors = [one.custom.min_version for one in listed.values()]
    least = max(trusted.min_version, *floors, 0)
    told = content.rollout
    if told is not None and told.candidate < least:
        reason = f"policy {told.candidate} is below the floor {least}"
        raise TrustError("policy-version", reason)
    return max(trusted.policy_version, *listed, 0), least


def _offer(
    root: Root, timestamp: Timestamp, taken: Taken, content: Content, least: int
) -> Offer:
    signed = [root, timestamp, taken.snapshot, taken.targets]
    ends = [expires_ns(one) for one in signed]
    if taken.rollout is not None:
        ends.append(expires_ns(taken.rollout))
    policies = content.policies.items()
    return Offer(
        {version: one for version, one in policies if version >= least},
        content.rollout,
        min(ends),
        root.version,
        timestamp.version,
        taken.targets.version,
    )


def _later(now_ns: int | None, floor_ns: int) -> int | None:
    return None if now_ns is None else max(now_ns, floor_ns)
