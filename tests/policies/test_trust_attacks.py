"""The attacks, by name: refused with their rule, nothing changed, the next update good.

Every attack is made by somebody who holds no more than its name says: the broker, or a
stolen key. ``World`` is a fleet whose device has taken a first bundle.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack
import pytest

from policies.trust import RULES, TrustError, begin, offer, open_bundle
from policies.trust.form import check_form
from protocols.bundle import BUNDLE_BYTES_MAX, encode_bundle
from tests.support.fleet_trust import (
    DAY_S,
    NS,
    FleetTrust,
    compact,
    key_id,
    private_key,
    resealed,
    signer,
)

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


@pytest.fixture
def world() -> World:
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


def _online_over(world: World, targets: bytes) -> bytes:
    """Return a bundle of given targets metadata, with honest online signatures."""
    twin = world.twin()
    twin.versions["targets"] += 1
    for name in [one for one in twin.metadata if one.endswith("targets.json")]:
        del twin.metadata[name]
    version = twin.versions["targets"]
    plain = json.loads(targets)
    plain["signed"]["version"] = plain["signed"]["version"]
    twin.metadata[f"{version}.targets.json"] = targets
    return twin.message(targets=False)


def _new_targets(world: World) -> dict[str, object]:
    twin = world.twin()
    raw = twin.publish()["2.targets.json"]
    plain = json.loads(raw)
    assert isinstance(plain, dict)
    return plain


def same_key_twice(world: World) -> bytes:
    """One person's signature stands there twice."""
    plain = _new_targets(world)
    plain["signatures"] = [plain["signatures"][0]] * 2  # type: ignore[index]  # plain JSON
    return _online_over(world, compact(plain))


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
    return _online_over(world, raw)


def no_fleet(world: World) -> bytes:
    """Signed bytes that name no fleet at all."""
    twin = world.twin()
    raw = twin.publish()["timestamp.json"]
    plain = json.loads(raw)
    del plain["signed"]["x-sluicegate"]
    twin.metadata["timestamp.json"] = resealed(compact(plain), ["timestamp"])
    return encode_bundle(twin.bundle())


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


def missing_key_id(world: World) -> bytes:
    plain = _new_targets(world)
    del plain["signatures"][0]["keyid"]  # type: ignore[index]  # plain JSON
    return _online_over(world, compact(plain))


def empty_key_id(world: World) -> bytes:
    plain = _new_targets(world)
    plain["signatures"][0]["keyid"] = ""  # type: ignore[index]  # plain JSON
    return _online_over(world, compact(plain))


def key_id_of_nobody(world: World) -> bytes:
    plain = _new_targets(world)
    plain["signatures"][0]["keyid"] = "0" * 64  # type: ignore[index]  # plain JSON
    return _online_over(world, compact(plain))


def empty_signature(world: World) -> bytes:
    plain = _new_targets(world)
    plain["signatures"][0]["sig"] = ""  # type: ignore[index]  # plain JSON
    return _online_over(world, compact(plain))


def stripped_signatures(world: World) -> bytes:
    return _online_over(world, compact(_new_targets(world) | {"signatures": []}))


def stripped_timestamp(world: World) -> bytes:
    files = world.twin().publish()
    plain = json.loads(files["timestamp.json"]) | {"signatures": []}
    return encode_bundle(files | {"timestamp.json": compact(plain)})


def _timestamp_as(world: World, change: Callable[[bytes], bytes]) -> bytes:
    files = world.twin().publish()
    raw = change(files["timestamp.json"])
    return encode_bundle(files | {"timestamp.json": raw})


def white_space(world: World) -> bytes:
    return _timestamp_as(world, lambda raw: raw.replace(b",", b", ", 1))


def trailing_newline(world: World) -> bytes:
    return _timestamp_as(world, lambda raw: raw + b"\n")


def duplicate_key(world: World) -> bytes:
    """A second version: readers differ on which one counts."""
    return _timestamp_as(
        world, lambda raw: raw.replace(b'"version":2}', b'"version":2,"version":2}')
    )


def other_key_order(world: World) -> bytes:
    def change(raw: bytes) -> bytes:
        plain = json.loads(raw)
        return json.dumps(dict(reversed(plain.items())), separators=(",", ":")).encode()

    return _timestamp_as(world, change)


def escaped_letter(world: World) -> bytes:
    return _timestamp_as(
        world, lambda raw: raw.replace(b"timestamp", b"\\u0074imestamp")
    )


def real_number(world: World) -> bytes:
    return _timestamp_as(
        world, lambda raw: raw.replace(b'"version":2}', b'"version":2.0}')
    )


def other_spelling_of_a_date(world: World) -> bytes:
    """strptime takes a month of one digit; the signature holds over tuf's own form."""
    return _timestamp_as(world, lambda raw: raw.replace(b"-07-", b"-7-", 1))


def bundle_in_another_order(world: World) -> bytes:
    files = world.twin().publish()
    return bytes(msgpack.packb([1, dict(sorted(files.items(), reverse=True))]))


def bundle_with_bytes_behind(world: World) -> bytes:
    return world.twin().message() + b"\0"


