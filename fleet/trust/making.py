"""TUF metadata as our fleets use them, made and signed. Pure; ``policies.trust`` reads.

docs/formats/trust.md sections 3 and 4. Nothing of this is in the gateway's package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from policies.trust.content import PolicyCustom, text_path
from policies.trust.metadata import BINDING, ROLLOUT, ROLLOUT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from securesystemslib.signer import Signer, SSlibKey

    from fleet.trust.signing import PublicHalf
    from policies.trust.model import Terms

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)

DAY_S: Final = 86_400
COMPACT: Final = JSONSerializer(compact=True)


class Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long metadata are good for, in days."""

    root: int = 365
    targets: int = 365
    rollout: int = 90
    snapshot: int = 30
    timestamp: int = 7


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds the keys of a fleet, and how many must sign."""

    root: Sequence[PublicHalf]
    people: Sequence[PublicHalf]
    snapshot: Sequence[PublicHalf]
    timestamp: Sequence[PublicHalf]
    root_threshold: int = 2
    threshold: int = 2

    def by_role(self) -> dict[str, Sequence[PublicHalf]]:
        """Return the keys of each top-level role."""
        return {
            "root": self.root,
            "targets": self.people,
            "snapshot": self.snapshot,
            "timestamp": self.timestamp,
        }


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """A policy as it goes into the repository."""

    name: str
    version: int
    min_version: int
    text: bytes
    terms: Terms
    devices: Sequence[str] = ()
    catalogues: Mapping[str, bytes] = field(default_factory=dict)
    cards: Mapping[str, bytes] = field(default_factory=dict)

    def paths(self) -> dict[str, bytes]:
        """Return the target files by their path."""
        folder = text_path(self.version).rpartition("/")[0]
        return {
            text_path(self.version): self.text,
            **{f"{folder}/catalogues/{n}": b for n, b in self.catalogues.items()},
            **{f"{folder}/cards/{n}.card.json": b for n, b in self.cards.items()},
        }

    def targets(self) -> dict[str, TargetFile]:
        """Return the entries of the targets metadata."""
        custom = PolicyCustom(
            self.name, self.version, self.min_version, self.terms, [*self.devices]
        )
        out = {path: entry(path, body) for path, body in self.paths().items()}
        out[text_path(self.version)].unrecognized_fields["custom"] = (
            msgspec.to_builtins(custom)
        )
        return out


def entry(path: str, body: bytes) -> TargetFile:
    """Return the entry of a target file: length and SHA-256."""
    return TargetFile(len(body), {"sha256": sha256(body).hexdigest()}, path)


def root(fleet: str, version: int, holders: Holders, expires_s: int) -> Root:
    """Return the root of a fleet; the names of its people are part of it."""
    keys: dict[str, SSlibKey] = {}
    roles: dict[str, Role] = {}
    for name, halves in holders.by_role().items():
        least = {"root": holders.root_threshold, "targets": holders.threshold}
        ids = [half.key_id for half in halves]
        keys |= {half.key_id: half.key() for half in halves}
        roles[name] = Role(ids, least.get(name, 1))
    people = {half.key_id: half.name for half in (*holders.root, *holders.people)}
    return Root(
        version,
        expires=_date(expires_s),
        keys=keys,  # type: ignore[arg-type]  # SSlibKey is the Key that it wants
        roles=roles,
        consistent_snapshot=True,
        unrecognized_fields=_bound(fleet, people=people),
    )


def targets(
    fleet: str,
    version: int,
    entries: Mapping[str, TargetFile],
    desk: Sequence[PublicHalf],
    expires_s: int,
) -> Targets:
    """Return what the fleet role signs: policies, and who may sign rollout.json."""
    keys = {half.key_id: half.key() for half in desk}
    role = DelegatedRole(ROLLOUT, [*keys], 1, terminating=True, paths=[ROLLOUT_PATH])
    return Targets(
        version,
        expires=_date(expires_s),
        targets=dict(sorted(entries.items())),
        delegations=Delegations(keys, {ROLLOUT: role}),  # type: ignore[arg-type]  # as above
        unrecognized_fields=_bound(fleet),
    )


def rollout(fleet: str, version: int, text: bytes, expires_s: int) -> Targets:
    """Return what the release desk signs: rollout.json and nothing else."""
    return Targets(
        version,
        expires=_date(expires_s),
        targets={ROLLOUT_PATH: entry(ROLLOUT_PATH, text)},
        unrecognized_fields=_bound(fleet),
    )


def snapshot(
    fleet: str, version: int, named: Mapping[str, tuple[int, bytes]], expires_s: int
) -> Snapshot:
    """Return the snapshot of metadata: role -> (version, file)."""
    return Snapshot(
        version,
        expires=_date(expires_s),
        meta={f"{role}.json": meta(*told) for role, told in sorted(named.items())},
        unrecognized_fields=_bound(fleet),
    )


def timestamp(
    fleet: str, version: int, named: tuple[int, bytes], now_s: int, expires_s: int
) -> Timestamp:
    """Return the timestamp of a snapshot (version, file), signed at ``now_s``."""
    return Timestamp(
        version,
        expires=_date(expires_s),
        snapshot_meta=meta(*named),
        unrecognized_fields=_bound(fleet, time_s=now_s),
    )


def meta(version: int, raw: bytes) -> MetaFile:
    """Return how one metadata names another: version, length, SHA-256."""
    return MetaFile(version, len(raw), {"sha256": sha256(raw).hexdigest()})


def sealed(signed: S, signers: Iterable[Signer]) -> bytes:
    """Return the one file of a signed part."""
    metadata = Metadata(signed)
    for one in signers:
        metadata.sign(one, append=True)
    return metadata.to_bytes(COMPACT)


def also_signed(raw: bytes, signer: Signer) -> bytes:
    """Return the file with one signature more; the same key's is replaced."""
    metadata = Metadata[Targets].from_bytes(raw)  # of whatever role
    metadata.sign(signer, append=True)
    return metadata.to_bytes(COMPACT)


def _bound(fleet: str, **more: object) -> dict[str, object]:
    return {BINDING: {"fleet": fleet, **more}}


def _date(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
