"""Attacks on policy trust, by name: each gives the message that the device is shown.

Every attack is made by somebody who holds no more than its name says: the broker, or a
stolen key. ``ATTACKS`` tells the rule that refuses each.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.trust import begin, offer, open_bundle
from protocols.bundle import encode_bundle
from tests.support.fleet_trust import DAY_S, NS, FleetTrust, compact, resealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.trust import Offer, Trusted


@dataclass
class World:
    """An honest fleet, a device that trusts its first bundle, and that bundle."""

    fleet: FleetTrust
    trusted: Trusted
    first: bytes

    def twin(self) -> FleetTrust:
        """Return the fleet as an attacker plays it; the honest one stays."""
        return copy.deepcopy(self.fleet)

    def offer(self, message: bytes) -> tuple[Trusted, Offer]:
        return offer(self.trusted, open_bundle(message), self.fleet.now_s * NS)


def new_world() -> World:
    """Return a fleet with a device that has taken its first bundle."""
    fleet = FleetTrust()
    fleet.add_policy(1)
    fleet.add_policy(2)
    fleet.roll_out(2, 1)
    first = fleet.message()
    start = begin(fleet.roots[0], fleet.name)
    trusted, _ = offer(start, open_bundle(first), fleet.now_s * NS)
    return World(fleet, trusted, first)


# --- Attacks: each gives the message that the device is shown -------------------------


def rollback(world: World) -> bytes:
    """The broker shows the bundle before the last one."""
    world.fleet.add_policy(3)
    world.trusted, _ = world.offer(world.fleet.message())
    return world.first


def rollback_of_the_snapshot(world: World) -> bytes:
    """A stolen timestamp key names the snapshot before the last one."""
    world.fleet.add_policy(3)
    world.trusted, _ = world.offer(world.fleet.message())
    old = open_bundle(world.first)
    meta = json.loads(old["timestamp.json"])["signed"]["meta"]
    newer = resealed(old["timestamp.json"], ["timestamp"], version=9, meta=meta)
    return encode_bundle(old | {"timestamp.json": newer})


def _with_old_targets(world: World) -> FleetTrust:
    old = {"targets": open_bundle(world.first)["1.targets.json"]}
    world.fleet.add_policy(3)
    world.trusted, _ = world.offer(world.fleet.message())
    twin = world.twin()
    twin.versions["targets"] = 1
    twin.metadata.pop("2.targets.json")
    twin.metadata["1.targets.json"] = old["targets"]
    return twin


def rollback_of_the_targets(world: World) -> bytes:
    """Both online keys are stolen and name targets from before."""
    return _with_old_targets(world).message(targets=False)


def rollback_by_leaving_out(world: World) -> bytes:
    """Both online keys are stolen and name no rollout any more."""
    twin = world.twin()
    twin.rollout_text = b""
    twin.versions["rollout"] = 0
    return twin.message(targets=False)


def freeze(world: World) -> bytes:
    """The broker shows the same bundle for eight days."""
    world.fleet.now_s += 8 * DAY_S
    return world.first


def expired_snapshot(world: World) -> bytes:
    """Only the timestamp was renewed for longer than a snapshot lives."""
    world.fleet.now_s += 31 * DAY_S
    return encode_bundle(open_bundle(world.first) | world.fleet.renew())


def expired_root(world: World) -> bytes:
    """Everything is renewed but the root."""
    world.fleet.now_s += 366 * DAY_S
    return world.fleet.message()


def mix_of_targets(world: World) -> bytes:
    """New timestamp and snapshot, and the targets from before under the new name."""
    new = open_bundle(world.twin().message())
    old = open_bundle(world.first)
    return encode_bundle(new | {"2.targets.json": old["1.targets.json"]})


def mix_of_snapshots(world: World) -> bytes:
    """The newest timestamp, and another snapshot under the name that it gives."""
    twin = world.twin()
    new = open_bundle(twin.message())
    old = open_bundle(world.first)
    return encode_bundle(new | {"2.snapshot.json": old["1.snapshot.json"]})


def mix_of_files(world: World) -> bytes:
    """Good metadata, another text under the policy's name."""
    files = open_bundle(world.twin().message())
    name = next(one for one in files if one.endswith(".policy.yaml"))
    return encode_bundle(files | {name: b"schema: sluicegate/policy/1"})


def file_of_the_same_length(world: World) -> bytes:
    """Good metadata, a text of the right length with one bit turned."""
    files = open_bundle(world.twin().message())
    name = next(one for one in files if one.endswith(".policy.yaml"))
    body = bytearray(files[name])
    body[-2] ^= 1
    return encode_bundle(files | {name: bytes(body)})


def online_over(world: World, targets: bytes) -> bytes:
    """Return a bundle of given targets metadata, with honest online signatures."""
    twin = world.twin()
    twin.versions["targets"] += 1
    for name in [one for one in twin.metadata if one.endswith("targets.json")]:
        del twin.metadata[name]
    version = twin.versions["targets"]
    twin.metadata[f"{version}.targets.json"] = targets
    return twin.message(targets=False)


def new_targets(world: World) -> dict[str, object]:
    twin = world.twin()
    raw = twin.publish()["2.targets.json"]
    plain = json.loads(raw)
    assert isinstance(plain, dict)
    return plain


def wrong_fleet(world: World) -> bytes:
    """The bundle of another fleet of the same people, signed by the same keys."""
    twin = world.twin()
    twin.name = "south"
    return twin.message()


def wrong_fleet_in_the_targets(world: World) -> bytes:
    """Only what two people signed is of the other fleet."""
    twin = world.twin()
    twin.name = "south"
    raw = twin.publish()["2.targets.json"]
    return online_over(world, raw)


