"""The ``modbus:`` section compiles to what it says, or is refused at its place."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.firewall.spans import GROUPS, functions, number_spans
from policies.firewall.tables import Default, Do, Mode, Rate

if TYPE_CHECKING:
    from policies.firewall.tables import CompiledFirewall
    from tests.policies.building import Compile

POINTS = {
    "schema": "sluicegate/bindings/1",
    "name": "b",
    "modbus": [
        {
            "link": "plc",
            "unit": 7,
            "points": [
                {"item": "Plant.L.R.Level", "address": "40011", "type": "f32"},
                {"item": "Plant.L.R.Pump", "address": 3, "table": 0, "type": "coil"},
            ],
        }
    ],
}


def compiled(compile_text: Compile, section: dict[str, Any]) -> CompiledFirewall:
    policy = {
        "schema": "sluicegate/policy/1",
        "name": "p",
        "version": 1,
        "catalogues": ["cn-industrial"],
        "modbus": section,
    }
    found = compile_text(json.dumps(policy, indent=1).encode(), POINTS).policy.firewall
    assert found is not None
    return found


def test_a_section_with_everything(compile_text: Compile) -> None:
    firewall = compiled(compile_text, {
        "default": "monitor", "mode": "dry-run", "on_failure": "pass-reads",
        "answer": "drop",
        "clients": {"hmi": "10.0.0.7", "eng": {"addresses": ["10.1.0.0/16"],
                                                "role": "engineer"}},
        "rules": [
            {"name": "a", "from": ["hmi", "10.9.9.9"], "to": "plc", "unit": [1, 9],
             "fc": [3, "write-single-coil"], "addr": ["40001", "40010"],
             "rate": "6/min", "when": "Mon-Fri 22:00-06:00 +08:00"},
            {"name": "b", "item": "Plant.L.R.Level", "fc": "writes",
             "value": [0, 4.5], "max_delta": 0.5},
            {"name": "c", "do": "alert", "to": "elsewhere"},
            {"name": "d", "item": "Plant.L.R.Nowhere"},
        ],
    })  # fmt: skip
    assert firewall.default is Default.MONITOR
    assert firewall.mode is Mode.DRY_RUN
    assert firewall.silent
    assert firewall.pass_reads_on_failure
    assert [one.name for one in firewall.clients] == ["hmi", "eng", "10.9.9.9/32"]
    assert firewall.clients[1].role == "engineer"
    a, b, c, d = firewall.rules
    assert a.clients == {0, 2}
    assert a.functions == {3, 5}
    assert (a.units, a.table, a.addresses) == (((1, 9),), 4, ((0, 9),))
    assert a.rate == Rate(6, 60_000_000_000)
    assert a.hours is not None
    assert (a.hours.begin_min, a.hours.end_min, a.hours.offset_min) == (1320, 360, 480)
    assert b.do is Do.ALLOW
    assert b.point is not None
    assert (b.links, b.units, b.table, b.addresses) == (
        {0},
        ((7, 7),),
        4,
        ((10, 11),),
    )
    assert c.links == frozenset()
    assert d.links == frozenset()


def test_no_section_no_firewall(compile_text: Compile) -> None:
    text = b"schema: sluicegate/policy/1\nname: p\nversion: 1\ncatalogues: [cn-auto]\n"
    assert compile_text(text).policy.firewall is None
    denies = compile_text(text + b"modbus: {}\n").policy.firewall
    assert denies is not None
    assert denies.default is Default.DENY
    assert not denies.rules


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"from": "nobody"}, "modbus.rules[0].from"),
        ({"unit": 256}, "modbus.rules[0].unit"),
        ({"unit": [9, 1]}, "modbus.rules[0].unit"),
        ({"unit": []}, "modbus.rules[0].unit"),
        ({"fc": 128}, "modbus.rules[0].fc"),
        ({"fc": "wriets"}, "modbus.rules[0].fc"),
        ({"addr": "50001"}, "modbus.rules[0].addr"),
        ({"addr": 65536}, "modbus.rules[0].addr"),
        ({"addr": ["40001", "30001"]}, "modbus.rules[0].addr"),
        ({"addr": "40001", "table": 3}, "modbus.rules[0].addr"),
        ({"rate": "0/min"}, "modbus.rules[0].rate"),
        ({"when": "always"}, "modbus.rules[0].when"),
        ({"value": [5, 1]}, "modbus.rules[0].value"),
        ({"max_delta": -1}, "modbus.rules[0].max_delta"),
        ({"do": "deny", "rate": "1/s"}, "modbus.rules[0].rate"),
        ({"item": "Plant.L.R.Level", "addr": 3}, "modbus.rules[0].addr"),
        ({"colour": "red"}, "modbus.rules[0].colour"),
    ],
)
def test_what_is_wrong_is_named(
    compile_text: Compile, rule: dict[str, Any], place: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(compile_text, {"rules": [{"name": "a", **rule}]})
    assert caught.value.path.startswith(place)
    assert caught.value.line > 0


def test_a_name_twice_names_the_first(compile_text: Compile) -> None:
    with pytest.raises(PolicyError, match="another rule has this name") as caught:
        compiled(compile_text, {"rules": [{"name": "a"}, {"name": "a"}]})
    assert caught.value.path == "modbus.rules[1].name"


def test_reads_never_hold_what_may_write() -> None:
    assert GROUPS["reads"] == {1, 2, 3, 4, 7, 11, 12, 17, 20, 24}
    assert GROUPS["writes"] == {5, 6, 15, 16, 21, 22, 23}
    assert 8 in functions("public")
    assert 90 in functions("vendor")
    assert not functions("vendor") & functions("public")


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 20)), min_size=3))
def test_spans_hold_what_was_said(pairs: list[tuple[int, int]]) -> None:
    told: list[int | list[int]] = [
        [first, min(255, first + more)] if more else first for first, more in pairs
    ]
    spans = number_spans(told, 255)
    held = {n for first, last in spans for n in range(first, last + 1)}
    assert held == {
        n
        for one in told
        for n in ([one] if isinstance(one, int) else range(one[0], one[1] + 1))
    }
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(spans))
