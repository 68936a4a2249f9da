"""docs/firewall.md: its worked examples, by the judge and by the slow one."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agent.firewall.decision import Caller
from agent.firewall.judge import CODES, Judge
from agent.firewall.memory import PAGE, PAGES_MAX, Memory
from policies.firewall.compile import compile_firewall
from policies.parse import parse_policy
from protocols.modbus.exchanges import Reason
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from tests.reference.slow_firewall import Rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from protocols.modbus.pdu import Request

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY = dt.datetime.fromisoformat("2026-11-23T00:00:00+08:00")


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/firewall.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def section(page: str) -> dict[str, Any]:
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found
    told: dict[str, Any] = yaml.safe_load(found[1])["modbus"]
    return told


def rows(page: str, head: str) -> Iterator[list[str]]:
    _, _, rest = page.partition(f"\n| {head} |")
    assert rest, head
    for line in rest.split("\n\n")[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def at_ns(cell: str) -> int:
    day, clock, zone = cell.split()
    assert zone == "+08:00"
    hours, minutes, seconds = map(int, clock.split(":"))
    passed = dt.timedelta(days=DAYS.index(day), hours=hours, minutes=minutes)
    return int((MONDAY + passed).timestamp() + seconds) * 1_000_000_000


def replied(request: Request, pdu: bytes) -> bytes:
    """Return what the device of the page says."""
    if request.function in {3, 23}:
        return bytes([pdu[0], 2 * request.count]) + b"\x00\xc8" * request.count
    return pdu[:5] if request.function == 16 else pdu


def test_the_examples_are_judged_as_written(page: str, section: dict[str, Any]) -> None:
    policy = {"schema": "sluicegate/policy/1", "name": "p", "version": 1,
              "catalogues": ["cn-industrial"], "modbus": section}  # fmt: skip
    document = parse_policy(json.dumps(policy).encode())
    firewall = compile_firewall(document, (), (), ("plc",))
    assert firewall is not None
    judge, slow = Judge(firewall, Memory()), Rules(section)
    seen = 0
    for at, master, unit, hexes, _, verdict, _ in rows(page, "at | master"):
        pdu = bytes.fromhex(hexes.strip("`"))
        request = parse_request(pdu)
        decision = judge.judge(
            Caller(master, 1), 0, int(unit), request, at_ns(at), clock_ok=True
        )
        if decision.forward:
            told = f"allowed: `{firewall.rules[decision.rule].name}`"
        else:
            told = f"`{decision.reason.name}` {decision.exception:02}"
        assert told == verdict, hexes
        passes, why = slow.judge(at_ns(at), master, "plc", int(unit), pdu)
        assert (passes, why) == (
            decision.forward,
            "" if decision.forward else decision.reason.name,
        )
        assert bool(decision.alerts) == (request.function == 90)
        if passes:
            reply = replied(request, pdu)
            judge.answered(0, int(unit), request, parse_reply(request, reply))
            slow.answered("plc", int(unit), pdu, reply)
        seen += 1
    assert seen == 29


def test_every_reason_of_the_judge_is_explained(page: str) -> None:
    told = {row[0].strip("`"): row[2] for row in rows(page, "reason | means")}
    assert told.keys() == {reason.name for reason in CODES}
    for name, answer in told.items():
        if name != "NO_RULE":
            assert answer == f"{CODES[Reason[name]]:02}"


def test_bounds_are_those_of_the_code(page: str) -> None:
    assert f"{PAGE} addresses are forgotten beyond {PAGES_MAX:,} such pages" in (
        page.replace("\n", " ")
    )
