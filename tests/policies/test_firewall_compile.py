"""The ``modbus:`` section compiles to what it says, or is refused at its place."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.firewall.spans import GROUPS, functions, number_spans
from policies.firewall.tables import Default, Do, Mode, Rate
from tests.reference import slow_firewall as slow
from tests.support.examples import upto
from tests.support.firewall_events import sections

if TYPE_CHECKING:
    from policies.firewall.tables import CompiledFirewall, Spans
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
        ({"do": "deny", "value": [0, 1]}, "modbus.rules[0].value"),
        ({"do": "alert", "when": "08:00-09:00"}, "modbus.rules[0].when"),
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


def _held(spans: Spans | None, most: int) -> set[int]:
    assert spans is not None
    return {n for first, last in spans for n in range(first, min(last, most) + 1)}


@settings(
    max_examples=upto(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sections())
def test_the_tables_say_what_the_file_says(
    compile_text: Compile, section: dict[str, Any]
) -> None:
    for rule in section["rules"]:
        if "item" in rule:
            rule["item"] = "Plant.L.R.Level"
    told = section["rules"]
    firewall = compiled(compile_text, section)
    assert firewall.default == {"deny": 0, "monitor": 1}[section["default"]]
    assert firewall.silent == (section["answer"] == "drop")
    assert [rule.name for rule in firewall.rules] == [rule["name"] for rule in told]
    for rule, one in zip(firewall.rules, told, strict=True):
        assert rule.do == ["allow", "deny", "alert"].index(one.get("do", "allow"))
        for units, field, most in (
            (rule.units, "unit", 255), (rule.addresses, "addr", 65_535),
        ):  # fmt: skip
            if field in one:
                wanted = {n for n in range(300) if slow.within(n, one[field])}
                assert _held(units, 299) == wanted
                assert max(_held(units, most)) <= most
            elif "item" not in one:
                assert units is None
        if "fc" in one:
            groups = {"reads": slow.READS - {8, 43}, "writes": slow.WRITES,
                      "public": slow.PUBLIC,
                      "vendor": {*range(1, 128)} - slow.PUBLIC}  # fmt: skip
            parts = [groups.get(x, {x}) for x in slow.listed(one["fc"])]
            assert rule.functions == set().union(*parts)
        if rule.clients is None:
            assert "from" not in one
        else:
            networks = [firewall.clients[n].networks for n in rule.clients]
            assert len(networks) == len(slow.listed(one["from"]))
        assert (rule.value and [*rule.value]) == one.get("value")
        assert rule.max_delta == one.get("max_delta")
        if rule.rate is not None:
            seconds = {"min": 60, "h": 3600}[one["rate"].partition("/")[2]]
            assert rule.rate.window_ns == seconds * 10**9
            assert one["rate"].startswith(f"{rule.rate.count}/")
        assert (rule.hours is not None) == ("when" in one)
        assert (rule.point is not None) == (one.get("item") is not None and
                                            one.get("to") is None)  # fmt: skip


ODD: list[Any] = [
    None, True, -1, 0, 3, 256, 65536, 2**70, 0.5, float("1e300"), "", "x", "é" * 300,
    "40001", "99999", "10.0.0.0/33", "::1", "6/min", "0/s", [], [[]], [[1]], [9, 1],
    [1, [2, 3], "4"], {}, {"a": 1}, {"addresses": []}, [None], [[0, 70000]], "nan",
]  # fmt: skip
FULL = {
    "default": "deny", "mode": "enforce", "on_failure": "refuse", "answer": "drop",
    "clients": {"hmi": {"addresses": ["10.0.0.7"], "role": "r"}, "eng": "10.0.0.8"},
    "rules": [
        {"name": "a", "do": "allow", "from": ["hmi", "10.0.0.9"], "to": ["plc"],
         "unit": [1, 9], "fc": [6, "write-multiple-registers"], "sub": 1, "table": 4,
         "addr": [[0, 9], 20], "value": [0, 5], "max_delta": 1, "rate": "6/min",
         "when": "Mon-Fri 07:00-19:00 +08:00", "note": "n"},
        {"name": "b", "item": "Plant.L.R.Level", "fc": "reads"},
    ],
}  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    if isinstance(value, list):
        inner = enumerate(value)
    deeper = [place for key, one in inner for place in _places(one, (*path, key))]
    return [path, *deeper] if path else deeper


@settings(
    max_examples=upto(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(_places(FULL)), st.sampled_from(ODD))
def test_whatever_is_odd_compiles_or_is_one_error_with_its_place(
    compile_text: Compile, place: tuple[Any, ...], odd: Any
) -> None:
    section = json.loads(json.dumps(FULL))
    inner = section
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    try:
        compiled(compile_text, section)
    except PolicyError as error:
        assert error.line > 0  # noqa: PT017  # it may also compile
        assert error.path.startswith("modbus")  # noqa: PT017  # see above
        assert str(error).isprintable()  # noqa: PT017  # see above
