"""A firewall of many rules, for bench/modbus_proxy.py and bench/modbus_judge.py.

Reads and writes of a plant with many units: ranges to read, setpoints with limits on
values, changes and rates, ranges that nobody may touch, ranges that are only told of.
What unit 1 is asked by this machine is allowed by the last rules; one of them compares
changes, so that every reply is learned.
"""

from __future__ import annotations

from typing import Final

from policies.firewall.tables import (
    ClientGroup,
    CompiledFirewall,
    Default,
    Do,
    FirewallRule,
    Mode,
    Rate,
)

READS: Final = frozenset({1, 2, 3, 4})
WRITES: Final = frozenset({6, 16})
MINUTE_NS: Final = 60_000_000_000
HERE, ENGINEERS = frozenset({0}), frozenset({1})
SPAN: Final = 100  # addresses of a rule


def firewall(
    count: int, masters: tuple[str, ...] = ("127.0.0.0/8",)
) -> CompiledFirewall:
    """Return a firewall of ``count`` rules, at least two; ``masters``: addresses."""
    rules = [_other(number) for number in range(count - 2)]
    rules += [
        FirewallRule(
            "poll", Do.ALLOW, HERE, frozenset({0}), ((1, 1),), READS, None, None,
            ((0, 1999),),
        ),
        FirewallRule(
            "setpoint", Do.ALLOW, HERE, frozenset({0}), ((1, 1),), WRITES, None, None,
            ((0, 99),), value=(0.0, 500.0), max_delta=50.0,
        ),
    ]  # fmt: skip
    clients = (
        ClientGroup("here", masters),
        ClientGroup("engineers", ("10.0.0.9", "10.1.0.0/16"), "engineer"),
    )
    return CompiledFirewall(
        Default.DENY, Mode.ENFORCE, False, False, clients, tuple(rules)
    )


def _other(number: int) -> FirewallRule:
    """Return a rule about another place: of unit 1 further up, or of other units."""
    kind = number % 4
    unit = 1 if number % 2 else 2 + number % 40
    first = 2000 + number * 60
    span = ((first, first + SPAN - 1),)
    return FirewallRule(
        f"r{number}",
        (Do.ALLOW, Do.ALLOW, Do.DENY, Do.ALERT)[kind],
        HERE if number % 3 else ENGINEERS,
        frozenset({0}),
        ((unit, unit),),
        READS if kind == 0 else WRITES,
        None,
        None,
        span,
        value=(0.0, 500.0) if kind == 1 else None,
        max_delta=50.0 if kind == 1 else None,
        rate=Rate(6, MINUTE_NS) if kind == 1 else None,
    )
