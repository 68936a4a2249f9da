"""One metadata file: of its kind, for this fleet, signed by enough different keys.

On python-tuf's public ``tuf.api.metadata``. What it leaves to its caller is demanded
here: Ed25519 only, no public key under two ids, thresholds of our own, the fleet's name
in the signed bytes, a person's name for each key of people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from msgspec import Meta
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)

from policies.errors import TrustError
from policies.trust.form import check_form, is_key_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from securesystemslib.signer import Key
    from tuf.api.metadata import Role, VerificationResult

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)

BINDING: Final = "x-sluicegate"  # our field in every role's signed part
ROLLOUT: Final = "rollout"  # the one delegated role
ROLLOUT_PATH: Final = "rollout.json"
KEYS_MAX: Final = 64
VERSION_MAX: Final = 2**53
NS: Final = 1_000_000_000
# One person must never be enough for what people sign.
THRESHOLD_MIN: Final = {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1}
PEOPLES: Final = ("root", "targets")
_PUBLIC: Final = re.compile(r"[0-9a-f]{64}")
_PERSON: Final = r"^[A-Za-z0-9_.-]{1,64}$(?!\n)"  # $ alone lets a line end pass

Person = Annotated[str, Meta(pattern=_PERSON)]


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Our field in the signed part."""

    fleet: str
    time_s: int = 0  # timestamp: when it was signed, s since the epoch
    people: dict[str, Person] = {}  # root: who holds the key of an id


def load(model: type[S], kind: str, raw: bytes) -> Metadata[S]:
    """Return parsed metadata of the role ``kind``, NOT verified; TrustError.

    Its fleet is looked at by ``verify``: the signature comes first.
    """
    plain = check_form(kind, raw)
    try:
        metadata = Metadata[S].from_bytes(raw)
    except RepositoryError:
        rule = "key-type" if _other_keys(plain) else "format"
        raise TrustError(rule, f"{kind}: is no metadata that we take") from None
    signed = metadata.signed
    if not isinstance(signed, model):
        raise TrustError("type", f"{kind}: is metadata of the role {signed.type}")
    if metadata.to_dict() != plain:
        raise TrustError("non-canonical", f"{kind}: a field has another form")
    if type(signed.version) is not int or signed.version > VERSION_MAX:
        raise TrustError("format", f"{kind}: version out of range")
    if isinstance(signed, Root):
        _check_root(signed)
    if isinstance(signed, Targets) and signed.delegations is not None:
        _check_keys(signed.delegations.keys)
    return metadata


def verify(
    kind: str, delegator: Root | Targets, metadata: Metadata[S], fleet: str
) -> tuple[str, ...]:
    """Return the ids of the keys that signed, where these are enough; else TrustError.

    Then the fleet's name in what they signed.
    """
    result = _result(kind, delegator, metadata)
    if not result:
        had = f"{len(result.signed)} of {result.threshold}"
        raise TrustError("threshold", f"{kind}: {had} good signatures")
    if binding(kind, metadata.signed).fleet != fleet:
        raise TrustError("wrong-fleet", f"{kind}: is for another fleet")
    return tuple(sorted(result.signed))


def is_signed(kind: str, delegator: Root | Targets, metadata: Metadata[S]) -> bool:
    """Tell whether enough keys of the delegator's role signed."""
    return bool(_result(kind, delegator, metadata))


def public_keys(root: Root, kind: str) -> frozenset[str]:
    """Return the public keys (hex) of a role."""
    ids = root.roles[kind].keyids
    return frozenset(root.keys[one].keyval["public"] for one in ids)


def binding(kind: str, signed: Signed) -> Binding:
    """Return our field of the signed part."""
    try:
        found = signed.unrecognized_fields.get(BINDING)
        return msgspec.convert(found, Binding, strict=True)
    except msgspec.ValidationError:
        raise TrustError("wrong-fleet", f"{kind}: names no fleet") from None