def bundle_with_a_name_twice(world: World) -> bytes:
    files = world.twin().publish()
    packer = msgpack.Packer()
    body = packer.pack_array_header(2) + packer.pack(1)
    body += packer.pack_map_header(len(files) + 1)
    for name, raw in [*files.items(), ("timestamp.json", files["timestamp.json"])]:
        body += packer.pack(name) + packer.pack(raw)
    return bytes(body)


def oversized_bundle(world: World) -> bytes:
    return world.twin().message() + bytes(BUNDLE_BYTES_MAX)


def too_many_files(world: World) -> bytes:
    files = world.twin().publish()
    files |= {f"{n}.x": b"" for n in range(200)}
    return bytes(msgpack.packb([1, dict(sorted(files.items()))]))


def oversized_metadata(world: World) -> bytes:
    def change(raw: bytes) -> bytes:
        plain = json.loads(raw)
        plain["signed"]["note"] = "x" * 10_000
        return resealed(compact(plain), ["timestamp"])

    return _timestamp_as(world, change)


def too_many_signatures(world: World) -> bytes:
    plain = _new_targets(world)
    forged = [{"keyid": f"{n:064x}", "sig": "0" * 128} for n in range(40)]
    return _online_over(world, compact(plain | {"signatures": forged}))


def deeply_nested_metadata(world: World) -> bytes:
    return _timestamp_as(world, lambda _: b"[" * 4000 + b"]" * 4000)


def nested_a_little_too_deep(world: World) -> bytes:
    def change(raw: bytes) -> bytes:
        plain = json.loads(raw)
        deep: object = 0
        for _ in range(10):
            deep = [deep]
        plain["signed"]["note"] = deep
        return resealed(compact(plain), ["timestamp"])

    return _timestamp_as(world, change)


def deeply_nested_bundle(_: World) -> bytes:
    return b"\x91" * 100_000


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
    plain = _new_targets(world)
    signed = plain["signed"]
    assert isinstance(signed, dict)
    change(signed)
    return _online_over(world, resealed(compact(plain), ["alice", "bob"]))


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
    one_signature_of_two: "threshold",
    two_strangers: "threshold",
    key_id_of_nobody: "threshold",
    desk_signed_by_another: "threshold",
    too_few_new_root_keys: "threshold",
    a_root_without_a_threshold: "threshold",
    same_key_twice: "same-key",
    same_key_under_two_ids: "same-key",
    one_person_with_two_keys: "same-key",
    wrong_fleet: "wrong-fleet",
    wrong_fleet_in_the_targets: "wrong-fleet",
    no_fleet: "wrong-fleet",
    too_few_old_root_keys: "root-chain",
    a_root_left_out: "root-chain",
    a_root_of_a_higher_version: "root-chain",
    another_key_type: "key-type",
    an_unknown_key_type: "key-type",
    missing_key_id: "key-id",
    empty_key_id: "key-id",
    empty_signature: "unsigned",
    stripped_signatures: "unsigned",
    stripped_timestamp: "unsigned",
    white_space: "non-canonical",
    trailing_newline: "non-canonical",
    duplicate_key: "non-canonical",
    other_key_order: "non-canonical",
    escaped_letter: "non-canonical",
    real_number: "format",
    other_spelling_of_a_date: "non-canonical",
    bundle_in_another_order: "non-canonical",
    bundle_with_bytes_behind: "non-canonical",
    bundle_with_a_name_twice: "non-canonical",
    oversized_bundle: "size",
    too_many_files: "size",
    oversized_metadata: "size",
    too_many_signatures: "size",
    deeply_nested_metadata: "depth",
    nested_a_little_too_deep: "depth",
    deeply_nested_bundle: "depth",
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


