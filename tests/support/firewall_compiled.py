"""Firewalls of sections, with the points of ``firewall_events.BINDINGS``."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from policies.compile import compile_policy
from policies.files import shipped_text
from policies.firewall.compile import compile_firewall
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from tests.support.firewall_events import BINDINGS

if TYPE_CHECKING:
    from policies.firewall.tables import CompiledFirewall
    from protocols.modbus.values import Point

LINKS = ("plc1", "plc2")


@cache
def points() -> tuple[tuple[str, ...], tuple[Point, ...]]:
    """Return the names of items, and their points."""
    empty = {"schema": "sluicegate/policy/1", "name": "p", "version": 1,
             "catalogues": ["cn-industrial"]}  # fmt: skip
    found = compile_policy(
        parse_policy(json.dumps(empty).encode()),
        [parse_catalogue(shipped_text("catalogues", "cn-industrial"), "c")],
        [parse_bindings(json.dumps(BINDINGS).encode())],
        {},
        (),
        LINKS,
    )
    return found.policy.items.name, found.modbus


def compiled(section: dict[str, Any]) -> CompiledFirewall:
    policy = {"schema": "sluicegate/policy/1", "name": "p", "version": 1,
              "catalogues": ["cn-industrial"], "modbus": section}  # fmt: skip
    found = compile_firewall(
        parse_policy(json.dumps(policy).encode()), *points(), LINKS
    )
    assert found is not None
    return found