def expires_ns(signed: Signed) -> int:
    """Return when it expires, in ns since the epoch."""
    return int(signed.expires.timestamp()) * NS


def check_delegation(targets: Targets) -> None:
    """Return where the only delegation is the release desk's, over its one path."""
    delegations = targets.delegations
    if delegations is None:
        return
    roles = delegations.roles
    if delegations.succinct_roles is not None or roles is None or [*roles] != [ROLLOUT]:
        raise TrustError("delegation", "targets: delegates to another role")
    role = roles[ROLLOUT]
    if role.paths != [ROLLOUT_PATH] or not role.terminating:
        raise TrustError("delegation", "targets: delegates more than rollout.json")
    _check_role("rollout", role, delegations.keys, 1)
    if ROLLOUT_PATH in targets.targets:
        raise TrustError("delegation", "targets: names rollout.json itself")


def _result(
    kind: str, delegator: Root | Targets, metadata: Metadata[S]
) -> VerificationResult:
    try:
        return delegator.get_verification_result(
            kind, metadata.signed_bytes, metadata.signatures
        )
    except (RepositoryError, ValueError):
        raise TrustError("format", f"{kind}: nobody could have signed this") from None


def _check_root(root: Root) -> None:
    _check_keys(root.keys)
    if not root.consistent_snapshot:
        raise TrustError("format", "root: without consistent snapshots")
    people = binding("root", root).people
    online = {*root.roles["snapshot"].keyids, *root.roles["timestamp"].keyids}
    if online & {*root.roles["root"].keyids, *root.roles["targets"].keyids}:
        raise TrustError("same-key", "root: an online key counts as a person's")
    for name, least in THRESHOLD_MIN.items():
        _check_role(name, root.roles[name], root.keys, least)
        if name not in PEOPLES:
            continue
        names = [people.get(key_id, "") for key_id in root.roles[name].keyids]
        if name == "targets" and "" in names:
            raise TrustError("key-id", "root: a key of the fleet role has no person")
        held = [one for one in names if one]
        if len(set(held)) != len(held):
            raise TrustError("same-key", f"root: one person holds two keys of {name}")


def _check_role(name: str, role: Role, keys: Mapping[str, Key], least: int) -> None:
    if type(role.threshold) is not int or role.threshold < least:
        raise TrustError("threshold", f"root: {name} asks for less than {least} keys")
    if not set(role.keyids) <= set(keys):
        raise TrustError("key-id", f"{name}: names a key that is not there")
    if role.threshold > len(role.keyids):
        raise TrustError("threshold", f"{name}: asks for more keys than it has")


def _check_keys(keys: Mapping[str, Key]) -> None:
    """Return where all are Ed25519 and no two are the same key under two ids."""
    if len(keys) > KEYS_MAX:
        raise TrustError("size", f"more than {KEYS_MAX} keys")
    seen: set[str] = set()
    for key_id, key in keys.items():
        if not is_key_id(key_id):
            raise TrustError("key-id", "a key id is not 64 hex digits")
        if (key.keytype, key.scheme) != ("ed25519", "ed25519"):
            raise TrustError("key-type", "a key is not Ed25519")
        public = key.keyval.get("public")
        # one spelling of the bytes, so that comparing text compares keys
        if not isinstance(public, str) or not _PUBLIC.fullmatch(public):
            raise TrustError("key-type", "a public key is not 64 hex digits")
        if public in seen:
            raise TrustError("same-key", "one public key under two ids")
        seen.add(public)


def _other_keys(plain: Mapping[str, object]) -> bool:
    """Tell whether keys of another type may be why tuf took it for no metadata."""
    match plain["signed"]:
        case {"keys": dict(keys)}:
            pass
        case {"delegations": {"keys": dict(keys)}}:
            pass
        case _:
            return False
    return any(
        not (
            isinstance(key, dict)
            and key.get("keytype") == key.get("scheme") == "ed25519"
        )
        for key in keys.values()
    )
