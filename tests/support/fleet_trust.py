"""A fleet's TUF repository in memory: keys from names, times that stand still.

Everything is the same in every run. ``FleetTrust`` does what an honest operator does
and, told so, what an attacker would do: other signers, other versions, other bytes.

    fleet = FleetTrust()
    fleet.add_policy(1)
    fleet.roll_out(candidate=1)
    message = fleet.message()          # what is retained on policy/bundle
    trusted = begin(fleet.roots[0], fleet.name)
    trusted, offered = offer(trusted, open_bundle(message), NOW_NS)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from policies.rollout import Rollout, encode_rollout
from protocols.bundle import encode_bundle
from protocols.freshness import Answer, encode_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW_S = 1_782_900_000  # 2026-07-01T10:00:00Z
NS = 1_000_000_000
NOW_NS = NOW_S * NS
DAY_S = 86_400
PEOPLE = ("alice", "bob", "carol")
ROOT_KEYS = ("root-1", "root-2", "root-3")
COMPACT = JSONSerializer(compact=True)
TEXT = b"""schema: sluicegate/policy/1
name: test-fleet
version: %d
min_version: %d
catalogues: [cn-auto]
"""


def private_key(name: str) -> Ed25519PrivateKey:
    """Return the key of a name: always the same one."""
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


def signer(name: str) -> CryptoSigner:
    """Return who signs with the key of a name."""
    return CryptoSigner(private_key(name))


def key_id(name: str) -> str:
    """Return TUF's id of the key of a name."""
    return str(signer(name).public_key.keyid)


def sealed(signed: Signed, names: Sequence[str]) -> bytes:
    """Return the file of a signed part, signed by the keys of these names."""
    metadata = Metadata(signed)
    for name in names:
        metadata.sign(signer(name), append=True)
    return metadata.to_bytes(COMPACT)


def resealed(raw: bytes, names: Sequence[str], **changes: object) -> bytes:
    """Return a metadata file with fields of its signed part changed, signed again."""
    plain = json.loads(raw)
    plain["signed"] |= changes
    plain["signatures"] = []
    metadata = Metadata.from_dict(plain)
    return sealed(metadata.signed, names)


def compact(plain: object) -> bytes:
    """Return plain JSON in the canonical form, signed or not."""
    return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()


