"""The judge against a slow one that reads the section by itself (tests/reference)."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from agent.firewall.decision import Caller, Decision
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.compile import compile_policy
from policies.files import shipped_text
from policies.firewall.compile import compile_firewall
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from tests.reference.slow_firewall import Rules, bound
from tests.support.firewall_events import BINDINGS, Asked, pairs_of, sections, talks

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


def judged(judge: Judge, asked: Asked) -> Decision:
    request = parse_request(asked.pdu)
    decision = judge.judge(
        Caller(asked.client, 1), asked.link, asked.unit, request, asked.at_ns,
        clock_ok=True,
    )  # fmt: skip
    if not asked.reply:
        judge.answered(asked.link, asked.unit, request, None)
    elif asked.reply:
        reply = parse_reply(request, asked.reply)
        judge.answered(asked.link, asked.unit, request, reply)
    return decision


def judged_slowly(rules: Rules, asked: Asked) -> tuple[bool, str]:
    link = LINKS[asked.link]
    told = rules.judge(asked.at_ns, asked.client, link, asked.unit, asked.pdu)
    if not asked.reply:
        rules.answered(link, asked.unit, asked.pdu, None)
    elif asked.reply:
        wrong = parse_reply(parse_request(asked.pdu), asked.reply).problems
        rules.answered(link, asked.unit, asked.pdu, None if wrong else asked.reply)
    return told


@settings(max_examples=60)
@given(sections(), talks())
def test_it_says_what_the_slow_one_says(
    section: dict[str, Any], talk: list[Asked]
) -> None:
    judge = Judge(compiled(section), Memory())
    rules = Rules(section, bound(BINDINGS))
    for asked in talk:
        decision = judged(judge, asked)
        passes, why = judged_slowly(rules, asked)
        told = "" if decision.reason is Reason.NONE else decision.reason.name
        assert (decision.verdict is Verdict.ALLOWED, told) == (passes, why), asked
        dry = section.get("mode") == "dry-run" and why != "MALFORMED"
        assert decision.forward == (passes or dry)
        assert bool(decision.exception) == (
            not passes and section.get("answer") != "drop"
        )


@settings(max_examples=60)
@given(sections(), talks())
def test_columns_say_what_one_by_one_says(
    section: dict[str, Any], talk: list[Asked]
) -> None:
    talk = [one for one in talk if one.pdu]
    firewall = compiled(section)
    one_by_one = Judge(firewall, Memory())
    told = [judged(one_by_one, asked) for asked in talk]
    pairs, names = pairs_of(talk)
    found = Judge(firewall, Memory()).judge_batch(
        decode_pairs(pairs), names, clock_ok=True
    )
    assert found.verdict.tolist() == [one.verdict for one in told]
    assert found.reason.tolist() == [one.reason for one in told]
    assert found.rule.tolist() == [one.rule for one in told]
    assert found.alert.tolist() == [one.alerts[0] if one.alerts else -1 for one in told]


def test_what_a_proxy_said_stays() -> None:
    section = {"rules": [{"name": "tell", "do": "alert"}]}
    pairs, names = pairs_of([Asked(0, "10.0.0.7", 0, 1, b"\x03\0\0\0\1", b"")])
    exchanges = decode_pairs(pairs)
    exchanges.verdict[:] = Verdict.ALLOWED
    found = Judge(compiled(section), Memory()).judge_batch(
        exchanges, names, clock_ok=True
    )
    assert found.verdict.tolist() == [Verdict.ALLOWED]
    assert found.alert.tolist() == [0]


@pytest.mark.parametrize(
    ("section", "pdu", "code"),
    [
        ({}, "0300000001", 1),
        ({"rules": [{"name": "a", "fc": 3, "addr": 5}]}, "0300000001", 2),
        ({"rules": [{"name": "a", "fc": 6, "value": [0, 9]}]}, "06000000ff", 3),
        ({"rules": [{"name": "a", "fc": 6, "max_delta": 9}]}, "06000000ff", 3),
        ({"rules": [{"name": "a", "do": "deny"}]}, "0300000001", 1),
        ({"mode": "read-only", "rules": [{"name": "a"}]}, "0600000001", 1),
        ({"answer": "drop"}, "0300000001", 0),
    ],
)
def test_codes_tell_a_master_why(section: dict[str, Any], pdu: str, code: int) -> None:
    decision = judged(
        Judge(compiled(section), Memory()),
        Asked(0, "10.0.0.7", 0, 1, bytes.fromhex(pdu), b""),
    )
    assert decision.verdict is Verdict.REFUSED
    assert decision.exception == code


def test_a_disbelieved_clock_closes_windows_and_keeps_denials() -> None:
    when = {"when": "Mon-Sun 00:00-24:00 +00:00"}
    allow = compiled({"rules": [{"name": "a", **when}]})
    never = {"when": "Mon-Mon 00:00-00:01 +00:00"}
    deny = compiled({"rules": [{"name": "n", "do": "deny", **never}, {"name": "a"}]})
    request = parse_request(b"\x03\0\0\0\1")
    caller = Caller("10.0.0.7", 1)
    for firewall, ok, reason in [
        (allow, True, Reason.NONE), (allow, False, Reason.TIME),
        (deny, True, Reason.NONE), (deny, False, Reason.DENIED),
    ]:  # fmt: skip
        decision = Judge(firewall, Memory()).judge(
            caller, 0, 1, request, 0, clock_ok=ok
        )
        assert decision.reason is reason


def test_a_role_must_be_in_the_certificate() -> None:
    firewall = compiled({
        "clients": {"eng": {"addresses": ["10.0.0.0/8"], "role": "engineer"}},
        "rules": [{"name": "a", "from": "eng"}],
    })  # fmt: skip
    request = parse_request(b"\x03\0\0\0\1")
    judge = Judge(firewall, Memory())

    def passes(address: str, *roles: str) -> bool:
        caller = Caller(address, 1, roles)
        return judge.judge(caller, 0, 1, request, 0, clock_ok=True).forward

    assert passes("10.0.0.7", "engineer")
    assert passes("::ffff:10.0.0.7", "viewer", "engineer")
    assert not passes("10.0.0.7")
    assert not passes("11.0.0.7", "engineer")
    assert not passes("ttyS0", "engineer")


class Broken(Memory):
    def is_full(self, *_: object) -> bool:
        raise KeyError


@pytest.mark.parametrize("choice", ["refuse", "pass-reads"])
def test_a_fault_closes_for_writes_and_as_chosen_for_reads(choice: str) -> None:
    firewall = compiled({
        "on_failure": choice, "rules": [{"name": "a", "rate": "5/s"}],
    })  # fmt: skip
    judge = Judge(firewall, Broken())
    caller = Caller("10.0.0.7", 1)
    read = (b"\x03\0\0\0\1", choice == "pass-reads")
    for pdu, passes in (read, (b"\x06\0\0\0\1", False)):
        decision = judge.judge(caller, 0, 1, parse_request(pdu), 0, clock_ok=True)
        assert decision.reason is Reason.FAULT
        assert decision.forward is passes
        assert decision.exception == (0 if passes else 4)


def test_hostile_masters_are_forgotten_not_kept() -> None:
    judge = Judge(compiled({"rules": [{"name": "a", "from": "10.0.0.7"}]}), Memory())
    request = parse_request(b"\x03\0\0\0\1")
    for number in range(10_000):
        caller = Caller(f"10.9.{number >> 8}.{number & 255}", 1)
        assert not judge.judge(caller, 0, 1, request, 0, clock_ok=True).forward
    assert len(judge._lookup._callers) <= 4096
    assert judge.judge(Caller("10.0.0.7", 1), 0, 1, request, 0, clock_ok=True).forward
