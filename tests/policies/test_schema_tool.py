"""The published schemas refuse what the parser refuses, and nothing else.

Two readers of one format: an editor's (jsonschema, not ours) and the agent's. What must
fit together in a file only the compiler knows; of every single field both must say the
same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.files import schema_of, shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_floor, parse_policy
from policies.yaml_tree import read_tree
from tests.policies.building import as_text, consent_of, points_of, policy_of, rule_of
from tests.policies.lint_cases import CASES, LIMIT
from tests.support.examples import upto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

jsonschema = pytest.importorskip("jsonschema", reason="no jsonschema: install .[dev]")

ODD: list[Any] = [
    None, True, False, -1, 0, 1, 3, 2**53, 2**53 + 1, 0.5, -0.5, 1e300, "", "x", "oem",
    "a b", "G1", "g1", "core", "CN", "CN-BJ", "cn", "60s", "é" * 41, "x" * 1001,
    "location", "Location", "WGS-84", "receipt", "09.0A", "min", "samples", "law",
    [], {}, [1], ["x"], [[]], [[1, 2]], [[[1, 2]]], ["encrypt"], [{"round": 1}],
    {"x": 1}, {"<": 1}, {"location": "7d"}, {"oem": {}}, ["x"] * 17,
]  # fmt: skip
STEPS = [
    {"round": {"step": 1}}, {"round": 0.5}, {"clamp": {"low": 0, "high": 1}},
    {"bucket": [1, 2]}, {"grid": "1km"}, {"drop_zones": "z"}, {"drop_zones": ["z"]},
    {"drop_zones": {"zones": "z", "hysteresis": "0s"}}, {"trip_ends": "1km"},
    {"every": "60s"}, {"on_change": 1}, {"aggregate": {"window": "1m", "of": ["min"]}},
    {"mask": {"keep_first": 1}}, {"noise": {"epsilon": 1, "sensitivity": 1}},
    {"pseudonymise": {"purpose": "p", "period": "1d"}}, "blank",
]  # fmt: skip
FULL = {
    "category": ["location"], "item": "**", "min_tier": "G1", "max_tier": "G4",
    "pi": ["none"], "geo": "none", "region": "CN", "when": {"A.b": {"<": 1}},
    "inside": "z", "outside": ["z"], "hysteresis": "5s", "time": "Mon 10:00-11:00",
    "consent": "c",
}  # fmt: skip
SETS = [{"category": "location"}, {"item": ["A.b"], "category": ["cabin"]}]
COMBINATION = {"name": "c", "of": SETS, "every": "1s", "becomes": "location.track"}
SQUARE = [[1, 1], [1, 2], [2, 2]]
POLICY = json.loads(
    policy_of(
        zones={"z": {"datum": "GCJ-02", "polygons": [SQUARE], "buffer": "1m"}},
        consents={"c": consent_of("location", purpose="p", survives_ignition=True)},
        ignition={"item": "A.b", "on": {">=": 3}},
        combinations=[COMBINATION],
        volumes=[LIMIT],
        rules=[
            rule_of(match=FULL, do=[*STEPS[:13], "encrypt"], becomes="location.coarse"),
            rule_of("s", to=["oem"], do=[*STEPS[13:], "allow"], approval="x"),
        ],
        retention={"default": "30d"},
        telemetry={"interval": "60s", "checkpoint": "10m"},
        inspection={
            "off": ["M5"],
            "engineering": ["10.0.0.9"],
            "learn": "1h",
            "repeat": "1h",
            "scan": {"units": 3},
            "exceptions": {"count": 3, "share": 0.3},
            "flood": {"times": 2},
            "polls": {"periods": 2},
            "frozen": {"times": 9},
        },
    )
)


def _catalogue() -> Any:
    whole = read_tree(shipped_text("catalogues", "cn-auto"), "cn-auto", 2**22).value
    assert isinstance(whole, dict)
    short = {name: part[:2] for name, part in whole.items() if isinstance(part, list)}
    short["categories"] = [e for e in whole["categories"] if e.get("finer")]
    return {**whole, **short, "volumes": [LIMIT]}


BINDINGS = {
    **points_of("A.b", "A.c"),
    "can": [{"bus": "*", "database": "t.dbc",
             "signals": {"M.S": {"item": "A.d", "factor": 2, "unit_out": "x",
                                 "datum": "GCJ-02"}, "M.T": "A.e"},
             "combined": [{"item": "A.f", "message": 3, "parts": {"S": 1}}]}],
    "diagnostics": [{"bus": ["can0"], "obd": "09.02", "item": "A.g"}],
    "sunspec": [{"link": "l", "unit": 1, "model": 103, "points": {"W": "A.h"}}],
}  # fmt: skip
FLOOR = {
    "schema": "sluicegate/floor/1",
    "rules": [{"name": "f", "match": {"category": "location", "pi": ["sensitive"]},
               "min_grid": "1km", "max_rate": "1s", "min_action": "keep",
               "allowed_regions": ["CN"], "never_leaves": True}],
}  # fmt: skip
FILES: dict[str, tuple[Any, Callable[[bytes], Any]]] = {
    "policy": (POLICY, parse_policy),
    "catalogue": (_catalogue(), parse_catalogue),
    "bindings": (BINDINGS, parse_bindings),
    "floor": (FLOOR, parse_floor),
}
_DRAFT = jsonschema.Draft202012Validator
# To JSON Schema 1e300 is an integer, as its value is whole; to us it is a float.
_STRICT = jsonschema.validators.extend(
    _DRAFT,
    type_checker=_DRAFT.TYPE_CHECKER.redefine(
        "integer", lambda _, one: isinstance(one, int) and not isinstance(one, bool)
    ),
)
VALIDATORS = {name: _STRICT(json.loads(schema_of(name))) for name in FILES}


def agree(name: str, value: Any) -> bool:
    """Return whether both take a file; they must say the same."""
    try:
        FILES[name][1](as_text(value))
    except PolicyError as error:
        ours, reason = False, str(error)
    else:
        ours, reason = True, ""
    theirs = [error.message for error in VALIDATORS[name].iter_errors(value)]
    assert ours == (not theirs), (reason, theirs[:3])
    return ours


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, one in inner:
        yield from _places(one, (*path, key))


def _with(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = value.copy()
    inner = value[path[0]] if len(path) > 1 else None
    copy[path[0]] = _with(inner, path[1:], odd)
    return copy


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    copy = value.copy()
    if len(path) > 1:
        copy[path[0]] = _without(value[path[0]], path[1:])
    else:
        del copy[path[0]]
    return copy


@pytest.mark.parametrize("name", FILES)
def test_both_take_what_is_right(name: str) -> None:
    assert agree(name, FILES[name][0])


@pytest.mark.parametrize("rule", CASES)
def test_both_take_every_policy_of_lint(rule: str) -> None:
    for fields, _ in CASES[rule]:
        assert agree("policy", json.loads(policy_of(**fields)))


@pytest.mark.parametrize("name", FILES)
def test_a_part_less_or_an_unknown_field_more_is_the_same_to_both(name: str) -> None:
    base = FILES[name][0]
    for path in _places(base):
        if path:
            agree(name, _without(base, path))
        if isinstance(_at(base, path), dict):
            agree(name, _with(base, (*path, "unheard-of"), 1))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=upto(120))
@given(data=st.data())
def test_an_odd_value_anywhere_is_the_same_to_both(
    name: str, data: st.DataObject
) -> None:
    base = FILES[name][0]
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([*_places(base)]))
        base = _with(base, path, data.draw(st.sampled_from(ODD)))
    agree(name, base)
