"""Trust as an honest fleet uses it: begin, offer, renew, keep, reopen, ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.trust import (
    TrustError,
    advance,
    begin,
    combined,
    freshness,
    offer,
    open_bundle,
    proof,
    reopen,
    reverify,
)
from tests.support.fleet_trust import DAY_S, NOW_NS, NS, FleetTrust

NONCE = "ab" * 16


def fleet_with(*versions: int, **fields: object) -> FleetTrust:
    fleet = FleetTrust()
    for version in versions:
        fleet.add_policy(version)
    fleet.roll_out(max(versions), **fields)  # type: ignore[arg-type]  # fields by name
    return fleet


def test_the_first_bundle_gives_candidate_stable_and_rollout() -> None:
    fleet = FleetTrust()
    text = fleet.add_policy(
        7,
        min_version=3,
        devices=["gw-1"],
        terms={"trial_s": 30},
        catalogues={"ours.yaml": b"c"},
        cards={"oem-2026": b"card"},
    )
    fleet.add_policy(6)
    fleet.roll_out(7, 6, upto=100)
    trusted, offered = offer(
        begin(fleet.roots[0], "north"), open_bundle(fleet.message()), NOW_NS
    )
    assert sorted(offered.policies) == [6, 7]
    assert offered.rollout is not None
    assert (offered.rollout.candidate, offered.rollout.upto) == (7, 100)
    policy = offered.policy(7, "gw-1")
    assert policy.text == text
    assert policy.signers == ("alice", "bob")
    assert policy.catalogues == {"ours.yaml": b"c"}
    assert policy.cards == {"oem-2026": b"card"}
    assert policy.terms.trial_s == 30
    assert (trusted.policy_version, trusted.min_version) == (7, 3)
    assert offered.expires_ns == NOW_NS + 7 * DAY_S * NS  # the timestamp's


def test_the_same_bundle_again_changes_nothing() -> None:
    fleet = fleet_with(1)
    files = open_bundle(fleet.message())
    trusted, first = offer(begin(fleet.roots[0], "north"), files, NOW_NS)
    again, second = offer(trusted, files, NOW_NS)
    assert again == trusted
    assert second == first


def test_a_renewal_keeps_the_policies_and_moves_the_expiry() -> None:
    fleet = fleet_with(1)
    bundle = open_bundle(fleet.message())
    trusted, first = offer(begin(fleet.roots[0], "north"), bundle, NOW_NS)
    fleet.now_s += 5 * DAY_S
    trusted, renewed = offer(trusted, fleet.renew(), fleet.now_s * NS)
    assert renewed.expires_ns == first.expires_ns + 5 * DAY_S * NS
    assert renewed.policies == first.policies
    # the retained bundle comes again with its older timestamp: late, no rollback
    again, _ = offer(trusted, bundle, fleet.now_s * NS)
    assert again == trusted


def test_an_expired_bundle_with_its_renewal_is_good_for_a_new_device() -> None:
    fleet = fleet_with(1)
    bundle = open_bundle(fleet.message())
    fleet.now_s += 20 * DAY_S
    renewal = fleet.renew()
    begun = begin(fleet.roots[0], "north")
    with pytest.raises(TrustError, match="freeze"):
        offer(begun, bundle, fleet.now_s * NS)
    for files in (
        combined(bundle, renewal),
        combined(renewal, bundle) | bundle | renewal,
    ):
        _, offered = offer(begun, files, fleet.now_s * NS)
        assert offered.timestamp_version == 2
    assert combined(bundle, {}) == bundle
    assert combined(bundle, {"timestamp.json": b"{" * 100}) == bundle


def test_the_signed_time_is_a_floor_for_a_clock_at_1970() -> None:
    fleet = fleet_with(1)
    trusted, _ = offer(begin(fleet.roots[0], "north"), fleet.publish(), 0)
    assert trusted.time_floor_ns == NOW_NS
    fleet.now_s += 400 * DAY_S  # the root has expired by now, and the clock says 1970
    with pytest.raises(TrustError, match="expired"):
        offer(advance(trusted, _fresh(fleet, trusted)), fleet.renew(), 0)


def _fresh(fleet: FleetTrust, trusted: object) -> object:
    return freshness(trusted, fleet.answer(NONCE, "gw-1"), NONCE, "gw-1")  # type: ignore[arg-type]  # a helper


def test_what_is_stored_comes_back_verified() -> None:
    fleet = fleet_with(1, 2)
    trusted, offered = offer(begin(fleet.roots[0], "north"), fleet.publish(), NOW_NS)
    assert reopen(trusted.encode(), fleet.roots[0], "north") == (trusted, offered)
    begun = begin(fleet.roots[0], "north")
    assert reopen(begun.encode(), fleet.roots[0], "north") == (begun, None)


def test_a_proof_holds_when_the_fleet_role_was_rotated_since() -> None:
    fleet = fleet_with(1)
    trusted, offered = offer(begin(fleet.roots[0], "north"), fleet.publish(), NOW_NS)
    kept = proof(trusted, offered.policies[1])
    fleet.rotate(people=("dora", "emil", "fay"))
    fleet.signed_by = ("dora", "fay")
    trusted, later = offer(trusted, fleet.publish(), NOW_NS)
    assert later.policies[1].signers == ("dora", "fay")
    trusted, _ = reopen(trusted.encode(), fleet.roots[0], "north")
    assert reverify(trusted, kept) == offered.policies[1]
    fresh, _ = reopen(trusted.encode(), fleet.roots[1], "north")
    with pytest.raises(TrustError, match="root-chain"):
        reverify(fresh, kept)


def test_an_answer_to_our_nonce_tells_time_and_whether_we_are_behind() -> None:
    fleet = fleet_with(1)
    trusted, _ = offer(begin(fleet.roots[0], "north"), fleet.publish(), NOW_NS)
    fresh = freshness(trusted, fleet.answer(NONCE, "gw-1"), NONCE, "gw-1")
    assert (fresh.time_ns, fresh.is_behind) == (NOW_NS, False)
    fleet.renew()
    behind = freshness(trusted, fleet.answer(NONCE, "gw-1"), NONCE, "gw-1")
    assert behind.is_behind
    later = advance(trusted, replace(fresh, time_ns=NOW_NS + 1))
    assert later.time_floor_ns == NOW_NS + 1
    assert advance(later, fresh) == later


def test_a_policy_for_some_devices_is_not_for_others() -> None:
    fleet = FleetTrust()
    fleet.add_policy(1, devices=["gw-1"])
    fleet.roll_out(1)
    _, offered = offer(begin(fleet.roots[0], "north"), fleet.publish(), NOW_NS)
    assert offered.policy(1, "gw-1").version == 1
    with pytest.raises(TrustError, match="wrong-device"):
        offered.policy(1, "gw-2")
    with pytest.raises(TrustError, match="missing"):
        offered.policy(2, "gw-1")
    with pytest.raises(TrustError, match="policy-version"):
        offered.policy(1, "gw-1").check_text("test-fleet", 2, 1)
