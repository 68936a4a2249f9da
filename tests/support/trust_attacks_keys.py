"""Attacks on keys and roots: who may sign, how many, and who says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from protocols.bundle import encode_bundle
from tests.support.fleet_trust import compact, key_id, resealed
from tests.support.trust_attacks import World, new_targets, online_over

if TYPE_CHECKING:
    from collections.abc import Callable


def one_signature_of_two(world: World) -> bytes:
    """One person alone publishes a policy."""
    twin = world.twin()
    twin.signed_by = ("alice",)
    twin.add_policy(3)
    return twin.message()


def two_strangers(world: World) -> bytes:
    """Two people sign who are not of the fleet role; a root key is none either."""
    twin = world.twin()
    twin.signed_by = ("mallory", "root-1", "alice")
    return twin.message()


def same_key_twice(world: World) -> bytes:
    """One person's signature stands there twice."""
    plain = new_targets(world)
    plain["signatures"] = [plain["signatures"][0]] * 2  # type: ignore[index]  # plain JSON
    return online_over(world, compact(plain))


def same_key_under_two_ids(world: World) -> bytes:
    """A root lists one public key under two ids, so that one person makes two."""
    twin = world.twin()
    plain = json.loads(twin.rotate())
    other = "0" * 64
    alice = plain["signed"]["keys"][key_id("alice")]
    plain["signed"]["keys"][other] = alice
    plain["signed"]["roles"]["targets"]["keyids"] += [other]
    plain["signed"]["x-sluicegate"]["people"][other] = "zoe"
    twin.roots[-1] = resealed(compact(plain), ["root-1", "root-2"])
    return twin.message()


def one_person_with_two_keys(world: World) -> bytes:
    """A root gives one person two different keys."""
    twin = world.twin()
    plain = json.loads(twin.rotate())
    plain["signed"]["x-sluicegate"]["people"][key_id("bob")] = "alice"
    twin.roots[-1] = resealed(compact(plain), ["root-1", "root-2"])
    return twin.message()


def online_key_as_a_person(world: World) -> bytes:
    """A root lists the timestamp key among the people: a stolen one makes two."""
    twin = world.twin()
    twin.rotate(people=("alice", "bob", "timestamp"))
    return twin.message()


def too_few_old_root_keys(world: World) -> bytes:
    """One stolen root key makes a new root; its own new keys all sign."""
    twin = world.twin()
    new = ("evil-1", "evil-2", "evil-3")
    twin.rotate(("root-1", *new), root_names=new)
    return twin.message()


def too_few_new_root_keys(world: World) -> bytes:
    """The old keys sign, the new ones do not all exist."""
    twin = world.twin()
    new = ("new-1", "new-2", "new-3")
    twin.rotate(("root-1", "root-2", "new-1"), root_names=new)
    return twin.message()


def a_root_left_out(world: World) -> bytes:
    """Version 3 without version 2."""
    twin = world.twin()
    twin.rotate()
    twin.rotate()
    files = twin.publish()
    del files["2.root.json"]
    return encode_bundle(files)


def a_root_of_a_higher_version(world: World) -> bytes:
    """Version 7 under the name of version 2."""
    twin = world.twin()
    twin.add_root(["root-1", "root-2"], version=7)
    return twin.message()


def a_root_without_a_threshold(world: World) -> bytes:
    """A properly signed root that lets one person publish."""
    twin = world.twin()
    twin.add_root(["root-1", "root-2"], thresholds={"targets": 1})
    return twin.message()


def another_key_type(world: World) -> bytes:
    """A root with an RSA key for the timestamp."""
    twin = world.twin()
    plain = json.loads(twin.rotate())
    plain["signed"]["keys"][key_id("timestamp")] |= {
        "keytype": "rsa",
        "scheme": "rsassa-pss-sha256",
    }
    twin.roots[-1] = resealed(compact(plain), ["root-1", "root-2"])
    return twin.message()


def an_unknown_key_type(world: World) -> bytes:
    """A root with a key of a type that nobody knows."""
    twin = world.twin()
    plain = json.loads(twin.rotate())
    plain["signed"]["keys"][key_id("timestamp")] |= {"keytype": "rot13", "scheme": "r"}
    twin.roots[-1] = compact(plain)
    return twin.message()


KEY_ATTACKS: dict[Callable[[World], bytes], str] = {
    one_signature_of_two: "threshold",
    two_strangers: "threshold",
    too_few_new_root_keys: "threshold",
    a_root_without_a_threshold: "threshold",
    same_key_twice: "same-key",
    same_key_under_two_ids: "same-key",
    one_person_with_two_keys: "same-key",
    online_key_as_a_person: "same-key",
    too_few_old_root_keys: "root-chain",
    a_root_left_out: "root-chain",
    a_root_of_a_higher_version: "root-chain",
    another_key_type: "key-type",
    an_unknown_key_type: "key-type",
}
