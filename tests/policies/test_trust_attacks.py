"""The attack suite: refused with their rule, nothing changed, the next update good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from policies.trust import RULES, TrustError, offer, open_bundle
from policies.trust.form import check_form, depth
from protocols.bundle import encode_bundle
from tests.support.fleet_trust import DAY_S, NS, resealed
from tests.support.trust_attacks import ATTACKS, World, expired_root, new_world
from tests.support.trust_attacks_form import FORM_ATTACKS
from tests.support.trust_attacks_keys import KEY_ATTACKS

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = ATTACKS | KEY_ATTACKS | FORM_ATTACKS


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.mark.parametrize(
    ("attack", "rule"), ALL.items(), ids=lambda one: getattr(one, "__name__", one)
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
    assert set(ALL.values()) | {"cut", "wrong-device"} == set(RULES)


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


def test_quotes_without_an_end_cost_no_more_than_their_bytes() -> None:
    """64 KiB of escaped quotes took a minute, in which the process did nothing else."""
    raw = b'[{"' + b'\\"' * 32_000 + b"[" * 20
    assert depth(raw) == 2
    began_s = time.process_time()
    with pytest.raises(TrustError) as refusal:
        check_form("root", raw)
    assert refusal.value.rule == "format"
    assert time.process_time() - began_s < 1


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
