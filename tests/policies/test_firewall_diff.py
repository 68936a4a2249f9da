"""The diff of two firewalls against the judge: what is not looser lets nothing more."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings

from agent.firewall.decision import Caller
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.compile import compile_policy
from policies.diff.difference import Kind
from policies.diff.firewall import firewall_lines
from policies.files import shipped_text
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.modbus.pdu import parse_request
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


@settings(max_examples=60)
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
        (of(deny, READ), of(READ)),
        (of(READ), of(READ, default="monitor")),
        (of(READ), of(READ, mode="dry-run")),
        (of(READ), of(READ, on_failure="pass-reads")),
    ]:
        assert "looser" in kinds(old, new), (old, new)
        assert "looser" not in kinds(new, old), (new, old)
    assert kinds(of(deny, write), of(write, deny)) == ["changed"]
    renamed = of({**READ, "name": "other", "from": "hmi"}, clients={"hmi": "10.0.0.7"})
    assert kinds(of(READ), renamed) == []


def test_lines_say_it_in_words() -> None:
    (line,) = firewall_lines(policy({"rules": []}), policy({"rules": [READ]}))
    assert (
        str(line) == "the policy: Modbus: r: 10.0.0.7/32 may read-holding-registers,"
        " to any device, addresses 0-9"
        " [new: r: 10.0.0.7/32 may read-holding-registers, to any device,"
        " addresses 0-9]"
    )
    (line,) = firewall_lines(policy(None), policy({}))
    assert line.kind is Kind.CHANGED
    assert line.is_guarded
