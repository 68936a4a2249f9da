"""The operator's side of the bench: keys, repository, policies, registry, floors."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.rollout_device import private_key
from fleet.registry import SCHEMA, SUFFIX
from fleet.trust.journal import FileJournal
from fleet.trust.making import DAY_S, Days, Holders, PolicyFiles, root, sealed, targets
from fleet.trust.repository import Change, Online, Repository
from fleet.trust.signing import Passphrases, SigningKey, load_key, make_key
from policies.files import shipped_text
from policies.trust.model import Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

FLEET: Final = "bench"
BINDINGS_FOLDER: Final = Path(__file__).resolve().parents[1] / "firmware_sim/scenarios"
POLICY: Final = "passenger-fleet"
NAMES: Final = (
    "root-1", "root-2", "root-3", "alice", "bob", "carol", "desk", "snapshot",
    "timestamp", "journal",
)  # fmt: skip
# The first forbids what both policies do; the second what the second policy alone does.
FLOORS: Final = {
    "first": "match: {category: chassis}\n    never_leaves: true",
    "second": "match: {category: chassis}\n    allowed_destinations: [oem, supplier]",
}
MORE: Final = """\
  maps:
    region: CN
    recipients: [oem-2026]
    suite: x25519-aes256gcm
    confirm: receipt
"""


@dataclass(frozen=True)
class Site:
    """Folders of one fleet."""

    folder: Path
    root_base64: str

    def options(self, port: int) -> list[str]:
        """Return the options of every `sluicectl rollout` command."""
        return [
            "--fleet", FLEET, "--broker", f"127.0.0.1:{port}",
            "--devices", str(self.folder / "devices"),
            "--repository", str(self.folder / "repository"),
            "--keys", str(self.folder / "keys"),
        ]  # fmt: skip


def make_site(folder: Path, devices: Sequence[str], trial_s: int) -> Site:
    """Make a fleet with two signed policies; nothing is rolled out yet."""
    keys = folder / "keys"
    for name in NAMES:
        make_key(name, keys)
    _enrol(folder / "devices", devices)
    for name, rule in FLOORS.items():
        text = f"schema: sluicegate/floor/1\nrules:\n  - name: {name}\n    {rule}\n"
        (folder / f"{name}.floor.yaml").write_text(text)
    return Site(folder, _publish(folder, trial_s))


def policy_texts() -> tuple[bytes, bytes]:
    """Return a policy and the next one, which sends brake statistics one place more."""
    shipped = shipped_text("examples", POLICY)
    first = shipped.replace(b"version: 42", b"version: 1")
    first = first.replace(b"min_version: 40", b"min_version: 1")
    second = first.replace(b"version: 1\n", b"version: 2\n", 1)
    second = second.replace(b"destinations:\n", b"destinations:\n" + MORE.encode(), 1)
    rule = b'match: {item: "Vehicle.Chassis.**", max_tier: G2, pi: none}\n    to: '
    assert rule in second
    return first, second.replace(rule + b"supplier", rule + b"[supplier, maps]")


def _enrol(folder: Path, devices: Sequence[str]) -> None:
    """Write what `sluicectl devices add` writes, without waiting for the disk."""
    folder.mkdir()
    for name in devices:
        key = private_key(name).public_key().public_bytes_raw()
        told = {
            "schema": SCHEMA,
            "device": name,
            "ed25519": base64.b64encode(key).decode(),
        }
        (folder / f"{name}{SUFFIX}").write_text(json.dumps(told))


def _publish(folder: Path, trial_s: int) -> str:
    """Make the repository; return its root, base64."""
    now_s = int(time.time())
    asked = Passphrases()
    key = {name: load_key(folder / "keys" / f"{name}.pem", asked) for name in NAMES}

    def halves(*names: str) -> list[SigningKey]:
        return [key[name] for name in names]

    holders = Holders(
        [one.half() for one in halves("root-1", "root-2", "root-3")],
        [one.half() for one in halves("alice", "bob", "carol")],
        [key["snapshot"].half()],
        [key["timestamp"].half()],
    )
    first = sealed(
        root(FLEET, 1, holders, now_s + 365 * DAY_S),
        [one.signer() for one in halves("root-1", "root-2")],
    )
    repository = Repository.create(folder / "repository", FLEET, first, Days())
    FileJournal(repository.folder, FLEET, key["journal"]).begin()
    policies = [
        PolicyFiles(
            POLICY, version, 1, text, Terms(trial_s=trial_s),
            catalogues={"cn-auto.yaml": shipped_text("catalogues", "cn-auto")},
        )
        for version, text in enumerate(policy_texts(), start=1)
    ]  # fmt: skip
    entries = {path: one for p in policies for path, one in p.targets().items()}
    files = {path: body for p in policies for path, body in p.paths().items()}
    made = targets(FLEET, 1, entries, [key["desk"].half()], now_s + 365 * DAY_S)
    signed = sealed(made, [one.signer() for one in halves("alice", "bob")])
    online = Online(key["snapshot"], key["timestamp"])
    repository.advance(Change(targets=signed, files=files), online, now_s)
    return base64.b64encode(first).decode()
