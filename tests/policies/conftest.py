"""A compiler of small policies for all tests here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.compile import Compiled, compile_policy
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.can.database import parse_database
from tests.policies.building import Compile, points_of

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
