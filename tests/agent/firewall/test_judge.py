"""The judge against a slow one that reads the section by itself (tests/reference)."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.firewall import batch, lookup
from agent.firewall.decision import Caller, Decision
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.firewall.tables import (
    CompiledFirewall,
    Default,
    Do,
    FirewallRule,
    Mode,
)
from protocols.modbus.exchanges import UNLISTED, Reason, Verdict
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from protocols.modbus.values import Point
from tests.reference.slow_firewall import Rules, bound
from tests.support.examples import upto
from tests.support.firewall_compiled import LINKS, compiled
from tests.support.firewall_events import BINDINGS, Asked, pairs_of, sections, talks


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


@settings(max_examples=upto(25))
@given(sections(), talks(), st.sampled_from([0, lookup.FEW]))
def test_it_says_what_the_slow_one_says(
    section: dict[str, Any], talk: list[Asked], few: int
) -> None:
    with mock.patch.object(lookup, "FEW", few):  # rules in columns, or in a loop
        says_the_same(section, talk)


def says_the_same(section: dict[str, Any], talk: list[Asked]) -> None:
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


@settings(max_examples=upto(25))
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


NINE_AT_MOST = {"rules": [{"name": "a", "max_delta": 9}]}
ELSEWHERE = {"rules": [{"name": "a", "addr": [0, 5]},
                       {"name": "b", "addr": 6, "max_delta": 9}]}  # fmt: skip


@pytest.mark.parametrize(
    ("between", "passes"),
    [({"rules": [{"name": "a"}]}, False), (ELSEWHERE, False), (NINE_AT_MOST, True)],
)
def test_a_change_is_not_measured_from_what_no_judge_kept_current(
    between: dict[str, Any], passes: bool
) -> None:
    memory = Memory()

    def write(section: dict[str, Any], value: int) -> bool:
        pdu = b"\x06\0\5" + value.to_bytes(2, "big")
        asked = Asked(0, "10.0.0.7", 0, 1, pdu, pdu)
        pairs, names = pairs_of([asked])
        judge = Judge(compiled(section), memory)
        if section is between:  # as a tap hears it: only what is compared is learnt
            judge.judge_batch(decode_pairs(pairs), names, clock_ok=True)
            return True
        return judged(judge, asked).forward

    judge = Judge(compiled(NINE_AT_MOST), memory)
    read = parse_request(b"\x03\0\5\0\1")
    judge.answered(0, 1, read, parse_reply(read, b"\x03\2\0\x64"))
    write(between, 109)
    assert write(NINE_AT_MOST, 105) is passes


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


LIMITED = {"rules": [{"name": "read", "fc": "reads"},
                     {"name": "a", "fc": [6, 16, 22], "max_delta": 5}]}  # fmt: skip
READ = b"\x03\0\0\0\1"


def write(value: int) -> bytes:
    return b"\x06\0\0\0" + bytes([value])


def says(judge: Judge, pdu: bytes, reply: bytes, **where: int) -> Reason:
    link, unit = where.get("link", 0), where.get("unit", 1)
    at_ns = where.get("at_ns", 0)
    return judged(judge, Asked(at_ns, "10.0.0.7", link, unit, pdu, reply)).reason


@pytest.mark.parametrize("reply", [b"", b"\x86\4", b"\x86\2", b"\x06\0\0\0\x09"])
def test_a_write_that_is_not_confirmed_leaves_nothing_known(reply: bytes) -> None:
    judge = Judge(compiled(LIMITED), Memory())
    assert says(judge, write(1), b"") is Reason.UNKNOWN_BEFORE
    says(judge, READ, b"\3\2\0\1")
    assert says(judge, write(2), write(2)) is Reason.NONE
    assert says(judge, write(7), reply) is Reason.NONE
    assert says(judge, write(8), b"") is Reason.UNKNOWN_BEFORE


def test_a_write_before_the_answer_to_another_is_refused() -> None:
    judge = Judge(compiled(LIMITED), Memory())
    says(judge, READ, b"\3\2\0\1")
    caller, first = Caller("10.0.0.7", 1), parse_request(write(6))
    assert judge.judge(caller, 0, 1, first, 0, clock_ok=True).forward
    second = judge.judge(caller, 0, 1, parse_request(write(1)), 0, clock_ok=True)
    assert second.reason is Reason.UNKNOWN_BEFORE
    judge.answered(0, 1, first, parse_reply(first, write(6)))
    assert says(judge, write(1), write(1)) is Reason.NONE


def test_a_queue_is_no_register() -> None:
    judge = Judge(compiled(LIMITED), Memory())
    says(judge, b"\x18\0\0", b"\x18\0\4\0\1\0\7")
    assert says(judge, write(7), b"") is Reason.UNKNOWN_BEFORE


def test_a_new_policy_keeps_what_was_seen() -> None:
    memory = Memory()
    rated = {"rules": [*LIMITED["rules"], {"name": "r", "fc": 5, "rate": "1/min"}]}
    coil = b"\x05\0\0\xff\0"
    says(Judge(compiled(rated), memory), READ, b"\3\2\0\1")
    assert says(Judge(compiled(rated), memory), coil, coil) is Reason.NONE
    swapped = Judge(compiled(rated), memory)
    assert says(swapped, write(6), write(6)) is Reason.NONE
    assert says(swapped, write(12), write(12)) is Reason.DELTA
    assert says(swapped, coil, coil, at_ns=1) is Reason.RATE


def test_a_deny_touches_broadcasts_an_allow_must_name_them() -> None:
    section = {"default": "monitor",
               "rules": [{"name": "d", "do": "deny", "fc": "writes"}]}  # fmt: skip
    for unit in (0, 1, 255):
        judge = Judge(compiled(section), Memory())
        assert says(judge, write(1), b"", unit=unit) is Reason.DENIED
    allow = Judge(compiled({"rules": [{"name": "a"}]}), Memory())
    assert says(allow, READ, b"", unit=1) is Reason.NONE
    assert says(allow, READ, b"", unit=0) is Reason.NO_RULE
    assert says(allow, READ, b"", unit=255) is Reason.NO_RULE


def test_networks_of_both_families() -> None:
    section = {"clients": {"a": ["10.1.0.0/16", "2001:db8::/32", "fe80::1"]},
               "rules": [{"name": "r", "from": "a"}]}  # fmt: skip
    judge = Judge(compiled(section), Memory())
    request = parse_request(READ)
    for address, passes in [
        ("10.1.255.255", True), ("10.2.0.0", False), ("2001:db8:ffff::1", True),
        ("2001:db9::1", False), ("fe80::1", True), ("::ffff:10.1.0.1", True),
        ("::10.1.0.1", False), ("line1", False),
    ]:  # fmt: skip
        caller = Caller(address, 1)
        told = judge.judge(caller, 0, 1, request, 0, clock_ok=True)
        assert told.forward is passes, address


def test_requests_without_end_are_forgotten() -> None:
    judge = Judge(compiled(LIMITED), Memory())
    caller = Caller("10.0.0.7", 1)
    for number in range(17_000):
        request = parse_request(b"\3" + number.to_bytes(2, "big") + b"\0\1")
        judge.judge(caller, 0, number & 255, request, 0, clock_ok=True)
    assert len(judge._kinds) <= 16_384
    assert judge._lookup._held <= lookup.HELD_MAX


def test_devices_that_no_link_names_are_apart() -> None:
    talk = [
        Asked(1, "10.0.0.7", 0, 1, READ, b"\3\2\0\1"),
        Asked(5, "10.0.0.7", 0, 1, write(2), write(2)),
        Asked(9, "10.0.0.7", 0, 1, write(2), write(2)),
    ]
    pairs, names = pairs_of(talk)
    exchanges = decode_pairs(pairs)
    exchanges.link[:] = UNLISTED
    exchanges.server[:] = [3, 3, 4]
    found = Judge(compiled(LIMITED), Memory()).judge_batch(
        exchanges, names, clock_ok=True
    )
    assert found.reason.tolist() == [0, 0, Reason.UNKNOWN_BEFORE]


def test_who_mixes_two_kinds_to_one_gets_what_is_due() -> None:
    talk = [Asked(0, "10.0.0.7", 0, unit, READ, b"") for unit in (1, 0, 1, 255)]
    pairs, names = pairs_of(talk)
    with mock.patch.object(batch, "_MIX", np.uint64(0)):
        found = Judge(compiled({"rules": [{"name": "a"}]}), Memory()).judge_batch(
            decode_pairs(pairs), names, clock_ok=True
        )
    assert found.verdict.tolist() == [1, 2, 1, 2]


def test_an_item_of_one_bit_lets_nobody_write_the_register() -> None:
    where = Point(0, 0, 1, 4, 0, "bit", bit=3)
    rule = FirewallRule("a", Do.ALLOW, None, frozenset({0}), ((1, 1),), None, None, 4,
                        ((0, 0),), point=where)  # fmt: skip
    told = CompiledFirewall(
        Default.DENY, Mode.ENFORCE, False, False, (), (rule,)
    )  # fmt: skip
    judge = Judge(told, Memory())
    assert says(judge, READ, b"") is Reason.NONE
    assert says(judge, write(8), b"") is Reason.NO_RULE


def test_a_broadcast_write_leaves_no_value_known() -> None:
    judge = Judge(
        compiled({"rules": [
            {"name": "all", "unit": 0, "fc": 6},
            {"name": "one", "unit": 1, "fc": [3, 6], "max_delta": 9},
        ]}),
        Memory(),
    )  # fmt: skip
    known = Asked(0, "10.0.0.7", 0, 1, b"\x03\0\x64\0\1", b"\x03\2\0\x64")
    put = Asked(2, "10.0.0.7", 0, 1, b"\x06\0\x64\0\x69", b"\x06\0\x64\0\x69")
    assert judged(judge, known).forward
    assert judged(judge, put).forward
    assert judged(judge, Asked(1, "10.0.0.7", 0, 0, b"\x06\0\x64\3\xe8", b"")).forward
    assert judged(judge, put).reason is Reason.UNKNOWN_BEFORE
    assert judged(judge, known).forward
    assert judged(judge, put).forward
