"""A fleet's repository and keys in a folder, made by the operator's own code.

Random keys and the wall clock, as an operator has them; `fleet_trust` is the
deterministic one. ``publish_policy`` does propose, two signatures, publish.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleet.founding import Founded, Founding, found
from fleet.policy_source import Against
from fleet.proposal import add_signature
from fleet.proposing import Wanted, propose_policy
from fleet.release import Release
from fleet.repository import Repository
from fleet.signing import Passphrases, load_key
from policies.trust import Terms

if TYPE_CHECKING:
    from pathlib import Path

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
