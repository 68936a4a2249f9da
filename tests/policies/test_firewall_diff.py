"""The diff of two firewalls against the judge: what is not looser lets nothing more."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from agent.firewall.decision import Caller
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.compile import compile_policy
from policies.diff import firewall
from policies.diff.compare import compare
from policies.diff.difference import Kind
from policies.diff.firewall import firewall_lines
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.modbus.pdu import parse_request
from tests.support.examples import upto
from tests.support.firewall_events import BINDINGS, Asked, sections, talks

if TYPE_CHECKING:
    from policies.compile import Compiled
    from policies.model import Bindings, Catalogue
    from policies.parse import Document


@cache
def bound() -> tuple[Document[Catalogue], Document[Bindings]]:
    text = shipped_text("catalogues", "cn-industrial")
    bindings = parse_bindings(json.dumps(BINDINGS).encode())
    return parse_catalogue(text, "cn-industrial"), bindings


def policy(section: dict[str, Any] | None) -> Compiled:
    told = {"schema": "sluicegate/policy/1", "name": "p", "version": 1,
            "catalogues": ["cn-industrial"]}  # fmt: skip
    if section is not None:
        told["modbus"] = section
    catalogue, bindings = bound()
    return compile_policy(
        parse_policy(json.dumps(told).encode()), [catalogue], [bindings], {}, (),
        ("plc1", "plc2"),
    )  # fmt: skip


def timeless(section: dict[str, Any]) -> dict[str, Any]:
    """Return a section without what the past and the clock decide."""
    rules = [
        {key: value for key, value in rule.items()
         if key not in {"rate", "max_delta", "when"}}
        for rule in section["rules"]
    ]  # fmt: skip
    return {**section, "mode": "enforce", "rules": rules}


def passes(compiled: Compiled, talk: list[Asked]) -> list[bool]:
    firewall = compiled.policy.firewall
    assert firewall is not None
    judge = Judge(firewall, Memory())
    return [
        judge.judge(
            Caller(one.client, 1), one.link, one.unit, parse_request(one.pdu),
            one.at_ns, clock_ok=True,
        ).forward
        for one in talk
    ]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=upto(60))
@given(sections(), sections(), talks())
def test_what_is_not_looser_lets_nothing_more_through(
    old: dict[str, Any], new: dict[str, Any], talk: list[Asked]
) -> None:
    before = policy(timeless(old))
    # Most pairs of random sections are looser somehow: also without one rule each.
    for section in (new, *({**old, "rules": [r for r in old["rules"] if r is not one]}
                           for one in old["rules"])):  # fmt: skip
        after = policy(timeless(section))
        lines = [*firewall_lines(before, after)]
        if all(line.kind is Kind.TIGHTER for line in lines):
            both = zip(passes(before, talk), passes(after, talk), strict=True)
            assert all(was or not now for was, now in both)


def kinds(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    lines = [*firewall_lines(policy(old), policy(new))]
    assert all(line.is_guarded for line in lines if line.kind is not Kind.TIGHTER)
    return [str(line.kind) for line in lines]


READ = {"name": "r", "fc": 3, "addr": [0, 9], "from": "10.0.0.7"}


def test_each_direction_is_told() -> None:
    def of(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {**more, "rules": list(rules)}

    write = {"name": "w", "fc": 6, "addr": 1, "value": [0, 9], "rate": "6/min"}
    deny = {"name": "d", "do": "deny", "fc": 6}
    for old, new in [
        (of(READ), of(READ, write)),
        (of({**READ, "addr": [0, 8]}), of(READ)),
        (of({**write, "value": [0, 8]}), of(write)),
        (of({**write, "rate": "5/min"}), of(write)),
        (of(deny, write, READ), of(write, READ)),
        (of(READ), of(READ, default="monitor")),
        (of(READ), of(READ, mode="dry-run")),
        (of(READ), of(READ, on_failure="pass-reads")),
    ]:
        assert "looser" in kinds(old, new), (old, new)
        assert "looser" not in kinds(new, old), (new, old)
    assert kinds(of(deny, write), of(write, deny)) == ["looser"]
    assert kinds(of(deny, READ), of(READ)) == []  # it refused what nobody allowed
    renamed = of({**READ, "name": "other", "from": "hmi"}, clients={"hmi": "10.0.0.7"})
    assert kinds(of(READ), renamed) == []


def test_lines_say_it_in_words() -> None:
    (line,) = firewall_lines(policy({"rules": []}), policy({"rules": [READ]}))
    assert (
        str(line) == "the policy: modbus: no rule r; now r: 10.0.0.7 may"
        " read-holding-registers, everywhere, addresses 0-9"
        " [allows what no rule allowed]"
    )
    (line,) = firewall_lines(policy(None), policy({}))
    assert line.kind is Kind.TIGHTER
    (line,) = firewall_lines(policy({}), policy(None))
    assert line.kind is Kind.LOOSER
    assert line.is_guarded


def test_a_narrower_rule_before_a_deny_is_looser() -> None:
    wide = {"name": "w", "fc": 6, "addr": [0, 9], "value": [0, 9]}
    deny = {"name": "d", "do": "deny", "fc": 6, "addr": [0, 4]}
    narrow = {**wide, "value": [0, 8]}
    assert kinds({"rules": [deny, wide]}, {"rules": [narrow, deny]}) == ["changed"]
    assert kinds({"rules": [deny, wide]}, {"rules": [deny, narrow]}) == ["tighter"]


def test_devices_and_items_that_are_not_here_are_compared_by_name() -> None:
    far = {**READ, "to": "plc8"}
    assert kinds({"rules": [far]}, {"rules": [{**far, "to": "plc9"}]}) == ["changed"]
    item = {"name": "i", "item": "A.B"}
    other = {**item, "item": "A.C"}
    assert kinds({"rules": [item]}, {"rules": [other]}) == ["changed"]


def test_values_of_an_item_and_of_registers_are_not_the_same_numbers() -> None:
    raw = {"name": "w", "unit": [0, 255], "value": [0, 500]}
    item = {"name": "w", "item": "A.B", "value": [0, 5]}
    assert kinds({"rules": [raw]}, {"rules": [item]}) == ["changed"]


def test_one_rule_for_two_of_them_is_no_change_and_two_quotas_are_more() -> None:
    both = {"name": "a", "fc": [3, 4], "from": ["10.0.0.7", "10.0.0.8"]}
    pairs = [(3, 7), (3, 8), (4, 7), (4, 8)]
    each = [
        {"name": f"r{n}", "fc": fc, "from": f"10.0.0.{host}"}
        for n, (fc, host) in enumerate(pairs)
    ]
    assert kinds({"rules": [both]}, {"rules": each}) == []
    assert kinds({"rules": each}, {"rules": [both]}) == []
    rated = [{"name": f"r{n}", "fc": 6, "rate": "6/min"} for n in range(2)]
    assert kinds({"rules": rated[:1]}, {"rules": rated}) == ["looser"]
    assert kinds({"rules": rated}, {"rules": rated[:1]}) == ["tighter"]


def test_who_is_told_no_more_of_an_alert_is_told_of_that() -> None:
    alert = {"name": "a", "do": "alert", "fc": 90}
    assert kinds({"rules": [alert]}, {"rules": []}) == ["looser"]
    assert kinds({"rules": []}, {"rules": [alert]}) == ["tighter"]


def test_a_looser_firewall_needs_two_people() -> None:
    old, new = policy({"rules": []}), policy({"rules": [READ]})
    assert compare(old, new).guarded
    assert not compare(new, old).guarded
    assert compare(None, new).guarded


def test_too_many_rules_count_as_looser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "CHECKS_MAX", 3)
    rules = [{"name": f"r{n}", "fc": 3, "addr": n} for n in range(9)]
    moved = [{**rule, "addr": 99 + n} for n, rule in enumerate(rules)]
    assert kinds({"rules": rules}, {"rules": moved}) == ["changed"]
