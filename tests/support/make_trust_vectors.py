"""Writes docs/formats/vectors/trust.json anew: the same in every run.

Run from the project's root: python -m tests.support.make_trust_vectors
"""

from __future__ import annotations

import json
from pathlib import Path

from policies.trust import TrustError, begin, offer, open_bundle
from protocols.bundle import encode_bundle
from tests.support.fleet_trust import NOW_NS, NS, FleetTrust
from tests.support.trust_attacks import ATTACKS, new_world
from tests.support.trust_attacks_form import FORM_ATTACKS
from tests.support.trust_attacks_keys import KEY_ATTACKS

PLACE = Path("docs/formats/vectors/trust.json")
NONCE = "000102030405060708090a0b0c0d0e0f"
DEVICE = "gw-1"
BYTES_MAX = 8 * 1024  # larger ones stay out


def vector() -> dict[str, object]:
    """Return the vector: a bundle and what it says, a renewal, an answer, refusals."""
    world = new_world()
    fleet: FleetTrust = world.fleet
    start = begin(fleet.roots[0], fleet.name)
    trusted, offered = offer(start, open_bundle(world.first), NOW_NS)
    refused = _refused(world.first)
    renewal = fleet.renew()
    told: dict[str, object] = {
        "format": "docs/formats/trust.md, version 1",
        "fleet": fleet.name,
        "now_ns": NOW_NS,
        "root": fleet.roots[0].decode(),
        "bundle": world.first.hex(),
        "expires_ns": offered.expires_ns,
        "policies": {
            str(version): {
                "sha256": one.digest.hex(),
                "signers": list(one.signers),
                "devices": list(one.devices),
                "trial_s": one.terms.trial_s,
            }
            for version, one in offered.policies.items()
        },
        "renewal": encode_bundle(renewal).hex(),
        "renewed_version": fleet.versions["timestamp"],
        "device": DEVICE,
        "nonce": NONCE,
        "answer": fleet.answer(NONCE, DEVICE).hex(),
        "refused": refused,
    }
    assert trusted.policy_version
    return told


def _refused(first: bytes) -> list[dict[str, object]]:
    """Return attacks on a device that has taken the first bundle and no other.

    Each as what differs from that bundle: files by name, None where one is left out.
    """
    good = open_bundle(first)
    out: list[dict[str, object]] = []
    for attack, rule in (ATTACKS | KEY_ATTACKS | FORM_ATTACKS).items():
        world = new_world()
        before = world.trusted
        try:
            files = open_bundle(attack(world))
        except TrustError:
            continue  # no bundle at all
        if world.trusted != before:
            continue  # it wants another history
        other = {name: raw.decode() for name, raw in files.items()
                 if good.get(name) != raw}  # fmt: skip
        if sum(map(len, other.values())) < BYTES_MAX:
            told = {**dict.fromkeys(sorted(good.keys() - files.keys())), **other}
            name = attack.__name__.replace("_", " ")
            now_ns = world.fleet.now_s * NS
            out.append({"name": name, "rule": rule, "now_ns": now_ns, "files": told})
    return out


if __name__ == "__main__":
    text = json.dumps(vector(), indent=1)
    PLACE.write_text(text + "\n", encoding="utf-8")