def when(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@dataclass
class FleetTrust:
    """The repository of one fleet. Change any field before ``publish``."""

    name: str = "north"
    now_s: int = NOW_S
    root_names: tuple[str, ...] = ROOT_KEYS
    people: tuple[str, ...] = PEOPLE
    rollout_name: str = "desk"
    snapshot_name: str = "snapshot"
    timestamp_name: str = "timestamp"
    signed_by: tuple[str, ...] = ("alice", "bob")  # targets
    roots: list[bytes] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)  # target files
    customs: dict[str, dict[str, object]] = field(default_factory=dict)
    paths: dict[str, bytes] = field(default_factory=dict)
    rollout_text: bytes = b""
    versions: dict[str, int] = field(
        default_factory=lambda: {
            "targets": 0,
            "rollout": 0,
            "snapshot": 0,
            "timestamp": 0,
        }
    )
    metadata: dict[str, bytes] = field(
        default_factory=dict
    )  # the newest, by bundle name

    def __post_init__(self) -> None:
        self.add_root(self.root_names[:2])

    # --- what an operator does --------------------------------------------------------

    def add_root(
        self,
        signers: Sequence[str],
        *,
        days: int = 365,
        version: int = 0,
        thresholds: Mapping[str, int] | None = None,
    ) -> bytes:
        """Append a root of the present names, signed by the keys of ``signers``."""
        least = {"root": 2, "targets": 2} | dict(thresholds or {})
        keys = {
            "root": self.root_names,
            "targets": self.people,
            "snapshot": (self.snapshot_name,),
            "timestamp": (self.timestamp_name,),
        }
        root = Root(
            version or len(self.roots) + 1,
            expires=when(self.now_s + days * DAY_S),
            keys={
                key_id(name): signer(name).public_key
                for names in keys.values()
                for name in names
            },
            roles={
                role: Role([key_id(name) for name in names], least.get(role, 1))
                for role, names in keys.items()
            },
            consistent_snapshot=True,
            unrecognized_fields={
                "x-sluicegate": {
                    "fleet": self.name,
                    "people": {key_id(name): name for name in self.people},
                }
            },
        )
        self.roots.append(sealed(root, signers))
        return self.roots[-1]

    def rotate(self, signers: Sequence[str] = (), **names: object) -> bytes:
        """Append a root with other keys (``people=...``, ``timestamp_name=...``).

        Signed by enough of the old and of the new root keys, or by ``signers``.
        """
        old = self.root_names
        for field_name, value in names.items():
            setattr(self, field_name, value)
        both = dict.fromkeys((*old[:2], *self.root_names[:2]))
        return self.add_root(tuple(signers) or tuple(both))

    def add_policy(
        self,
        version: int,
        *,
        min_version: int = 1,
        text: bytes = b"",
        devices: Sequence[str] = (),
        terms: Mapping[str, int] | None = None,
        catalogues: Mapping[str, bytes] | None = None,
        cards: Mapping[str, bytes] | None = None,
        name: str = "test-fleet",
    ) -> bytes:
        """List a policy; return its text."""
        folder = f"policy/{version}"
        text = text or TEXT % (version, min_version)
        self.paths[f"{folder}/policy.yaml"] = text
        self.customs[f"{folder}/policy.yaml"] = {
            "name": name,
            "version": version,
            "min_version": min_version,
            "devices": list(devices),
            "terms": dict(terms or {}),
        }
        for one, body in (catalogues or {}).items():
            self.paths[f"{folder}/catalogues/{one}"] = body
        for one, body in (cards or {}).items():
            self.paths[f"{folder}/cards/{one}.card.json"] = body
        return text

    def roll_out(self, candidate: int, stable: int = 0, **fields: object) -> None:
        """Say who takes what: the whole fleet, where ``upto`` is not told."""
        told = {"name": "r", "salt": "00" * 8, "upto": 10_000} | fields
        rollout = Rollout(candidate=candidate, stable=stable, **told)  # type: ignore[arg-type]  # fields by name
        self.rollout_text = encode_rollout(rollout)

    def publish(self, *, targets: bool = True) -> dict[str, bytes]:
        """Sign everything anew, versions one higher; return the bundle's files."""
        if targets:
            self._targets()
        if self.rollout_text:
            self._rollout()
        self._snapshot()
        self._timestamp()
        return self.bundle()

    def renew(self, days: int = 7) -> dict[str, bytes]:
        """Return a renewal: the timestamp alone, one version higher."""
        self._timestamp(days)
        return {"timestamp.json": self.metadata["timestamp.json"]}

    def bundle(self) -> dict[str, bytes]:
        """Return the files of the bundle as it stands."""
        named = {
            f"{number}.root.json": raw for number, raw in enumerate(self.roots, start=1)
        }
        last = dict(
            sorted(named.items(), key=lambda one: int(one[0].split(".")[0]))[-32:]
        )
        return {**last, **self.metadata, **self.files}

    def message(self, *, targets: bool = True) -> bytes:
        """Publish, and return the MQTT message."""
        return encode_bundle(self.publish(targets=targets))

    def answer(
        self, nonce: str, device: str, *, by: str = "", time_s: int = 0
    ) -> bytes:
        """Return a freshness answer to a nonce."""
        name = by or self.timestamp_name
        raw = self.metadata["timestamp.json"]
        told = Answer(
            self.name,
            device,
            nonce,
            (time_s or self.now_s) * NS,
            self.versions["timestamp"],
            sha256(raw).digest(),
        )
        return encode_answer(told, key_id(name), private_key(name).sign)

    # --- its parts --------------------------------------------------------------------

    def _bound(self, **more: object) -> dict[str, object]:
        return {"x-sluicegate": {"fleet": self.name, **more}}

    def _target(self, path: str, body: bytes) -> TargetFile:
        target = TargetFile.from_data(path, body, ["sha256"])
        if path in self.customs:
            target.unrecognized_fields["custom"] = self.customs[path]
        self.files[f"{target.hashes['sha256']}.{path.rpartition('/')[2]}"] = body
        return target

    def _put(self, role: str, raw: bytes) -> None:
        for name in [n for n in self.metadata if n.endswith(f"{role}.json")]:
            del self.metadata[name]
        version = "" if role == "timestamp" else f"{self.versions[role]}."
        self.metadata[f"{version}{role}.json"] = raw

    def _targets(self) -> None:
        self.versions["targets"] += 1
        self.files.clear()
        desk = signer(self.rollout_name).public_key
        role = DelegatedRole(
            "rollout", [desk.keyid], 1, terminating=True, paths=["rollout.json"]
        )
        targets = Targets(
            self.versions["targets"],
            expires=when(self.now_s + 365 * DAY_S),
            targets={
                path: self._target(path, body) for path, body in self.paths.items()
            },
            delegations=Delegations({desk.keyid: desk}, {"rollout": role}),
            unrecognized_fields=self._bound(),
        )
        self._put("targets", sealed(targets, self.signed_by))

    def _rollout(self) -> None:
        self.versions["rollout"] += 1
        path = "rollout.json"
        for name in [n for n in self.files if n.endswith(path)]:
            del self.files[name]
        rollout = Targets(
            self.versions["rollout"],
            expires=when(self.now_s + 90 * DAY_S),
            targets={path: self._target(path, self.rollout_text)},
            unrecognized_fields=self._bound(),
        )
        self._put("rollout", sealed(rollout, [self.rollout_name]))

    def _meta(self, role: str) -> MetaFile:
        raw = self.metadata[f"{self.versions[role]}.{role}.json"]
        return MetaFile.from_data(self.versions[role], raw, ["sha256"])

    def _snapshot(self) -> None:
        self.versions["snapshot"] += 1
        roles = [role for role in ("targets", "rollout") if self.versions[role]]
        snapshot = Snapshot(
            self.versions["snapshot"],
            expires=when(self.now_s + 30 * DAY_S),
            meta={f"{role}.json": self._meta(role) for role in roles},
            unrecognized_fields=self._bound(),
        )
        self._put("snapshot", sealed(snapshot, [self.snapshot_name]))

    def _timestamp(self, days: int = 7) -> None:
        self.versions["timestamp"] += 1
        timestamp = Timestamp(
            self.versions["timestamp"],
            expires=when(self.now_s) + timedelta(days=days),
            snapshot_meta=self._meta("snapshot"),
            unrecognized_fields=self._bound(time_s=self.now_s),
        )
        self._put("timestamp", sealed(timestamp, [self.timestamp_name]))