def no_fleet(world: World) -> bytes:
    """Signed bytes that name no fleet at all."""
    twin = world.twin()
    raw = twin.publish()["timestamp.json"]
    plain = json.loads(raw)
    del plain["signed"]["x-sluicegate"]
    twin.metadata["timestamp.json"] = resealed(compact(plain), ["timestamp"])
    return encode_bundle(twin.bundle())


def replayed_version(world: World) -> bytes:
    """A stolen timestamp key signs a second timestamp of the version that we have."""
    files = open_bundle(world.first)
    later = resealed(
        files["timestamp.json"], ["timestamp"], expires="2026-07-09T00:00:00Z"
    )
    return encode_bundle(files | {"timestamp.json": later})


def timestamp_of_another_kind(world: World) -> bytes:
    """The snapshot stands where the timestamp belongs."""
    files = world.twin().publish()
    return encode_bundle(files | {"timestamp.json": files["2.snapshot.json"]})


def policy_with_other_content(world: World) -> bytes:
    """Two people sign a second text under a version that is out already."""
    twin = world.twin()
    twin.add_policy(2, text=b"schema: sluicegate/policy/1")
    return twin.message()


def policy_of_a_lower_version(world: World) -> bytes:
    """New content under a version below one that was signed before."""
    world.fleet.add_policy(5)
    world.trusted, _ = world.offer(world.fleet.message())
    twin = world.twin()
    twin.add_policy(4)
    return twin.message()


def policy_below_the_floor(world: World) -> bytes:
    """The release desk alone goes back below ``min_version``."""
    world.fleet.add_policy(5, min_version=5)
    world.fleet.roll_out(5)
    world.trusted, _ = world.offer(world.fleet.message())
    twin = world.twin()
    twin.roll_out(2, 1)
    return twin.message(targets=False)


def desk_names_more(world: World) -> bytes:
    """The release desk signs a policy of its own beside rollout.json."""
    twin = world.twin()
    raw = twin.publish()["2.rollout.json"]
    plain = json.loads(raw)
    targets = json.loads(twin.metadata["2.targets.json"])["signed"]["targets"]
    plain["signed"]["targets"] |= targets
    twin.metadata["2.rollout.json"] = resealed(compact(plain), ["desk"])
    twin._snapshot()
    twin._timestamp()
    return encode_bundle(twin.bundle())


def desk_signed_by_another(world: World) -> bytes:
    twin = world.twin()
    twin.publish()
    raw = resealed(twin.metadata["2.rollout.json"], ["timestamp"])
    twin.metadata["2.rollout.json"] = raw
    twin._snapshot()
    twin._timestamp()
    return encode_bundle(twin.bundle())


def _targets_as(world: World, change: Callable[[dict[str, object]], None]) -> bytes:
    plain = new_targets(world)
    signed = plain["signed"]
    assert isinstance(signed, dict)
    change(signed)
    return online_over(world, resealed(compact(plain), ["alice", "bob"]))


def desk_may_sign_more(world: World) -> bytes:
    """Two people delegate everything to the desk."""

    def change(signed: dict[str, object]) -> None:
        roles = signed["delegations"]["roles"]  # type: ignore[index]  # plain JSON
        roles[0]["paths"] = ["*"]

    return _targets_as(world, change)


def a_path_of_no_policy(world: World) -> bytes:
    def change(signed: dict[str, object]) -> None:
        targets = signed["targets"]
        assert isinstance(targets, dict)
        targets["../etc/passwd"] = targets["policy/1/policy.yaml"]

    return _targets_as(world, change)


def a_file_named_by_another_hash(world: World) -> bytes:
    def change(signed: dict[str, object]) -> None:
        signed["targets"]["policy/1/policy.yaml"]["hashes"] = {"md5": "0" * 32}  # type: ignore[index]  # plain JSON

    return _targets_as(world, change)


def rollout_of_a_policy_that_is_not_there(world: World) -> bytes:
    twin = world.twin()
    twin.roll_out(9)
    return twin.message()


def no_timestamp_for_a_new_key(world: World) -> bytes:
    """The timestamp key is rotated, and no timestamp of the new one comes along."""
    twin = world.twin()
    twin.rotate(timestamp_name="timestamp-2")
    files = twin.bundle()
    del files["timestamp.json"]
    return encode_bundle(files)


ATTACKS: dict[Callable[[World], bytes], str] = {
    rollback: "rollback",
    rollback_of_the_snapshot: "rollback",
    rollback_of_the_targets: "rollback",
    rollback_by_leaving_out: "rollback",
    replayed_version: "replay",
    freeze: "freeze",
    expired_snapshot: "expired",
    expired_root: "expired",
    mix_of_targets: "mix-and-match",
    mix_of_snapshots: "mix-and-match",
    mix_of_files: "hash",
    file_of_the_same_length: "hash",
    a_file_named_by_another_hash: "hash",
    desk_signed_by_another: "threshold",
    wrong_fleet: "wrong-fleet",
    wrong_fleet_in_the_targets: "wrong-fleet",
    no_fleet: "wrong-fleet",
    timestamp_of_another_kind: "type",
    policy_with_other_content: "policy-version",
    policy_of_a_lower_version: "policy-version",
    policy_below_the_floor: "policy-version",
    desk_names_more: "delegation",
    desk_may_sign_more: "delegation",
    a_path_of_no_policy: "format",
    rollout_of_a_policy_that_is_not_there: "missing",
    no_timestamp_for_a_new_key: "missing",
}
