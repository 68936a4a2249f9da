"""Whatever stands in a field: a compiled policy or one line, and within bounds."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.floor import check_floor
from policies.lint.linting import lint
from policies.parse import parse_floor
from tests.policies.building import Compile, consent_of, points_of, policy_of, rule_of
from tests.support.examples import upto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled

ODD = [
    None, True, -1, 0, 1, 2**53, 10**19, -(10**19), 0.0, -0.5, 1e308, 5e-324, "", "x",
    "*", "**", "9" * 60, "encrypt", "drop", "keep", "hash", "location", "device", "oem",
    "60s", "1m", "1km", "0s", "G1", "core", "é" * 30, "a.b", "Vehicle.Speed", "10:00",
    "Mon 10:00-09:00", [], {}, ["oem", "oem"], [[]], {"": 1}, {"<": 1e308}, [1e308, 2],
]  # fmt: skip
POLICY = json.loads(
    policy_of(
        zones={"sea": {"datum": "WGS-84", "polygons": [[[1, 1], [1, 2], [2, 2]]]}},
        rules=[
            rule_of(
                match={"category": "location", "item": "**", "max_tier": "G4",
                       "pi": ["sensitive"], "when": {"Vehicle.Speed": {">": 1}},
                       "time": "Mon 10:00-11:00", "inside": "sea", "consent": "c"},
                do=[{"round": {"step": 1}}, {"clamp": {"low": 0, "high": 1}},
                    {"bucket": [1, 2]}, {"grid": "1km"}, {"drop_zones": "sea"},
                    {"trip_ends": "1km"}, {"every": "60s"}, {"on_change": 1},
                    {"aggregate": {"window": "1m", "of": ["min"]}},
                    {"mask": {"keep_first": 1}}, {"pseudonymise": {"period": "1d"}},
                    "encrypt"],
                becomes="location.coarse", approval="x",
            ),
            rule_of("s", to=None, do=["keep"]),
        ],
        consents={"c": consent_of("location", purpose="p")},
        ignition={"item": "Vehicle.Speed", "on": {">": 0}},
        combinations=[
            {"name": "k", "of": [{"item": "Vehicle.Speed"}, {"category": "chassis"}],
             "every": "10s", "becomes": "location.track"}
        ],
        volumes=[
            {"name": "v", "category": "location", "more_than": 9, "unit": "hours",
             "window": "30d", "becomes": "location.track"}
        ],
        retention={"location": "7d", "default": "30d"},
        telemetry={"interval": "60s", "checkpoint": "10m"},
    )
)  # fmt: skip
BINDINGS: dict[str, Any] = {
    **points_of("Vehicle.Speed", "Vehicle.CurrentLocation.Latitude"),
    "can": [
        {"bus": "can0", "database": "t.dbc",
         "signals": {"SPEEDS.FRONT": {"item": "A.B", "factor": 2, "unit_out": "x"}},
         "combined": [{"item": "A.C", "message": "SPEEDS", "parts": {"REAR": 1}}]}
    ],
    "diagnostics": [{"bus": "can0", "obd": "09.02", "item": "A.VIN"}],
}  # fmt: skip
FLOOR: dict[str, Any] = {
    "schema": "sluicegate/floor/1",
    "rules": [{"name": "f", "match": {"category": "location", "pi": ["sensitive"]},
               "min_grid": "1km", "max_rate": "1s", "min_action": "keep",
               "allowed_regions": ["CN"]}],
}  # fmt: skip


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, one in inner:
        yield from _leaves(one, (*path, key))


def _with(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = _with(value[path[0]], path[1:], odd)
    return copy


def _run(
    compile_text: Compile, policy: Any, bindings: Any, floor: Any
) -> Compiled | PolicyError:
    try:
        compiled = compile_text(json.dumps(policy).encode(), bindings)
        lint(compiled)
        check_floor(compiled, parse_floor(json.dumps(floor).encode()))
    except PolicyError as error:
        return error
    return compiled


def test_what_the_fuzz_starts_from_compiles(compile_text: Compile) -> None:
    found = _run(compile_text, POLICY, BINDINGS, FLOOR)
    assert not isinstance(found, PolicyError), found


@settings(max_examples=upto(300))
@given(st.data())
def test_an_odd_value_anywhere_is_compiled_or_one_line(
    compile_text: Compile, data: st.DataObject
) -> None:
    files = [POLICY, BINDINGS, FLOOR]
    number = data.draw(st.integers(0, 2))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([*_leaves(files[number])]))
        files[number] = _with(files[number], path, data.draw(st.sampled_from(ODD)))
    found = _run(compile_text, *files)
    if isinstance(found, PolicyError):
        assert "\n" not in str(found)
        assert str(found).startswith(("t.yaml", "b.yaml", "floor"))
    else:
        chains = [d.chain for d in found.policy.destinations]
        assert all((chain < len(found.policy.rules)).all() for chain in chains)


def test_the_largest_policy_compiles_in_bounded_time(compile_text: Compile) -> None:
    """Thousands of rules over a thousand items; columns that are equal are shared."""
    items = [f"Vehicle.Chassis.Part{n}.Wear" for n in range(1000)]
    rules = [
        rule_of(
            f"r{n}",
            match={"item": f"Vehicle.Chassis.Part{n % 1000}.*"},
            do=[{"every": "10s"}, "encrypt"],
        )
        for n in range(2500)
    ]
    text = policy_of(rules=rules)
    slim = json.dumps(json.loads(text), separators=(",", ":")).encode()
    start = time.process_time()
    compiled = compile_text(slim, points_of(*items))
    assert time.process_time() - start < 60
    policy = compiled.policy
    assert policy.destinations[0].chain.shape == (1001, 1)
    assert all(rule.category_out is policy.items.category for rule in policy.rules)
    assert all(rule.label_out is policy.items.label for rule in policy.rules)
