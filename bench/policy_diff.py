"""Comparing two policies, as a share of compiling one: what a gateway pays for GOV-04.

Run alone: ``python -m bench.policy_diff [rules] [items]``; 5000 and 65000 take a
quarter of an hour, nearly all of it for compiling.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from policies.compile import compile_policy
from policies.diff.compare import compare
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_policy

if TYPE_CHECKING:
    from policies.compile import Compiled

A_UNIT = 8_000  # registers in one bindings file: its size is limited


def compiled(rules: int, items: int, factor: int, *, deep: bool) -> Compiled:
    """Return a policy whose rules name some items each, or all of them (deep)."""
    what: dict[str, Any] = {"category": "chassis.controls"}
    written = [
        {
            "name": f"r{number}",
            "match": {**what, "when": {"Vehicle.Chassis.G0.S": {">": number}}}
            if deep
            else {"item": f"Vehicle.Chassis.G*{number}.S"},
            "to": "oem", "purpose": "p",
            "do": [{"every": f"{number + factor}s"}, "encrypt"],
        }
        for number in range(rules)
    ]  # fmt: skip
    policy = {
        "schema": "sluicegate/policy/1", "name": "bench", "version": factor,
        "catalogues": ["cn-auto"], "rules": written,
        "destinations": {"oem": {"region": "CN", "recipients": ["k"]}},
    }  # fmt: skip
    bindings = [
        {
            "schema": "sluicegate/bindings/1", "name": f"b{start}",
            "modbus": [{"link": "plc", "unit": unit, "points": [
                {"item": f"Vehicle.Chassis.G{number}.S", "table": 4, "address": at}
                for at, number in enumerate(range(start, min(start + A_UNIT, items)))
            ]}],
        }
        for unit, start in enumerate(range(0, items, A_UNIT))
    ]  # fmt: skip
    return compile_policy(
        parse_policy(json.dumps(policy).encode()),
        [parse_catalogue(shipped_text("catalogues", "cn-auto"), "cn-auto")],
        [parse_bindings(json.dumps(one).encode(), one["name"]) for one in bindings],
        {},
        (),
        ("plc",),
    )


def main(rules: int, items: int) -> None:
    """Print seconds to compile one policy and to compare two."""
    for deep in (False, True):
        start = time.perf_counter()
        old = compiled(rules, items, 2, deep=deep)
        middle = time.perf_counter()
        new = compiled(rules, items, 1, deep=deep)
        before = time.perf_counter()
        found = compare(old, new)
        taken = time.perf_counter() - before
        kind = (
            "every rule for every item, conditional" if deep else "rules for some items"
        )
        print(
            f"{rules} rules, {items} items, {kind}: compile {middle - start:.2f} s,"
            f" compare {taken:.2f} s ({taken / (middle - start):.0%}),"
            f" {len(found.lines)} lines"
        )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    main(*(given or [300, 5_000]))