@pytest.mark.parametrize(
    ("attack", "rule"), ATTACKS.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_an_attack_is_refused_and_the_next_update_is_good(
    world: World, attack: Callable[[World], bytes], rule: str
) -> None:
    message = attack(world)
    before = world.trusted.encode()
    with pytest.raises(TrustError) as refusal:
        world.offer(message)
    assert refusal.value.rule == rule, str(refusal.value)
    assert world.trusted.encode() == before

    if attack is expired_root:
        world.fleet.rotate()
    version = max(world.trusted.policy_version, 5) + 1
    world.fleet.add_policy(version)
    world.fleet.roll_out(version)
    after, offered = world.offer(world.fleet.message())
    assert offered.policies[version].version == version
    assert after.policy_version == version


def test_every_rule_that_can_refuse_an_update_is_attacked() -> None:
    assert set(ATTACKS.values()) | {"cut", "wrong-device"} == set(RULES)


def test_a_bundle_cut_in_the_middle_is_refused_at_every_offset(world: World) -> None:
    message = world.twin().message()
    for end in range(len(message)):
        with pytest.raises(TrustError) as refusal:
            world.offer(message[:end])
        assert refusal.value.rule == "cut", end


def test_metadata_cut_in_the_middle_are_refused_at_every_offset(world: World) -> None:
    files = world.twin().publish()
    names = [name for name in files if name.endswith(".json") and "root" not in name]
    assert len(names) == 5
    for name in names:
        for end in range(len(files[name])):
            with pytest.raises(TrustError):
                check_form("targets", files[name][:end])
        for end in range(0, len(files[name]), 29):
            cut = files | {name: files[name][:end]}
            with pytest.raises(TrustError):
                offer(world.trusted, cut, world.fleet.now_s * NS)


def test_every_single_bit_of_the_metadata_counts(world: World) -> None:
    files = world.twin().publish()
    for name in (one for one in files if one.endswith(".json") and "root" not in one):
        for place in range(0, len(files[name]), 11):
            body = bytearray(files[name])
            body[place] ^= 1 << place % 8
            with pytest.raises(TrustError):
                offer(
                    world.trusted, files | {name: bytes(body)}, world.fleet.now_s * NS
                )


def test_wrong_device(world: World) -> None:
    world.fleet.add_policy(3, devices=["gw-1"])
    world.fleet.roll_out(3)
    _, offered = world.offer(world.fleet.message())
    with pytest.raises(TrustError) as refusal:
        offered.policy(3, "gw-2")
    assert refusal.value.rule == "wrong-device"


def test_a_stolen_timestamp_key_runs_ahead_and_rotation_recovers(world: World) -> None:
    """The thief names version 2**40 and the day after tomorrow; both are believed."""
    files = open_bundle(world.first)
    bound = {"fleet": "north", "time_s": world.fleet.now_s + 2 * DAY_S}
    ahead = resealed(
        files["timestamp.json"], ["timestamp"], version=2**40, **{"x-sluicegate": bound}
    )
    world.trusted, _ = world.offer(encode_bundle(files | {"timestamp.json": ahead}))
    assert world.trusted.time_floor_ns == (world.fleet.now_s + 2 * DAY_S) * NS

    world.fleet.add_policy(3)
    with pytest.raises(TrustError) as refusal:
        world.offer(world.fleet.message())
    assert refusal.value.rule == "rollback"

    world.fleet.rotate(timestamp_name="timestamp-2")
    world.trusted, offered = world.offer(world.fleet.message())
    assert offered.timestamp_version == 3
    assert world.trusted.time_floor_ns == world.fleet.now_s * NS
    # what the thief signs now is nobody's
    with pytest.raises(TrustError) as refusal:
        world.offer(encode_bundle(files | {"timestamp.json": ahead}))
    assert refusal.value.rule == "threshold"


def test_a_thief_cannot_run_ahead_beyond_what_people_signed(world: World) -> None:
    """A time at which the snapshot has expired is refused and leaves no floor."""
    files = open_bundle(world.first)
    bound = {"fleet": "north", "time_s": world.fleet.now_s + 4000 * DAY_S}
    ahead = resealed(
        files["timestamp.json"],
        ["timestamp"],
        version=2**40,
        expires="2100-01-01T00:00:00Z",
        **{"x-sluicegate": bound},
    )
    with pytest.raises(TrustError) as refusal:
        world.offer(encode_bundle(files | {"timestamp.json": ahead}))
    assert refusal.value.rule == "expired"


def test_stolen_snapshot_and_timestamp_keys_are_cured_by_rotating_both(
    world: World,
) -> None:
    twin = world.twin()
    twin.versions |= {"snapshot": 2**40, "timestamp": 2**40}
    world.trusted, _ = world.offer(twin.message(targets=False))
    world.fleet.rotate(timestamp_name="timestamp-2", snapshot_name="snapshot-2")
    world.fleet.versions["rollout"] = twin.versions["rollout"]
    _, offered = world.offer(world.fleet.message())
    assert offered.timestamp_version == 2


def test_three_root_rotations_while_the_device_was_off(world: World) -> None:
    """All root keys are new in the end, and roots between have expired."""
    world.fleet.rotate(root_names=("r-4", "root-2", "root-3"))
    world.fleet.now_s += 300 * DAY_S
    world.fleet.rotate(root_names=("r-4", "r-5", "root-3"))
    world.fleet.now_s += 300 * DAY_S
    world.fleet.rotate(root_names=("r-4", "r-5", "r-6"), people=("dora", "emil", "fay"))
    world.fleet.signed_by = ("dora", "emil")
    world.fleet.add_policy(3)
    trusted, offered = world.offer(world.fleet.message())
    assert offered.root_version == 4
    assert len(trusted.roots) == 4
    assert offered.policies[2].signers == ("dora", "emil")


@pytest.mark.parametrize("rotations", [32, 33])
def test_32_rotations_are_caught_up_and_33_are_not(
    world: World, rotations: int
) -> None:
    for _ in range(rotations):
        world.fleet.rotate()
    message = world.fleet.message()
    if rotations == 32:
        trusted, _ = world.offer(message)
        assert len(trusted.roots) == 33
        return
    with pytest.raises(TrustError) as refusal:
        world.offer(message)
    assert refusal.value.rule == "root-chain"


def test_key_ids_and_private_keys_of_the_kit_stay_the_same() -> None:
    public = private_key("alice").public_key().public_bytes_raw().hex()
    assert signer("alice").public_key.keyval["public"] == public
