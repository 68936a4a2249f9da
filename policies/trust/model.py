"""What trust is about: what is kept between updates, and what an update gives.

Nothing here verifies; nothing here needs tuf, so a daemon without ``[trust]`` may
import it for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import msgpack
import msgspec
from msgspec import Meta

from policies.errors import TrustError
from protocols.bundle import BUNDLE_BYTES_MAX, FILES_MAX
from protocols.topics import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.rollout import Rollout

VERSION: Final = 1
ROOTS_MAX: Final = 256  # rotations since the pinned root
ROOT_BYTES_MAX: Final = 64 * 1024
TRUSTED_BYTES_MAX: Final = 2 * BUNDLE_BYTES_MAX + ROOTS_MAX * ROOT_BYTES_MAX
PROOF_BYTES_MAX: Final = 2 * BUNDLE_BYTES_MAX


# Stable words: acks, evidence and tickets name them. docs/formats/trust.md section 5.
RULES: Final = {
    "size": "more bytes, files, keys or signatures than the format allows",
    "depth": "nested deeper than the format allows",
    "cut": "the message ends too early",
    "format": "not what the format asks for",
    "non-canonical": "another spelling of the same content than its one",
    "type": "metadata of another role",
    "key-id": "a key id is missing, empty, malformed or of no key",
    "key-type": "a key is not Ed25519",
    "same-key": "one key or one person counted twice",
    "unsigned": "no signature, or one that could be none",
    "threshold": "fewer good signatures than asked for, or too few asked for",
    "wrong-fleet": "for another fleet, or for none",
    "wrong-device": "for other devices",
    "root-chain": "a root is missing, or too few keys of the one before signed it",
    "expired": "root, snapshot, targets or rollout has expired",
    "freeze": "the timestamp has expired: somebody may hold back the newer one",
    "rollback": "older than what was trusted before",
    "replay": "the same version again with other content, or another question's answer",
    "mix-and-match": "metadata that are not the ones that were named",
    "hash": "a file is not what was signed",
    "missing": "something that is named is not there",
    "delegation": "the release desk would sign more than rollout.json",
    "policy-version": "a policy's version sinks, or its content changes under it",
}


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a trial must hold to be confirmed; signed. Whole numbers, 0: no limit."""

    trial_s: Annotated[int, Meta(ge=1, le=86_400)] = 120
    uplink_s: Annotated[int, Meta(ge=0, le=86_400)] = 60  # longest time without one
    loss_max: Annotated[int, Meta(ge=0, le=2**53)] = 1000  # records lost in the trial
    cpu_percent_max: Annotated[int, Meta(ge=0, le=100)] = 80  # of one core
    spool_bytes_per_h_max: Annotated[int, Meta(ge=0, le=2**53)] = 0
    restarts_max: Annotated[int, Meta(ge=0, le=100)] = 2

    @property
    def cpu_share_max(self) -> float:
        """Return the limit as a share of one core, 0 to 1."""
        return self.cpu_percent_max / 100


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """A policy that enough people signed, with everything it needs to be compiled."""

    name: str
    version: int
    min_version: int
    digest: bytes  # SHA-256 of ``text``, 32 bytes
    text: bytes = field(repr=False)
    catalogues: Mapping[str, bytes] = field(repr=False)  # by the policy's names
    cards: Mapping[str, bytes] = field(repr=False)  # by recipient
    terms: Terms
    signers: tuple[str, ...]  # different people whose keys signed, by name
    devices: tuple[str, ...] = ()  # () is the whole fleet

    def check_device(self, device: str) -> None:
        """Return where the policy is for ``device``; TrustError otherwise."""
        if self.devices and device not in self.devices:
            raise TrustError("wrong-device", "the policy is for other devices")

    def check_text(self, name: str, version: int, min_version: int) -> None:
        """Return where the text's own words are those signed beside it."""
        if (name, version, min_version) != (self.name, self.version, self.min_version):
            raise TrustError("policy-version", "the text names another policy")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the newest verified metadata say. Expired ones permit nothing new."""

    policies: Mapping[int, SignedPolicy]  # by version: the candidate and the stable one
    rollout: Rollout | None
    expires_ns: (
        int  # the earliest expiry of root, timestamp, snapshot, targets, rollout
    )
    root_version: int
    timestamp_version: int
    targets_version: int

    def policy(self, version: int, device: str) -> SignedPolicy:
        """Return the policy of a version for this device; TrustError otherwise."""
        found = self.policies.get(version)
        if found is None:
            raise TrustError("missing", f"policy {version} is not in the bundle")
        found.check_device(device)
        return found


@dataclass(frozen=True, slots=True)
class Fresh:
    """A verified freshness answer for our nonce."""

    time_ns: int
    timestamp_version: int
    timestamp_digest: bytes
    is_behind: bool  # there is a newer timestamp than ours: somebody holds it back


@dataclass(frozen=True, slots=True)
class Trusted:
    """All that is kept between updates. Changed only by an update that verified whole.

    ``roots`` is the chain from the pinned root to the newest. The four other metadata
    are one consistent set, or all empty before the first update. ``files`` are the
    target files of that set by bundle name.
    """

    fleet: str
    roots: tuple[bytes, ...] = field(repr=False)
    timestamp: bytes = field(default=b"", repr=False)
    snapshot: bytes = field(default=b"", repr=False)
    targets: bytes = field(default=b"", repr=False)
    rollout: bytes = field(default=b"", repr=False)  # of the delegated role
    policy_version: int = 0  # highest ever seen
    min_version: int = 0  # highest floor ever seen
    time_floor_ns: int = 0  # told by the timestamp role; goes with its keys
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    root_floor: int = 0  # not stored: of a device that lost its chain of roots

    def encode(self) -> bytes:
        """Return the bytes to store. They are verified again when they come back."""
        encoded = msgpack.packb(
            [
                VERSION,
                self.fleet,
                list(self.roots),
                self.timestamp,
                self.snapshot,
                self.targets,
                self.rollout,
                self.policy_version,
                self.min_version,
                self.time_floor_ns,
                dict(sorted(self.files.items())),
            ]
        )
        assert isinstance(encoded, bytes)
        return encoded


def decode_trusted(data: bytes) -> Trusted:
    """Return what ``encode`` wrote, NOT verified (``policies.trust.reopen`` does)."""
    match _unpacked(data, TRUSTED_BYTES_MAX):
        case [
            1, str(fleet), list(roots), bytes(timestamp), bytes(snapshot),
            bytes(targets), bytes(rollout), int(policy_version), int(min_version),
            int(time_floor_ns), dict(files),
        ] if NAME.fullmatch(fleet):  # fmt: skip
            pass
        case _:
            raise TrustError("format", "the stored state has not the eleven fields")
    if not all(isinstance(root, bytes) for root in roots):
        raise TrustError("format", "a stored root is not bytes")
    return Trusted(
        fleet,
        tuple(roots),
        timestamp,
        snapshot,
        targets,
        rollout,
        policy_version,
        min_version,
        time_floor_ns,
        checked_files(files),
    )


def encode_proof(
    version: int, root_version: int, targets: bytes, files: Mapping[str, bytes]
) -> bytes:
    """Return what proves one policy: the metadata that name it, and its files."""
    named = dict(sorted(files.items()))
    encoded = msgpack.packb([VERSION, version, root_version, targets, named])
    assert isinstance(encoded, bytes)
    return encoded


def decode_proof(data: bytes) -> tuple[int, int, bytes, dict[str, bytes]]:
    """Return (policy version, root version, targets, files), NOT verified."""
    match _unpacked(data, PROOF_BYTES_MAX):
        case [1, int(version), int(root_version), bytes(targets), dict(files)]:
            return version, root_version, targets, checked_files(files)
    raise TrustError("format", "the stored proof has not the five fields")


def checked_files(files: Mapping[object, object]) -> dict[str, bytes]:
    """Return names and bytes; TrustError where they are something else."""
    out: dict[str, bytes] = {}
    for name, body in files.items():
        if not (isinstance(name, str) and isinstance(body, bytes)):
            raise TrustError("format", "a stored file is not name and bytes")
        out[name] = body
    return out


def _unpacked(data: bytes, bytes_max: int) -> object:
    if len(data) > bytes_max:
        raise TrustError("size", f"stored state larger than {bytes_max} bytes")
    try:
        found: object = msgpack.unpackb(
            data,
            max_array_len=ROOTS_MAX,
            max_map_len=FILES_MAX,
            max_bin_len=bytes_max,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        reason = f"stored state is no msgpack: {type(error).__name__}"
        raise TrustError("cut", reason) from None
    return found
