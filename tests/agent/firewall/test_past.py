"""Where the past decides: what must be remembered, and what need not."""

from __future__ import annotations

import pytest

from agent.firewall.past import Past
from policies.firewall.tables import Do, FirewallRule
from protocols.modbus.pdu import parse_request
from protocols.modbus.values import Point


def rule(**fields: object) -> FirewallRule:
    told = {"links": frozenset({1}), "units": ((3, 4),), "functions": None,
            "table": 4, "addresses": ((10, 19), (30, 30))} | fields  # fmt: skip
    return FirewallRule("a", Do.ALLOW, None, subs=None, **told)  # type: ignore[arg-type]  # any field


def test_rules_that_do_not_compare_need_no_past() -> None:
    assert not Past([rule(value=(0.0, 9.0))]).counts
    assert not Past([]).counts


@pytest.mark.parametrize(
    ("link", "unit", "pdu", "meets"),
    [
        (1, 3, "03000a0001", True),
        (1, 3, "030000000b", True),
        (1, 3, "030000000a", False),  # 0 to 9
        (1, 4, "030014000a", False),  # 20 to 29
        (1, 4, "030014000b", True),  # up to 30
        (1, 5, "03000a0001", False),
        (2, 3, "03000a0001", False),
        (1, 3, "04000a0001", False),  # input registers
        (1, 3, "06001e0001", True),
        (1, 3, "170000000100130001020001", True),  # its write half
        (1, 3, "11", False),
    ],
)
def test_it_is_found_by_link_unit_table_and_address(
    link: int, unit: int, pdu: str, meets: bool
) -> None:
    past = Past([rule(max_delta=1.0)])
    for _ in range(2):  # looked up, and remembered
        assert past.meets(link, unit, parse_request(bytes.fromhex(pdu))) is meets


def test_a_rule_without_places_compares_everywhere() -> None:
    past = Past(
        [rule(max_delta=1.0, links=None, units=None, table=None, addresses=None)]
    )
    assert past.meets(700, 255, parse_request(b"\x01\xff\xff\0\1"))
    assert not past.meets(700, 255, parse_request(b"\x11"))


def test_a_scale_factor_is_remembered_with_its_item() -> None:
    where = Point(0, 1, 3, 4, 10, "i16", scale_factor=90)
    past = Past([rule(point=where, addresses=((10, 10),))])
    assert past.is_scaled
    assert past.meets(1, 3, parse_request(b"\x03\0\x5a\0\1"))
    assert not past.meets(1, 3, parse_request(b"\x03\0\x5b\0\1"))
