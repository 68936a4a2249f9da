"""No policy's firewall goes below the owner's floor; the floor rule is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from policies.errors import PolicyError
from policies.floor import check_floor
from policies.parse import parse_floor
from tests.policies.building import points_of, policy_of

if TYPE_CHECKING:
    from tests.policies.building import Compile

ITEMS = points_of("Vehicle.Speed", "Vehicle.Chassis.A")  # table 4, addresses 0 and 1
ONLY_READ = {"never": [{"name": "n", "to": "plc"}]}
SPEED = {"never": [{"name": "n", "to": "plc", "addr": "40001"}]}
VENDOR = {"never": [{"name": "n", "fc": "vendor"}]}
SECRET = {"never": [{"name": "n", "fc": "reads", "table": 4, "addr": [9, 12]}]}


def broken(
    compile_text: Compile, floor: dict[str, Any], section: dict[str, Any] | None
) -> list[str]:
    document = {"schema": "sluicegate/floor/1", "modbus": floor}
    fields = {} if section is None else {"modbus": section}
    compiled = compile_text(policy_of(**fields), ITEMS)
    found = check_floor(compiled, parse_floor(json.dumps(document).encode()))
    return [str(one) for one in found]


@pytest.mark.parametrize(
    ("floor", "section", "line"),
    [
        ({"required": True}, None, "floor rule modbus.required: the floor demands a"),
        ({"required": True}, {}, ""),
        ({"mode": "enforce"}, None, ""),
        ({"mode": "enforce"}, {"mode": "dry-run"},
         "floor rule modbus.mode: the floor demands mode enforce, the policy has dry"),
        ({"mode": "enforce"}, {"mode": "read-only"}, ""),
        ({"mode": "read-only"}, {}, "demands mode read-only, the policy has enforce"),
        ({"default": "deny"}, {"default": "monitor"}, "demands default deny"),
        ({"on_failure": "refuse"}, {"on_failure": "pass-reads"}, "on_failure refuse"),
    ],
)  # fmt: skip
def test_settings(
    compile_text: Compile,
    floor: dict[str, Any],
    section: dict[str, Any] | None,
    line: str,
) -> None:
    found = broken(compile_text, floor, section)
    assert len(found) == bool(line)
    assert line in "".join(found)


@pytest.mark.parametrize(
    ("floor", "rules", "is_broken"),
    [
        (ONLY_READ, [{"fc": "reads"}], False),
        (ONLY_READ, [{"fc": "writes", "to": "plc"}], True),
        (ONLY_READ, [{"fc": "writes"}], True),
        (ONLY_READ, [{"fc": "writes", "to": "other"}], False),
        (ONLY_READ, [{"fc": 8, "to": "plc"}], True),
        (ONLY_READ, [{"fc": 8, "sub": 0, "to": "plc"}], False),
        (ONLY_READ, [{"do": "deny", "to": "plc", "unit": [0, 255]}, {"fc": 6}], False),
        (ONLY_READ, [{"fc": 6}, {"do": "deny", "to": "plc"}], True),
        (ONLY_READ, [{"do": "deny", "to": "plc", "when": "08:00-09:00"}, {"fc": 6}],
         True),
        (ONLY_READ, [{"do": "deny", "from": "10.0.0.7"}, {"fc": 6}], True),
        (ONLY_READ, [{"item": "Vehicle.Speed"}], True),
        (SPEED, [{"item": "Vehicle.Speed"}], True),
        (SPEED, [{"item": "Vehicle.Chassis.A"}], False),
        (SPEED, [{"item": "Vehicle.Nowhere"}], False),
        (SPEED, [{"fc": 6, "addr": [1, 9]}], False),
        (SPEED, [{"fc": 6, "addr": [0, 9]}], True),
        (SPEED, [{"fc": 5, "addr": [0, 9]}], False),  # a coil
        (VENDOR, [{"fc": "public"}], False),
        (VENDOR, [{}], True),
        (VENDOR, [{"do": "deny", "fc": "vendor", "unit": [0, 255]}, {}], False),
        (SECRET, [{"fc": 4, "addr": 9}], False),
        (SECRET, [{"fc": 3, "addr": [0, 9]}], True),
        (SECRET, [{"fc": 23, "addr": [0, 9]}], True),  # its read half
        (SECRET, [{"fc": 6}], False),
        (SECRET, [{"do": "alert"}], False),
    ],
)  # fmt: skip
def test_never(
    compile_text: Compile,
    floor: dict[str, Any],
    rules: list[dict[str, Any]],
    is_broken: bool,
) -> None:
    named = [{"name": f"r{n}", **rule} for n, rule in enumerate(rules)]
    found = broken(compile_text, floor, {"rules": named})
    told = f"floor rule n: Modbus rule r{len(rules) - 1}: lets through what the floor"
    if is_broken and rules[-1].get("do") == "deny":
        told = told.replace("r1", "r0")
    assert found == ([f"{told} forbids"] if is_broken else [])


def test_monitor_and_dry_run_let_everything_through(compile_text: Compile) -> None:
    for section, told in [
        ({"default": "monitor"}, "Modbus rule default: lets through what the floor"),
        ({"mode": "dry-run"}, "floor rule n: mode dry-run lets it through"),
    ]:
        (found,) = broken(compile_text, ONLY_READ, section)
        assert told in found
    read_only = {"mode": "read-only", "default": "monitor"}
    assert broken(compile_text, ONLY_READ, read_only) == []
    assert broken(compile_text, SECRET, read_only) != []


@pytest.mark.parametrize(
    ("floor", "line"),
    [
        ({}, "modbus: demands nothing (such as mode: enforce)"),
        ({"mode": "dry-run"}, "modbus.mode"),
        ({"never": [{"name": "n", "fc": 128}]}, "modbus.never[0].fc: function codes"),
        ({"never": [{"name": "n", "addr": 65536}]}, "modbus.never[0].addr: not a ran"),
        ({"never": [{"name": "n", "unit": [2, 1]}]}, "modbus.never[0].unit: not a ran"),
        ({"never": [{"name": "n", "addr": "40001", "table": 3}]}, "addresses of table"),
        ({"never": [{"name": "n"}, {"name": "n"}]}, "never[1].name: another rule has"),
        ({"nver": []}, "did you mean 'never'?"),
    ],
)
def test_a_wrong_floor_is_one_line(
    compile_text: Compile, floor: dict[str, Any], line: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        broken(compile_text, floor, {})
    assert line in str(caught.value)
    assert caught.value.line or not floor
