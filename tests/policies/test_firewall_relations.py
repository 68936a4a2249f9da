"""Which rule holds all of another: within, refuses, meets."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from policies.firewall.plain import PlainRule, plain_rules
from policies.firewall.relations import Holders, may_meet, refuses_all, within
from policies.firewall.words import rule_words
from policies.model_firewall import Firewall, FirewallRuleFile


def rule(**fields: Any) -> PlainRule:
    told = {"rules": [{"name": "r", **fields}]}
    return plain_rules(msgspec.convert(told, Firewall))[0]


DAY = "Mon-Fri 08:00-18:00 +08:00"
PAIRS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"fc": 3}, {}, True),
    ({}, {"fc": 3}, False),
    ({"unit": 0}, {}, False),
    ({"unit": [0, 9]}, {"unit": [0, 255]}, True),
    ({}, {"unit": [0, 255]}, True),
    ({"item": "A.B"}, {}, False),  # it may lie in unit 255
    ({"item": "A.B"}, {"unit": [0, 255]}, True),
    ({"item": "A.B"}, {"unit": [0, 255], "table": 4}, False),
    ({"fc": [3, 6]}, {"table": 4}, True),  # these address holding registers alone
    ({"fc": [3, 4]}, {"table": 4}, False),
    ({"addr": [3, 5]}, {"addr": [[0, 4], [5, 9]]}, True),
    ({"from": "10.0.0.7"}, {"from": "10.0.0.0/8"}, True),
    ({"from": "10.0.0.0/8"}, {"from": "10.0.0.7"}, False),
    ({"from": "10.0.0.7"}, {"from": "::/0"}, False),
    ({"to": "a"}, {"to": ["a", "b"]}, True),
    ({"fc": 6, "value": [1, 2]}, {"fc": 6, "value": [0, 2]}, True),
    ({"fc": 6}, {"fc": 6, "value": [0, 2]}, False),
    ({"fc": 3}, {"value": [0, 2]}, True),  # it writes nothing
    ({"fc": 6, "max_delta": 1}, {"fc": 6, "max_delta": 2}, True),
    ({"rate": "6/min"}, {"rate": "7/min"}, True),
    ({"rate": "6/s"}, {"rate": "7/min"}, False),
    ({"when": "Tue 01:00-02:00"}, {"when": DAY}, True),
    ({"when": "Tue 00:00-24:00 +08:00"}, {"when": DAY}, False),
    ({"when": "Sun 22:00-02:00"}, {"when": "Sun,Mon 00:00-24:00"}, True),
    ({"fc": 8, "sub": 10}, {"fc": 8, "sub": [10, 18]}, True),
    ({"fc": 8}, {"fc": 8, "sub": [10, 18]}, False),
]


@pytest.mark.parametrize(("inner", "outer", "holds"), PAIRS)
def test_within(inner: dict[str, Any], outer: dict[str, Any], holds: bool) -> None:
    assert within(rule(**inner), rule(**outer)) == holds
    assert within(rule(**inner), rule(**inner))
    if holds:
        assert may_meet(rule(**inner), rule(**outer))


def test_a_deny_refuses_whatever_the_limits() -> None:
    deny = rule(do="deny", fc=6)
    assert refuses_all(deny, rule(fc=6, value=[0, 1]))
    assert not refuses_all(rule(do="deny", fc=6, when=DAY), rule(fc=6))


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        ({"fc": 3}, {"fc": 23}, True),  # 23 reads, too
        ({"fc": 3}, {"fc": 4}, False),
        ({"addr": [0, 9]}, {"addr": 10}, False),
        ({"unit": 255}, {}, False),
        ({"item": "A.B"}, {"addr": 10}, True),  # who knows where it lies
        ({"from": "10.0.0.7"}, {"from": "10.0.0.0/24"}, True),
        ({"from": "10.0.0.7"}, {"from": "10.0.1.0/24"}, False),
        ({"from": "10.0.0.7"}, {"from": "::ffff:0:0/96"}, True),
        ({"to": "a"}, {"to": "b"}, False),
        ({"fc": 8, "sub": 1}, {"fc": 8, "sub": 2}, False),
        ({"table": 3}, {"fc": 6}, False),
    ],
)
def test_may_meet(one: dict[str, Any], other: dict[str, Any], meets: bool) -> None:
    assert may_meet(rule(**one), rule(**other)) == meets
    assert may_meet(rule(**other), rule(**one)) == meets


def test_what_writes() -> None:
    assert rule(fc=["reads", 8], sub=[10, 18]).writing == {8}  # 10 clears counters
    assert rule(fc=["reads", 8], sub=[11, 18]).writing == frozenset()
    assert rule(fc=43).writing == {43}
    assert rule(fc=43, sub=[0x0E00, 0x0E04]).writing == frozenset()
    assert 90 in rule().writing
    assert 90 not in rule(addr=1).writing  # an address is no business of 90


def test_a_rule_in_words() -> None:
    told = rule(
        **{"from": ["10.0.0.7", "10.0.0.8"]}, to="plc1", unit=1, fc=6, addr=[100, 109],
        value=[0, 4.5], max_delta=0.5, rate="6/min", when=DAY,
    )  # fmt: skip
    assert rule_words(told) == (
        "10.0.0.7 or 10.0.0.8 may write-single-register, at plc1, unit 1, addresses"
        " 100-109, values 0 to 4.5, changed by 0.5 at most, 6 in 60 s at most,"
        " Mon-Fri 08:00-18:00 +08:00"
    )
    assert rule_words(rule(do="deny", fc="writes")) == (
        "any master may not use writes, everywhere"
    )
    assert rule_words(rule(do="alert", unit=[0, 255], fc="vendor", table=4)) == (
        "any master (told of, nothing else) use vendor, everywhere, unit"
        " 0-255, holding registers"
    )


def test_holders_leave_out_no_rule_that_holds_all() -> None:
    rules = [rule(to=to) for to in (None, "a", ["a", "b"], "b", ["b", "c"], [])]
    holders = Holders()
    for number, one in enumerate(rules):
        holders.add(number, one)
    for inner in rules:
        wanted = [n for n, one in enumerate(rules) if one.links and within(inner, one)]
        found = [n for n, _ in holders.of(inner)]
        assert {*wanted} <= {*found} or not inner.links
        assert found == sorted(found)
    assert [n for n, _ in holders.of(rule(to=["a", "b"]))] == [0, 1, 2]


def test_no_field_of_a_rule_is_lost_to_diff() -> None:
    """A field that is compared nowhere would let a looser rule pass as the same."""
    fields = {one.name for one in dataclasses.fields(PlainRule) if one.compare}
    named = {"from_": "clients", "to": "links", "unit": "units", "fc": "functions",
             "sub": "subs", "addr": "addresses", "when": "hours"}  # fmt: skip
    told = {named.get(one, one) for one in FirewallRuleFile.__struct_fields__}
    assert told - {"name", "note"} == fields
