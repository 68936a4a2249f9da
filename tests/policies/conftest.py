"""Policies from dictionaries: JSON is YAML, so a test writes what it means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from policies.compile import Compiled, compile_policy
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.can.database import parse_database

Compile = Callable[..., Compiled]

DBC = b"""VERSION ""
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
 SG_ REAR : 16|16@1+ (0.01,0) [0|655] "km/h" ECU
 SG_ RAW : 32|8@1+ (1,0) [0|255] "" ECU
BO_ 257 TWIN: 8 ECU
 SG_ A : 0|8@1+ (1,0) [0|255] "deg" ECU
BO_ 258 TWIN: 8 ECU
 SG_ A : 0|8@1+ (1,0) [0|255] "deg" ECU
"""


def policy_of(**fields: Any) -> bytes:
    """Return the text of a policy with sensible fields where none are given."""
    base: dict[str, Any] = {
        "schema": "sluicegate/policy/1",
        "name": "t",
        "version": 3,
        "catalogues": ["cn-auto"],
        "custodian": "keeper",
        "destinations": {
            "oem": {"region": "CN", "recipients": ["oem-key"]},
            "abroad": {"region": "DE", "recipients": ["de-key"]},
        },
        "rules": [],
    }
    return json.dumps({**base, **fields}, indent=1).encode()


def rule_of(name: str = "r", **fields: Any) -> dict[str, Any]:
    """Return a rule that encrypts to the maker."""
    base: dict[str, Any] = {
        "name": name, "match": {}, "to": "oem", "purpose": "p", "do": ["encrypt"],
    }  # fmt: skip
    return {**base, **fields}


def points_of(*items: str, **more: Any) -> dict[str, Any]:
    """Return bindings of one Modbus register for each item, on link ``plc``."""
    points = [
        {"item": item, "table": 4, "address": number}
        for number, item in enumerate(items)
    ]
    return {
        "schema": "sluicegate/bindings/1",
        "name": "b",
        "modbus": [{"link": "plc", "unit": 1, "points": points}],
        **more,
    }


@pytest.fixture(scope="session")
def compile_text() -> Compile:
    """Return a function from texts to a compiled policy (or PolicyError)."""
    catalogues = {
        name: parse_catalogue(shipped_text("catalogues", name), name)
        for name in ("cn-auto", "cn-industrial")
    }
    database = parse_database(DBC, "dbc", "t.dbc")

    def run(
        policy: bytes,
        bindings: dict[str, Any] | None = None,
        buses: tuple[str, ...] = ("can0", "can1"),
    ) -> Compiled:
        document = parse_policy(policy, "t.yaml")
        bound = json.dumps(bindings or points_of("Vehicle.Speed"), indent=1).encode()
        known = [catalogues[n] for n in document.model.catalogues if n in catalogues]
        return compile_policy(
            document,
            known,
            [parse_bindings(bound, "b.yaml")],
            {"t.dbc": database},
            buses,
            ("plc",),
        )

    return run
