"""M1: pairs that rules name, and pairs that are learned."""

from __future__ import annotations

from agent.inspection.findings import Level
from agent.inspection.modbus_clients import belongs
from agent.inspection.modbus_groups import GROUPS_MAX
from agent.inspection.modbus_learning import bound_of
from agent.inspection.modbus_pairs import NewPair
from policies.firewall.tables import (
    ClientGroup,
    CompiledFirewall,
    Default,
    Do,
    FirewallRule,
    Mode,
)
from protocols.modbus.exchanges import UNLISTED, Problem
from tests.support.exchange_rows import HMI, STRANGER, Row, S, seen

GROUPS = (
    ClientGroup("hmi", ("10.0.0.7",)),
    ClientGroup("net", ("10.1.0.0/16", "ttyUSB0")),
    ClientGroup("cert", (), "operator"),
)


def rule(
    clients: set[int] | None, links: set[int] | None, do: Do = Do.ALLOW
) -> FirewallRule:
    return FirewallRule(
        "r", do, None if clients is None else frozenset(clients),
        None if links is None else frozenset(links), None, None, None, None, None,
    )  # fmt: skip


def firewall(*rules: FirewallRule) -> CompiledFirewall:
    return CompiledFirewall(
        Default.DENY, Mode.ENFORCE, pass_reads_on_failure=False, silent=False,
        clients=GROUPS, rules=rules,
    )  # fmt: skip


def test_an_address_belongs_to_a_group_by_itself_or_by_its_network() -> None:
    hmi, net, cert = GROUPS
    assert belongs("10.0.0.7", hmi)
    assert not belongs("10.0.0.8", hmi)
    assert belongs("::ffff:10.0.0.7", hmi)  # as a listener for both families sees it
    assert not belongs("::ffff:10.0.0.8", hmi)
    assert belongs("10.1.200.3", net)
    assert belongs("ttyUSB0", net)
    assert not belongs("ttyUSB1", net)
    assert not belongs("2001:db8::1", net)
    # Only a certificate tells: the proxy asks for it, nobody else can.
    assert belongs("192.0.2.9", cert)


def test_a_pair_that_no_rule_names_alarms_and_a_write_of_it_more() -> None:
    detector = NewPair(firewall(rule({0}, {0}), rule({0}, {1}, Do.DENY)))
    rows = [
        Row(S),
        Row(2 * S, client=STRANGER),
        Row(3 * S, client=STRANGER, function=6),
    ]
    found = detector.inspect(seen([*rows, Row(4 * S, link=1)]))
    assert {(f.subject.client, f.subject.link, f.variant) for f in found} == {
        ("10.0.0.66", 0, ""), ("10.0.0.66", 0, "write"), ("10.0.0.7", 1, ""),
    }  # fmt: skip
    assert all(f.level is Level.ALERT and f.bound is None for f in found)


def test_a_rule_for_everybody_or_for_all_devices_names_them() -> None:
    rows = [Row(S), Row(S, client=STRANGER), Row(S, link=7)]
    assert NewPair(firewall(rule(None, None))).inspect(seen(rows)) == []
    assert len(NewPair(firewall(rule({0}, None))).inspect(seen(rows))) == 1


def test_without_a_firewall_pairs_are_learned_and_told_with_the_bound() -> None:
    detector = NewPair(None, learn_s=100)
    assert detector.inspect(seen([Row(0), Row(59 * S)])) == []
    # While calibrating a new pair is a notice, and the calibration begins anew.
    (notice,) = detector.inspect(seen([Row(70 * S, server=5)]))
    assert notice.level is Level.NOTICE
    assert detector.inspect(seen([Row(105 * S), Row(109 * S, server=5)])) == []
    (alert,) = detector.inspect(seen([Row(120 * S, client=STRANGER)]))
    assert alert.level is Level.ALERT
    assert alert.bound == bound_of(50)
    # It is new for an hour.
    assert detector.inspect(seen([Row(3000 * S, client=STRANGER)]))
    assert detector.inspect(seen([Row(4000 * S, client=STRANGER)])) == []


def test_devices_that_no_configuration_names_are_learned_too() -> None:
    detector = NewPair(firewall(rule({0}, {0})), learn_s=0)
    (found,) = detector.inspect(seen([Row(S, link=UNLISTED)]))
    assert found.subject.client == "10.0.0.7"
    assert found.subject.link == UNLISTED


def test_a_reply_to_nothing_makes_no_pair() -> None:
    row = Row(S, client=STRANGER, problems=Problem.UNSOLICITED)
    assert NewPair(firewall(rule({0}, {0}))).inspect(seen([row])) == []
    assert row.client != HMI


def test_pairs_are_bounded() -> None:
    detector = NewPair(None, learn_s=0)
    rows = [Row(S, server=i) for i in range(5000)]
    found = detector.inspect(seen(rows))
    assert len(found) == GROUPS_MAX + 1
    assert sum(one.count for one in found) == 5000
    assert max(found, key=lambda one: one.count).subject.client == "others"
    assert len(detector._learned) == 4096


def test_many_pairs_that_belong_here_are_no_flood_of_names() -> None:
    rows = [Row(S + i, link=i % 200, server=i) for i in range(2000)]
    assert NewPair(firewall(rule({0}, set(range(200))))).inspect(seen(rows)) == []
