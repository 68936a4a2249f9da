"""What is said of a request is what the judge does; conditions are left open."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings

from agent.firewall.decision import Caller
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.compile import compile_policy
from policies.files import shipped_text
from policies.firewall.explain import Asked, Says, explain_request
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.modbus.exchanges import Reason
from protocols.modbus.functions import NO_TABLE, READ_WRITE
from protocols.modbus.pdu import parse_request
from tests.support.examples import upto
from tests.support.firewall_events import BINDINGS, sections, talks

if TYPE_CHECKING:
    from policies.compile import Compiled
    from tests.support.firewall_events import Asked as Event

LINKS = ("plc1", "plc2")


@cache
def bound() -> tuple[Any, Any]:
    text = shipped_text("catalogues", "cn-industrial")
    bindings = parse_bindings(json.dumps(BINDINGS).encode())
    return parse_catalogue(text, "cn-industrial"), bindings


def policy(section: dict[str, Any]) -> Compiled:
    told = {"schema": "sluicegate/policy/1", "name": "p", "version": 1,
            "catalogues": ["cn-industrial"], "modbus": section}  # fmt: skip
    catalogue, bindings = bound()
    text = json.dumps(told).encode()
    return compile_policy(parse_policy(text), [catalogue], [bindings], {}, (), LINKS)


def asked(event: Event) -> Asked | None:
    """Return a request as a person asks; None for what has two halves, or is none."""
    request = parse_request(event.pdu)
    if request.function == READ_WRITE or not 0 < request.function < 128:
        return None
    if request.table == NO_TABLE:
        first, last = 0, -1
    elif request.is_write:
        first = request.write_address
        last = first + request.write_count - 1
    else:
        first = request.address
        last = first + max(request.count, 1) - 1
    return Asked(
        event.client, "", LINKS[event.link], event.unit, request.function,
        request.sub, first, last,
    )  # fmt: skip


@settings(max_examples=upto(15))
@given(sections(), talks())
def test_what_is_said_is_what_the_judge_does(
    section: dict[str, Any], talk: list[Event]
) -> None:
    compiled = policy(section)
    assert compiled.policy.firewall is not None
    for event in talk:
        judge = Judge(compiled.policy.firewall, Memory())
        decision = judge.judge(
            Caller(event.client, 1), event.link, event.unit, parse_request(event.pdu),
            event.at_ns, clock_ok=True,
        )  # fmt: skip
        question = asked(event)
        if question is None or decision.reason == Reason.MALFORMED:
            continue
        verdict = explain_request(compiled, question).verdict
        if not verdict.startswith("as its conditions"):
            assert decision.forward == ("passes" in verdict), verdict


def test_every_rule_has_its_word() -> None:
    rules = [
        {"name": "told", "do": "alert"},
        {"name": "other", "from": "10.0.0.9"},
        {"name": "night", "do": "deny", "when": "22:00-06:00"},
        {"name": "edge", "fc": 3, "addr": [0, 4]},
        {"name": "away", "item": "A.B"},
        {"name": "slow", "fc": 3, "rate": "1/s", "value": [0, 1]},
        {"name": "all", "fc": "reads"},
        {"name": "late", "fc": 3},
    ]
    question = Asked("10.0.0.7", "", "plc1", 1, 3, 65535, 0, 9)
    found = explain_request(policy({"rules": rules}), question)
    assert [(one.says, one.reason) for one in found.rules] == [
        (Says.TELLS, ""),
        (Says.OTHER, "for 10.0.0.9"),
        (Says.DENIES_IF, "22:00-06:00 UTC"),
        (Says.OTHER, "covers addresses 0-4 only"),
        (Says.OTHER, "its item is not bound here"),
        (Says.ALLOWS_IF, "1 in 1 s at most"),
        (Says.ALLOWS, ""),
        (Says.BEHIND, "all decides before it"),
    ]
    assert found.verdict == "as its conditions say; else passes"


def test_a_deny_touches_units_that_an_allow_must_name() -> None:
    rules = [{"name": "deny", "do": "deny", "fc": 6}, {"name": "all"}]
    write = Asked("10.0.0.7", "", "plc1", 255, 6, 65535, 0, 0)
    read = Asked("10.0.0.7", "", "plc1", 255, 3, 65535, 0, 0)
    compiled = policy({"rules": rules})
    assert explain_request(compiled, write).verdict == "refused"
    assert [one.reason for one in explain_request(compiled, read).rules] == [
        "not for read-holding-registers",
        "unit 255 must be named",
    ]
