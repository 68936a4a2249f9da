"""What a fleet's repository says: from the timestamp down, and what devices get of it.

``View`` reads a folder, with files over it that are not written yet: so a change is
looked at whole before the first byte of it is on disk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from fleet.errors import BadInput
from fleet.files import read_limited
from policies.errors import PolicyError, TrustError
from policies.rollout import Rollout, parse_rollout
from policies.trust.content import bundle_name, listing
from policies.trust.form import BYTES_MAX
from policies.trust.metadata import ROLLOUT, ROLLOUT_PATH, load
from policies.trust.parts import TARGETS
from protocols.bundle import BUNDLE_BYTES_MAX, TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tuf.api.metadata import TargetFile

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)

ROOTS_SENT_MAX: Final = 32
_NUMBERED: Final = re.compile(r"([0-9]{1,15})\.([a-z]+)\.json")


@dataclass(frozen=True, slots=True)
class Standing:
    """The signed parts of one set, and their files by role (root: by version)."""

    root: Root
    timestamp: Timestamp | None
    snapshot: Snapshot | None
    targets: Targets | None
    rollout: Targets | None
    raw: Mapping[str, bytes]


class View:
    """A repository's folder, and files (``metadata/...``, ``targets/...``) over it."""

    def __init__(self, folder: Path, over: Mapping[str, bytes]) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._over = over

    def read(self, name: str, bytes_max: int) -> bytes:
        """Return a file; BadInput where there is none."""
        found = self._over.get(name)
        return read_limited(self._folder / name, bytes_max) if found is None else found

    def versions(self, role: str) -> set[int]:
        """Return the versions of a role that have a file."""
        names = [path.name for path in (self._folder / "metadata").glob("*.json")]
        names += [name.rpartition("/")[2] for name in self._over]
        found = map(_NUMBERED.fullmatch, names)
        return {int(one[1]) for one in found if one is not None and one[2] == role}

    def roots(self) -> dict[int, bytes]:
        """Return all roots by version."""
        return {
            number: self._metadata(f"{number}.root.json", "root")
            for number in sorted(self.versions("root"))
        }

    def standing(self) -> Standing:
        """Return the set, from the timestamp down; BadInput where it is broken."""
        newest = max(self.versions("root"), default=0)
        if not newest:
            raise BadInput(str(self._folder), "metadata", "holds no root")
        root = self.load(Root, "root", self._metadata(f"{newest}.root.json", "root"))
        name = f"metadata/{TIMESTAMP}"
        if name not in self._over and not (self._folder / name).exists():
            return Standing(root, None, None, None, None, {})
        files = {"timestamp": self._metadata(TIMESTAMP, "timestamp")}
        stamp = self.load(Timestamp, "timestamp", files["timestamp"])
        name = f"{stamp.snapshot_meta.version}.snapshot.json"
        files["snapshot"] = self._metadata(name, "snapshot")
        shot = self.load(Snapshot, "snapshot", files["snapshot"])
        parts: dict[str, Targets] = {}
        for role in (TARGETS, ROLLOUT):
            meta = shot.meta.get(f"{role}.json")
            if meta is not None:
                files[role] = self._metadata(f"{meta.version}.{role}.json", role)
                parts[role] = self.load(Targets, role, files[role])
        return Standing(
            root, stamp, shot, parts.get(TARGETS), parts.get(ROLLOUT), files
        )

    def target(self, path: str, one: TargetFile) -> bytes:
        """Return a target file."""
        return self.read(target_place(path, one), BUNDLE_BYTES_MAX)

    def rollout(self, standing: Standing) -> Rollout | None:
        """Return the rollout of a set, None where it has none."""
        if standing.rollout is None:
            return None
        body = self.target(ROLLOUT_PATH, standing.rollout.targets[ROLLOUT_PATH])
        try:
            return parse_rollout(body)
        except PolicyError as error:
            raise BadInput(str(self._folder), "", str(error)) from None

    def bundle(self) -> dict[str, bytes]:
        """Return the files that devices need, by their names in a bundle.

        The last 32 roots, the set, and the policies that the rollout names; before the
        first rollout the newest policy.
        """
        now = self.standing()
        if now.timestamp is None or now.snapshot is None or now.targets is None:
            raise BadInput(str(self._folder), "", "nothing is published yet")
        roots = list(self.roots().items())[-ROOTS_SENT_MAX:]
        files = {f"{number}.root.json": raw for number, raw in roots}
        files[TIMESTAMP] = now.raw["timestamp"]
        files[f"{now.snapshot.version}.snapshot.json"] = now.raw["snapshot"]
        files[f"{now.targets.version}.targets.json"] = now.raw[TARGETS]
        listed = listing(now.targets)
        told = self.rollout(now)
        newest = max(listed, default=0)
        wanted = {newest} if told is None else {told.candidate, told.stable}
        for version in wanted & set(listed):
            for path, one in listed[version].files.items():
                files[bundle_name(path, one)] = self.target(path, one)
        if now.rollout is not None:
            files[f"{now.rollout.version}.rollout.json"] = now.raw[ROLLOUT]
            one = now.rollout.targets[ROLLOUT_PATH]
            files[bundle_name(ROLLOUT_PATH, one)] = self.target(ROLLOUT_PATH, one)
        return files

    def load(self, model: type[S], kind: str, raw: bytes) -> S:
        """Return the signed part of a file; BadInput where it is none."""
        try:
            return load(model, kind, raw).signed
        except TrustError as error:
            raise BadInput(str(self._folder), kind, error.reason) from None

    def _metadata(self, name: str, kind: str) -> bytes:
        return self.read(f"metadata/{name}", BYTES_MAX[kind])


def target_place(path: str, one: TargetFile) -> str:
    """Return where a repository keeps a target file (consistent snapshots)."""
    folder, slash, name = path.rpartition("/")
    return f"targets/{folder}{slash}{one.hashes['sha256']}.{name}"
