"""Policies from dictionaries: JSON is YAML, so a test writes what it means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from policies.compile import Compiled

Compile = Callable[..., Compiled]


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


def consent_of(*categories: str, **fields: Any) -> dict[str, Any]:
    """Return a consent for these categories, for a month at most."""
    base = {"about": "What for.", "categories": categories, "at_most": "30d"}
    return {**base, **fields}


def as_text(model: Any) -> bytes:
    """Return any file as text."""
    return json.dumps(model, indent=1).encode()


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
