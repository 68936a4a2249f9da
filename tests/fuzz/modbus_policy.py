"""The policy of the fuzz as a ``modbus:`` section, for the agent's own judge."""

from __future__ import annotations

import json

from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.firewall.compile import compile_firewall
from policies.parse import parse_policy
from tests.fuzz.modbus_masters import COILS, READ_MAX, REGISTERS, UNITS, VALUES

_UNITS = [UNITS[0], UNITS[-1]]
SECTION = {
    "rules": [
        {"name": "read", "unit": _UNITS, "fc": [1, 2, 3, 4], "addr": [0, READ_MAX]},
        {
            "name": "coils",
            "unit": _UNITS,
            "fc": [5, 15],
            "addr": [COILS[0], COILS[-1]],
        },
        {
            "name": "registers",
            "unit": _UNITS,
            "fc": [6, 16, 23],
            "addr": [REGISTERS[0], REGISTERS[-1]],
            "value": [VALUES[0], VALUES[-1]],
        },
    ]
}


def judge() -> Judge:
    """Return a judge by that policy."""
    policy = {
        "schema": "sluicegate/policy/1",
        "name": "fuzz",
        "version": 1,
        "catalogues": ["cn-industrial"],
        "modbus": SECTION,
    }
    document = parse_policy(json.dumps(policy).encode())
    firewall = compile_firewall(document, (), (), ("plc",))
    assert firewall is not None
    return Judge(firewall, Memory())
