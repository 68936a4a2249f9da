"""The policy path: what may decide, who refuses, and what has lost its permission."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from agent.control import approve, judge, permitted
from agent.errors import Refused
from policies.diff.difference import Difference, Weakening
from policies.files import LOCKDOWN, load
from policies.tables import NO_RULE, Action
from policies.trust import SignedPolicy, Terms

if TYPE_CHECKING:
    from policies.files import Loaded


def test_lint_and_floor_refuse_by_name_and_lockdown_is_said() -> None:
    loaded = load(None, [], None, None, buses=(), links=())
    assert judge(loaded, {}, LOCKDOWN).state == "lockdown"
    assert judge(loaded, {}, "another").state == "active"
    compiled = loaded.compiled
    two = SimpleNamespace(errors=["a", "b"], violations=[], compiled=compiled)
    with pytest.raises(Refused, match=r"lint: a \(and 1 more\)") as caught:
        judge(cast("Loaded", two), {}, LOCKDOWN)
    assert caught.value.rule == "lint"
    low = SimpleNamespace(errors=[], violations=["below"], compiled=compiled)
    with pytest.raises(Refused, match="floor: below"):
        judge(cast("Loaded", low), {}, LOCKDOWN)


def test_what_weakens_needs_two_different_people() -> None:
    def signed(*signers: str) -> SignedPolicy:
        return SignedPolicy("p", 2, 1, b"", b"", {}, {}, Terms(), signers)

    tile = Weakening("Vehicle.Map.Tile", "geo.map", None, "oem", "looser", 1, True)
    plain = Weakening("Vehicle.Speed", "location", None, "oem", "looser", 1, False)
    assert approve(signed("alice"), Difference((), (plain,))) == 0
    assert approve(signed("alice", "bob"), Difference((), (tile, plain))) == 1
    for people in ((), ("alice",), ("alice", "alice")):
        with pytest.raises(Refused, match="fewer than two people") as caught:
            approve(signed(*people), Difference((), (tile,)))
        assert caught.value.rule == "approvals"
        assert "Vehicle.Map.Tile to oem" in caught.value.reason


def test_lockdown_permits_nothing_and_a_fleet_only_what_its_rules_send() -> None:
    nothing = load(None, [], None, None, buses=(), links=()).compiled.policy
    assert permitted(nothing) == set()
    buses = ("can0", "can1", "can2")
    fleet = load(
        "passenger-fleet", ["sim-vehicle.bindings"], None, None, buses=buses, links=()
    ).compiled.policy
    places = permitted(fleet)
    assert {name for name, _ in places} == {"oem", "supplier"}
    slowly = {
        (destination.name, int(fleet.rules[number].label_out[item]))
        for destination in fleet.destinations
        for item, row in enumerate(destination.chain.tolist())
        for number in row
        if number != NO_RULE
        and fleet.rules[number].action in {Action.ALLOW, Action.ENCRYPT}
    }
    assert places == slowly
