"""A fleet's repository and keys in a folder, made by the operator's own code.

Random keys and the wall clock, as an operator has them; `fleet_trust` is the
deterministic one. ``publish_policy`` does propose, two signatures, publish.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleet import main
from fleet.policy.source import Against
from fleet.trust.founding import Founded, Founding, found
from fleet.trust.proposal import add_signature
from fleet.trust.proposing import Wanted, propose_policy
from fleet.trust.release import Release
from fleet.trust.repository import Repository
from fleet.trust.signing import Passphrases, load_key
from policies.trust import Terms, begin, offer, open_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from policies.trust import Offer, Trusted

PEOPLE = ("alice", "bob", "carol")
POLICY = """\
schema: sluicegate/policy/1
name: speeds
version: %d
min_version: 1
catalogues: [tiny.yaml]
destinations:
  oem: {region: CN, recipients: [oem-2026]}
rules:
  - name: speed
    match: {category: speed}
    to: oem
    purpose: fleet-operation
    do: [{every: 60s}, encrypt]
"""
CATALOGUE = """\
schema: sluicegate/catalogue/1
name: tiny
version: 1
categories:
  - id: T-1
    category: speed
    about: How fast.
    label: {tier: important}
    default: leaves sealed
    basis: [DSL 21]
    basis_mark: ours
    items: ["Vehicle.Speed"]
"""


def found_fleet(folder: Path, fleet: str = "north") -> Founded:
    """Return a new fleet: 2 of alice, bob, carol; 2 of 2 root keys."""
    told = Founding(fleet, folder, PEOPLE, ("root-1", "root-2"))
    return found(told, int(time.time()), Passphrases())


def publish_policy(
    founded: Founded, policy: Path, terms: Terms | None = None, *people: str
) -> bytes:
    """Return the bundle after a policy file went the whole way into the repository."""
    place = Repository(founded.repository)
    wanted = Wanted(terms or Terms())
    proposal, _ = propose_policy(place, policy, Against(), wanted, int(time.time()))
    for name in people or PEOPLE[:2]:
        key = load_key(founded.keys / f"{name}.pem", Passphrases())
        proposal, _ = add_signature(proposal, key)
    return Release(founded.repository, founded.keys).publish(proposal)


def write_tiny(folder: Path, version: int = 1) -> Path:
    """Write a small policy with its catalogue; return the policy's path."""
    (folder / "tiny.yaml").write_text(CATALOGUE)
    path = folder / f"policy-{version}.yaml"
    path.write_text(POLICY % version)
    return path


def ran(*words: object) -> int:
    return main.run([str(word) for word in words])


class CommandFleet:
    """A fleet in a folder (`sluicectl keys init` made it), and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "north" / "repository"
        self.keys = folder / "north" / "keys"
        self.root = (folder / "north" / "root.json").read_bytes()
        self.count = 0

    def policy(self, version: int, *changes: tuple[str, str]) -> Path:
        text = POLICY % version
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = self.folder / f"policy-{version}.yaml"
        path.write_text(text)
        (self.folder / "tiny.yaml").write_text(CATALOGUE)
        return path

    def propose(self, version: int, *words: object) -> Path:
        self.count += 1
        out = self.folder / f"{self.count}.proposal"
        policy = self.policy(version)
        words = ("policy", "propose", policy, "-r", self.repository, "-o", out, *words)
        assert ran(*words) == 0
        return out

    def sign(self, proposal: Path, *names: str) -> None:
        for name in names:
            key = self.keys / f"{name}.pem"
            assert ran("policy", "sign", proposal, "--key", key, "--yes") == 0

    def publish(self, *proposal: Path) -> bytes:
        self.count += 1
        out = self.folder / f"{self.count}.bundle"
        assert self.published(out, *proposal) == 0
        return out.read_bytes()

    def published(self, out: Path, *proposal: Path) -> int:
        words = ("-r", self.repository, "-k", self.keys, "--out", out)
        return ran("policy", "publish", *proposal, *words)

    def release(self, *versions: int) -> bytes:
        for version in versions:
            proposal = self.propose(version)
            self.sign(proposal, "alice", "carol")
            message = self.publish(proposal)
        return message

    def rotate(self, *words: object) -> Path:
        self.count += 1
        out = self.folder / f"{self.count}.proposal"
        where = ("-r", self.repository, "-k", self.keys, "-o", out)
        assert ran("keys", "rotate", *words, *where) == 0
        return out

    def device(self) -> Trusted:
        return begin(self.root, "north")

    def taken(self, trusted: Trusted, message: bytes) -> tuple[Trusted, Offer]:
        return offer(trusted, open_bundle(message), time.time_ns())


def command_fleet(folder: Path) -> CommandFleet:
    """Return the fleet north of alice, bob and carol, made by command in ``folder``."""
    people = [word for name in PEOPLE for word in ("--person", name)]
    assert ran("keys", "init", "north", "--folder", folder / "north", *people) == 0
    return CommandFleet(folder)
