"""A fleet's TUF repository as a folder: ``metadata/``, ``targets/``, ``fleet.json``.

A standard one with consistent snapshots, so python-tuf's own client reads it over HTTP,
too. A change is shown whole to a device that has seen everything (``device.state``)
before a byte of it is written; ``timestamp.json`` is written last.
"""

from __future__ import annotations

import contextlib
import fcntl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from tuf.api.metadata import Root, Targets

from fleet.errors import BadInput, Refused
from fleet.files import read_limited, replace, write_new
from fleet.trust.making import DAY_S, Days, entry, sealed, snapshot, timestamp
from fleet.trust.standing import Standing, View, target_place
from policies.errors import TrustError
from policies.trust import begin, offer, reopen
from policies.trust.metadata import NS, ROLLOUT
from policies.trust.model import TRUSTED_BYTES_MAX
from policies.trust.parts import TARGETS
from protocols.bundle import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fleet.trust.signing import SigningKey
    from policies.rollout import Rollout

SCHEMA: Final = "sluicegate/fleet-repository/1"
SETTINGS: Final = "fleet.json"
DEVICE: Final = "device.state"
SETTINGS_BYTES_MAX: Final = 4096


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The folder's own words."""

    schema: str
    fleet: str
    days: Days = Days()


@dataclass(frozen=True, slots=True)
class Online:
    """The keys that publishing needs."""

    snapshot: SigningKey
    timestamp: SigningKey


@dataclass(frozen=True, slots=True)
class Change:
    """New signed metadata by role, and new target files by path."""

    root: bytes = b""
    targets: bytes = b""
    rollout: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)


class Repository:
    """One fleet's folder. Nothing is held between calls but its name and settings."""

    def __init__(self, folder: Path) -> None:
        """Open a repository; BadInput where the folder is none."""
        self.folder = folder
        data = read_limited(folder / SETTINGS, SETTINGS_BYTES_MAX)
        try:
            settings = msgspec.json.decode(data, type=Settings)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(str(folder / SETTINGS), "", str(error)) from None
        if settings.schema != SCHEMA:
            raise BadInput(str(folder / SETTINGS), "schema", f"is not {SCHEMA}")
        self.fleet = settings.fleet
        self.days = settings.days

    @staticmethod
    def create(folder: Path, fleet: str, root: bytes, days: Days) -> Repository:
        """Make the folder of a new fleet from its first root."""
        settings = msgspec.json.encode(Settings(SCHEMA, fleet, days))
        write_new(folder / SETTINGS, msgspec.json.format(settings, indent=2) + b"\n")
        write_new(folder / "metadata" / "1.root.json", root)
        (folder / "targets").mkdir(exist_ok=True)
        return Repository(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others who would change the repository out; BadInput where one is in."""
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                reason = "another sluicectl is changing it"
                raise BadInput(str(self.folder), "", reason, "try again") from None
            yield

    def view(self, over: Mapping[str, bytes] | None = None) -> View:
        """Return the repository as it is, or as it would be with files over it."""
        return View(self.folder, over or {})

    def standing(self) -> Standing:
        """Return what is published."""
        return self.view().standing()

    def rollout(self) -> Rollout | None:
        """Return the rollout that is published, None where none is."""
        view = self.view()
        return view.rollout(view.standing())

    def bundle(self) -> dict[str, bytes]:
        """Return what devices are sent."""
        return self.view().bundle()

    def next_version(self, role: str) -> int:
        """Return a version that no file has: of one that failed something may lie."""
        return max(self.view().versions(role), default=0) + 1

    def advance(self, change: Change, online: Online, now_s: int) -> dict[str, bytes]:
        """Publish a change in the folder; return the bundle.

        Refused, with nothing written, where a device would refuse it.
        """
        now = self.standing()
        view = self.view()
        over: dict[str, bytes] = {}
        if change.root:
            number = view.load(Root, "root", change.root).version
            over[f"metadata/{number}.root.json"] = change.root
        for path, body in change.files.items():
            over[target_place(path, entry(path, body))] = body
        named: dict[str, tuple[int, bytes]] = {}
        for role, raw in ((TARGETS, change.targets), (ROLLOUT, change.rollout)):
            body = raw or now.raw.get(role, b"")
            if body:
                named[role] = (view.load(Targets, role, body).version, body)
                over[f"metadata/{named[role][0]}.{role}.json"] = body
        if TARGETS not in named:
            raise BadInput(str(self.folder), "", "no policy is published yet")
        number = self.next_version("snapshot")
        made = snapshot(self.fleet, number, named, now_s + self.days.snapshot * DAY_S)
        raw = sealed(made, [online.snapshot.signer()])
        over[f"metadata/{number}.snapshot.json"] = raw
        return self._stamped(over, (number, raw), online.timestamp, now_s)

    def renew(self, online: Online, now_s: int) -> bytes:
        """Sign a newer timestamp, and a snapshot where it ends soon; return it."""
        now = self.standing()
        if now.snapshot is None:
            raise BadInput(str(self.folder), "", "nothing is published yet")
        left_s = int(now.snapshot.expires.timestamp()) - now_s
        if left_s < 2 * self.days.timestamp * DAY_S:
            return self.advance(Change(), online, now_s)[TIMESTAMP]
        named = (now.snapshot.version, now.raw["snapshot"])
        return self._stamped({}, named, online.timestamp, now_s)[TIMESTAMP]

    def _stamped(
        self,
        over: dict[str, bytes],
        named: tuple[int, bytes],
        key: SigningKey,
        now_s: int,
    ) -> dict[str, bytes]:
        """Sign a timestamp, show all to a device, write it; the timestamp last."""
        stamp = self.standing().timestamp
        number = 1 if stamp is None else stamp.version + 1
        expires_s = now_s + self.days.timestamp * DAY_S
        made = timestamp(self.fleet, number, named, now_s, expires_s)
        over = over | {f"metadata/{TIMESTAMP}": sealed(made, [key.signer()])}
        view = self.view(over)
        files = view.bundle()
        try:
            state = self._device(view, files, now_s)
        except TrustError as error:
            reason = f"devices would refuse it: {error.reason}"
            raise Refused(error.rule, reason) from None
        # targets, then metadata; a root before the timestamp that its keys signed
        for name in sorted(over, key=lambda one: (TIMESTAMP in one, "root" in one)):
            replace(self.folder / name, over[name])
        replace(self.folder / DEVICE, state)
        return files

    def _device(self, view: View, files: Mapping[str, bytes], now_s: int) -> bytes:
        """Return what a device that saw everything trusts then; TrustError."""
        first = next(iter(view.roots().values()))
        place = self.folder / DEVICE
        trusted = begin(first, self.fleet)
        if place.exists():
            kept = read_limited(place, TRUSTED_BYTES_MAX)
            trusted, _ = reopen(kept, first, self.fleet)
        return offer(trusted, files, now_s * NS)[0].encode()
