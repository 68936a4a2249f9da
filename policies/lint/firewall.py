"""What lint says of the ``modbus:`` section: SG040 to SG049 of ``rules.py``."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from policies.errors import shown
from policies.firewall.order import holds_all
from policies.firewall.spans import GROUPS
from policies.firewall.tables import Default, Do, FirewallRule, Mode
from policies.lint.findings import finding
from protocols.modbus.functions import DIAGNOSTICS, ENCAPSULATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.firewall.tables import CompiledFirewall
    from policies.lint.findings import Finding
    from policies.model_firewall import Firewall
    from policies.yaml_tree import Path

_BITS: Final = frozenset({0, 1})
_WIDE_BITS: Final = 7  # a network of this prefix or shorter is as good as anybody


def firewall_findings(compiled: Compiled) -> Iterator[Finding]:
    """Yield all that is odd about the firewall and its rules."""
    firewall, told = compiled.policy.firewall, compiled.document.model.modbus
    if firewall is None or told is None:
        return
    yield from _head(compiled, firewall)
    numbers = {rule.name: number for number, rule in enumerate(told.rules)}
    for at, rule in enumerate(firewall.rules):
        path: Path = ("modbus", "rules", numbers[rule.name])
        yield from _absent(compiled, told, rule, path)
        if rule.do is Do.ALLOW:
            yield from _allowed(compiled, firewall, rule, path)
            yield from _limits(compiled, rule, path)
        yield from _shadowed(compiled, firewall, at, path)


def _head(compiled: Compiled, firewall: CompiledFirewall) -> Iterator[Finding]:
    if firewall.default is Default.MONITOR:
        reason = "default: monitor: what no rule allows passes"
        yield finding(compiled, "SG045", ("modbus", "default"), reason)
    if firewall.mode is Mode.DRY_RUN:
        reason = "mode: dry-run: nothing is refused"
        yield finding(compiled, "SG045", ("modbus", "mode"), reason)
    for group in firewall.clients:
        for one in group.networks:
            network = ipaddress.ip_network(one)
            if network.prefixlen <= _WIDE_BITS:
                reason = f"{shown(one)} is as good as anybody"
                path: Path = ("modbus", "clients", group.name)
                yield finding(compiled, "SG048", path, reason)


def _absent(
    compiled: Compiled, told: Firewall, rule: FirewallRule, path: Path
) -> Iterator[Finding]:
    written = told.rules[int(path[-1])]
    if written.item is not None and rule.point is None:
        reason = f"no register is bound to {shown(written.item)}: it never matches"
        yield finding(compiled, "SG043", (*path, "item"), reason)
    links = [written.to] if isinstance(written.to, str) else written.to or ()
    for name in links:
        if name not in compiled.links:
            reason = f"no link of this gateway: {shown(name)}"
            yield finding(compiled, "SG043", (*path, "to"), reason)


def _allowed(
    compiled: Compiled, firewall: CompiledFirewall, rule: FirewallRule, path: Path
) -> Iterator[Finding]:
    codes = rule.functions or frozenset(range(1, 128))
    writes = codes & (GROUPS["writes"] | GROUPS["vendor"])
    if writes and firewall.mode is Mode.READ_ONLY:
        reason = "allows writes, and mode: read-only refuses them all"
        yield finding(compiled, "SG046", path, reason)
    if writes and rule.clients is None:
        yield finding(compiled, "SG040", path, "anybody may write: no from")
    if writes and rule.addresses is None:
        reason = "writes to any address: no addr and no item"
        yield finding(compiled, "SG041", path, reason)
    by_sub = codes & {DIAGNOSTICS, ENCAPSULATED}
    if DIAGNOSTICS in by_sub and rule.subs is None:
        reason = "function 8 without sub: 1 restarts a device, 4 silences it"
        yield finding(compiled, "SG044", path, reason)
    if codes & GROUPS["vendor"]:
        reason = "allows vendors' functions: 90 and others load programs"
        yield finding(compiled, "SG044", path, reason)


def _limits(compiled: Compiled, rule: FirewallRule, path: Path) -> Iterator[Finding]:
    codes = rule.functions or frozenset(range(1, 128))
    limited = rule.value is not None or rule.max_delta is not None
    if limited and not codes & GROUPS["writes"]:
        reason = "value and max_delta are about writes, and it allows none"
        yield finding(compiled, "SG047", path, reason)
    if rule.max_delta is not None and rule.table in _BITS:
        reason = "max_delta on single bits"
        yield finding(compiled, "SG047", (*path, "max_delta"), reason)


def _shadowed(
    compiled: Compiled, firewall: CompiledFirewall, at: int, path: Path
) -> Iterator[Finding]:
    rule = firewall.rules[at]
    if rule.do is Do.ALERT or rule.links == frozenset():
        return
    for earlier in firewall.rules[:at]:
        final = earlier.do is Do.DENY or (
            earlier.do is Do.ALLOW
            and rule.do is Do.ALLOW
            and earlier.value is None
            and earlier.max_delta is None
            and earlier.rate is None
            and earlier.point is None
        )
        if earlier.hours is None and final and holds_all(firewall, earlier, rule):
            reason = f"can never decide: {shown(earlier.name)} decides before it"
            yield finding(compiled, "SG042", path, reason)
            return
