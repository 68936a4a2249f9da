"""What the targets metadata list, and the files of it that are at hand.

Paths: ``policy/<version>/policy.yaml`` with ``catalogues/<name>.yaml`` and
``cards/<recipient>.card.json`` beside it. A bundle names a file by its hash and last
name. docs/formats/trust.md section 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from policies.errors import PolicyError, TrustError
from policies.rollout import parse_rollout
from policies.trust.metadata import ROLLOUT_PATH
from policies.trust.model import SignedPolicy, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuf.api.metadata import TargetFile, Targets

    from policies.rollout import Rollout

TARGETS_MAX: Final = 512
POLICIES_MAX: Final = 16
DEVICES_MAX: Final = 1000
_PATH: Final = re.compile(
    r"policy/([1-9][0-9]{0,14})/"
    r"(?:(policy\.yaml)|catalogues/([A-Za-z0-9_.-]{1,64}\.yaml)"
    r"|cards/([A-Za-z0-9_.-]{1,64})\.card\.json)"
)
_NAME: Final = r"^[A-Za-z0-9_.-]{1,64}$(?!\n)"  # $ alone lets a line end pass
_VERSION = Annotated[int, Meta(ge=1, le=2**53)]
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class PolicyCustom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``custom`` of a policy's target: signed beside its hash."""

    name: Annotated[str, Meta(pattern=_NAME)]
    version: _VERSION
    min_version: _VERSION
    terms: Terms
    devices: Annotated[
        list[Annotated[str, Meta(pattern=_NAME)]], Meta(max_length=DEVICES_MAX)
    ] = []


@dataclass(frozen=True, slots=True)
class Listed:
    """One policy of the targets metadata: what is said of it, its files by path."""

    custom: PolicyCustom
    files: Mapping[str, TargetFile]

    @property
    def digests(self) -> dict[str, str]:
        """Return SHA-256 (hex) by path: what must not change under one version."""
        return {path: one.hashes["sha256"] for path, one in self.files.items()}


@dataclass(frozen=True, slots=True)
class Content:
    """The policies at hand, the rollout, and the files that they are made of."""

    policies: Mapping[int, SignedPolicy]
    rollout: Rollout | None
    files: Mapping[str, bytes]


def listing(targets: Targets) -> dict[int, Listed]:
    """Return what the targets metadata list, by policy version; TrustError."""
    if len(targets.targets) > TARGETS_MAX:
        raise TrustError("size", f"targets: more than {TARGETS_MAX} files")
    found: dict[int, dict[str, TargetFile]] = {}
    customs: dict[int, PolicyCustom] = {}
    for path, target in targets.targets.items():
        match = _PATH.fullmatch(path)
        if match is None:
            raise TrustError("format", "targets: a path is not one of a policy's")
        check_hashes("targets", target)
        version = int(match[1])
        found.setdefault(version, {})[path] = target
        if match[2]:
            customs[version] = _custom(target, version)
    if found.keys() != customs.keys():
        raise TrustError("format", "targets: files of a policy without its text")
    if len(found) > POLICIES_MAX:
        raise TrustError("size", f"targets: more than {POLICIES_MAX} policies")
    return {one: Listed(customs[one], found[one]) for one in found}


def read_content(
    listed: Mapping[int, Listed],
    rollout: Targets | None,
    signers: tuple[str, ...],
    files: Mapping[str, bytes],
) -> Content:
    """Return the policies whose text is among ``files``, and the rollout; TrustError.

    Every file is what its signed length and hash say, and none of a policy at hand is
    missing. The rollout's candidate, and its stable policy if it has one, are at hand.
    """
    used: dict[str, bytes] = {}
    policies = {
        version: _policy(one, signers, files, used)
        for version, one in listed.items()
        if bundle_name(text_path(version), one.files[text_path(version)]) in files
    }
    if rollout is None:
        return Content(policies, None, used)
    if [*rollout.targets] != [ROLLOUT_PATH] or rollout.delegations is not None:
        raise TrustError("delegation", "rollout: names more than rollout.json")
    target = rollout.targets[ROLLOUT_PATH]
    check_hashes("rollout", target)
    try:
        told = parse_rollout(take(ROLLOUT_PATH, target, files, used))
    except PolicyError as error:
        raise TrustError("format", f"rollout.json: {error.reason}") from None
    for version in (told.candidate, told.stable):
        if version and version not in policies:
            reason = f"policy {version}, which the rollout names, is not in the bundle"
            raise TrustError("missing", reason)
    return Content(policies, told, used)


def text_path(version: int) -> str:
    """Return the path of a policy's text."""
    return f"policy/{version}/policy.yaml"


def bundle_name(path: str, target: TargetFile) -> str:
    """Return what a bundle names a target file by."""
    return f"{target.hashes['sha256']}.{path.rpartition('/')[2]}"


def check_hashes(kind: str, target: TargetFile) -> None:
    """Return where length and SHA-256 are told, and nothing else is."""
    digest = target.hashes.get("sha256")
    if [*target.hashes] != ["sha256"] or not isinstance(digest, str):
        raise TrustError("hash", f"{kind}: a file is not named by its SHA-256")
    if not _DIGEST.fullmatch(digest) or type(target.length) is not int:
        raise TrustError("hash", f"{kind}: a file's length or hash has another form")


def take(
    path: str,
    target: TargetFile,
    files: Mapping[str, bytes],
    used: dict[str, bytes],
) -> bytes:
    """Return the bytes of a target file, looked at whole; note them in ``used``."""
    name = bundle_name(path, target)
    body = files.get(name)
    if body is None:
        raise TrustError("missing", f"{path} is not in the bundle")
    if len(body) != target.length:
        raise TrustError("hash", f"{path}: has not the signed length")
    if sha256(body).hexdigest() != target.hashes["sha256"]:
        raise TrustError("hash", f"{path}: has not the signed hash")
    used[name] = body
    return body


def _policy(
    listed: Listed,
    signers: tuple[str, ...],
    files: Mapping[str, bytes],
    used: dict[str, bytes],
) -> SignedPolicy:
    text, catalogues, cards = b"", {}, {}
    for path, target in listed.files.items():
        body = take(path, target, files, used)
        match = _PATH.fullmatch(path)
        assert match is not None  # ``listing`` looked
        if match[2]:
            text = body
        elif match[3]:
            catalogues[match[3]] = body
        else:
            cards[match[4]] = body
    custom = listed.custom
    return SignedPolicy(
        custom.name,
        custom.version,
        custom.min_version,
        sha256(text).digest(),
        text,
        catalogues,
        cards,
        custom.terms,
        signers,
        tuple(custom.devices),
    )


def _custom(target: TargetFile, version: int) -> PolicyCustom:
    try:
        custom = msgspec.convert(target.custom, PolicyCustom, strict=True)
    except msgspec.ValidationError:
        raise TrustError("format", "targets: what is said of a policy") from None
    if custom.version != version or custom.min_version > version:
        raise TrustError("policy-version", "targets: versions do not fit together")
    return custom
