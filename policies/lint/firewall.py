"""What lint says of the ``modbus:`` section: SG040 to SG049, SG060 to SG064.

Rules are read by the names of the file: what is said of one does not depend on which
links and items this gateway has, but for SG043.
"""

from __future__ import annotations

import ipaddress
from itertools import combinations
from typing import TYPE_CHECKING, Final

from policies.errors import nearest, shown
from policies.firewall.plain import BY_SUB, plain_rules
from policies.firewall.relations import Holders, masters_meet, refuses_all, within
from policies.lint.findings import finding
from protocols.modbus.functions import (
    DIAGNOSTICS,
    FUNCTIONS,
    MASK_WRITE,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_FILE,
    function_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.firewall.plain import PlainRule
    from policies.lint.findings import Finding
    from policies.model_firewall import Firewall
    from policies.yaml_tree import Path

CHECKS_MAX: Final = 300_000  # pairs of rules; beyond, shadows are not looked for
HINTS_MAX: Final = 16  # names that near ones are looked for
UNIT_LAST: Final = 247  # of a device on a serial line (Serial Line V1.02, clause 2.2)
COILS: Final = frozenset({WRITE_COIL, WRITE_COILS})
# They carry numbers that a rule can bound.
VALUED: Final = frozenset({5, 6, 15, 16, 22, 23})
REGISTERS: Final = VALUED - COILS
# What stops, restarts or reprograms a device: vendors' codes, files, function 8.
STOPS: Final = (
    frozenset(code for code, one in FUNCTIONS.items() if not one.is_public)
    | {WRITE_FILE}
)  # fmt: skip
STOPPING_SUBS: Final = (1, 4)  # restart communications, force listen-only (6.8.1)


def firewall_findings(compiled: Compiled) -> Iterator[Finding]:
    """Yield all that is odd about the firewall."""
    told = compiled.document.model.modbus
    if told is None:
        return
    rules = plain_rules(told)
    for rule in rules:
        if rule.do == "allow":
            yield from _limits(compiled, rule)
            yield from _opens(compiled, told, rule)
        yield from _places(compiled, rule)
    yield from _shadows(compiled, rules)
    yield from _unbound(compiled, rules)
    yield from _clients(compiled, told, rules)
    yield from _settings(compiled, told, rules)


def _path(rule: PlainRule, *field: str) -> Path:
    return ("modbus", "rules", rule.number, *field)


# --- One rule -------------------------------------------------------------------------


def _limits(compiled: Compiled, rule: PlainRule) -> Iterator[Finding]:
    field = "value" if rule.value is not None else "max_delta"
    is_valued = rule.value is not None or rule.max_delta is not None
    if is_valued and not rule.writing & VALUED:
        reason = f"{field} bounds what is written, and the rule lets nothing write that"
        yield finding(compiled, "SG047", _path(rule, field), reason)
    elif is_valued and rule.codes == {MASK_WRITE}:
        reason = f"the value of {function_name(MASK_WRITE)} is not known: never passes"
        yield finding(compiled, "SG042", _path(rule, field), reason)
    if rule.max_delta is not None and _writes_coils(compiled, rule):
        reason = "a coil is on or off: a change of 0 forbids, one of 1 allows all"
        yield finding(compiled, "SG047", _path(rule, "max_delta"), reason)


def _writes_coils(compiled: Compiled, rule: PlainRule) -> bool:
    """Tell whether a rule may write coils; of an item its point tells."""
    if rule.item is None:
        return bool(rule.functions is not None or rule.table == 0) and bool(
            rule.writing & COILS
        )
    names = compiled.policy.items.name
    return any(
        point.table == 0 and names[point.item] == rule.item for point in compiled.modbus
    )


def _opens(compiled: Compiled, told: Firewall, rule: PlainRule) -> Iterator[Finding]:
    """Yield what an allow opens without a bound."""
    valued = rule.writing & VALUED
    if valued and rule.item is None and rule.addresses is None:
        reason = "lets every address be written: give addr or item"
        yield finding(compiled, "SG041", _path(rule), reason)
    if valued & REGISTERS and rule.value is None:
        reason = "lets any value be written: give value"
        yield finding(compiled, "SG062", _path(rule), reason)
    if rule.writing and rule.clients is None:
        reason = "lets any master write: give from"
        yield finding(compiled, "SG040", _path(rule), reason)
    if rule.writing and told.mode == "read-only":
        reason = "allows writes, and mode read-only refuses them all"
        yield finding(compiled, "SG046", _path(rule), reason)
    stops = [function_name(code) for code in sorted(rule.writing & STOPS)]
    if DIAGNOSTICS in rule.writing and _has_sub(rule, STOPPING_SUBS):
        stops.append("diagnostics 1 or 4")
    if stops:
        more = f" and {len(stops) - 3} more" if len(stops) > 3 else ""
        reason = f"lets {', '.join(stops[:3])}{more} stop or reprogram a device"
        yield finding(compiled, "SG044", _path(rule, "fc"), reason)


def _has_sub(rule: PlainRule, wanted: tuple[int, ...]) -> bool:
    return rule.subs is None or any(
        first <= one <= last for one in wanted for first, last in rule.subs
    )


def _places(compiled: Compiled, rule: PlainRule) -> Iterator[Finding]:
    if not rule.tables:
        field = "table" if rule.table is not None else "addr"
        field = "item" if rule.item is not None else field
        reason = f"none of its functions goes with this {field}: never holds"
        yield finding(compiled, "SG042", _path(rule, field), reason)
    if rule.subs is not None and not rule.codes & BY_SUB:
        reason = "only functions 8 and 43 have sub-functions: never holds"
        yield finding(compiled, "SG042", _path(rule, "sub"), reason)
    for first, last in rule.units or ():
        if first <= 254 and last > UNIT_LAST:
            reason = f"no device on a serial line has a unit above {UNIT_LAST}"
            yield finding(compiled, "SG049", _path(rule, "unit"), reason)
    named = any(first == 0 for first, _ in rule.units or ())
    if named and rule.do == "allow" and rule.writing:
        reason = (
            "writes to unit 0 reach every device of a serial line, and none answers"
        )
        yield finding(compiled, "SG061", _path(rule, "unit"), reason)


# --- Several rules --------------------------------------------------------------------


def _shadows(compiled: Compiled, rules: tuple[PlainRule, ...]) -> Iterator[Finding]:
    """Yield the rules that never decide: an earlier one takes all of theirs."""
    left = CHECKS_MAX
    earlier = Holders()
    for rule in rules:
        if rule.do == "alert":
            continue
        found = earlier.of(rule)
        earlier.add(rule.number, rule)
        left -= len(found)
        if left < 0:
            return
        for _, one in found:
            if _shadowed(rule, one):
                line = compiled.document.tree.line(_path(one))
                verb = "denies" if one.do == "deny" else "allows"
                reason = f"never decides: {one.name} (line {line}) {verb} all of it"
                yield finding(compiled, "SG042", _path(rule), reason)
                break


def _shadowed(rule: PlainRule, one: PlainRule) -> bool:
    if one.do == "deny":
        # Hours count: a deny for some of them leaves the others.
        return refuses_all(one, rule)
    if one.do == "alert" or (one.is_limited and rule.do == "deny"):
        return False
    if rule.do == "deny":
        # A request that it touches may reach beyond: only a rule for all addresses.
        return one.addresses is None and one.item is None and within(rule, one)
    return within(rule, one)


def _unbound(compiled: Compiled, rules: tuple[PlainRule, ...]) -> Iterator[Finding]:
    """Yield links and items that this gateway does not have: their rules never hold."""
    links = compiled.links
    points = {compiled.policy.items.name[point.item] for point in compiled.modbus}
    hints: dict[str, str] = {}
    for rule in rules:
        told = [(one, "to", "link", links) for one in sorted(rule.links or ())]
        if rule.item is not None:
            told.append((rule.item, "item", "Modbus item", tuple(points)))
        for name, field, what, known in told:
            if name in known:
                continue
            if name not in hints and len(hints) < HINTS_MAX:
                hints[name] = nearest(name, known)
            hint = f"; {hints[name]}" if hints.get(name) else ""
            reason = f"no such {what} here: {shown(name)}, so it never holds{hint}"
            yield finding(compiled, "SG043", _path(rule, field), reason)


# --- Masters --------------------------------------------------------------------------


def _clients(
    compiled: Compiled, told: Firewall, rules: tuple[PlainRule, ...]
) -> Iterator[Finding]:
    firewall = compiled.policy.firewall
    assert firewall is not None  # it was compiled from this section
    used = {name for rule in rules for name in rule.masters or ()}
    used |= {*compiled.document.model.inspection.engineering}
    groups = firewall.clients[: len(told.clients)]
    for group in groups:
        path: Path = ("modbus", "clients", group.name)
        if group.name not in used:
            yield finding(compiled, "SG063", path, "no rule names this client")
        wide = [one for one in group.networks if _is_public(one)]
        if wide:
            reason = f"{wide[0]} holds addresses of the internet"
            yield finding(compiled, "SG048", path, reason)
    for group in firewall.clients[len(told.clients) :]:
        if _is_public(group.networks[0]):
            rule = next(one for one in rules if _names(one, group.networks[0]))
            reason = f"{group.networks[0]} holds addresses of the internet"
            yield finding(compiled, "SG048", _path(rule, "from"), reason)
    for one, other in combinations(groups, 2):
        if one.role == other.role or not (one.networks and other.networks):
            continue
        if masters_meet((one.networks, one.role), (other.networks, other.role)):
            who = [f"{each.name} ({each.role or 'no role'})" for each in (one, other)]
            reason = f"a master may be {who[0]} and {who[1]}: rules of both hold for it"
            path = ("modbus", "clients", other.name)
            yield finding(compiled, "SG060", path, reason)


def _names(rule: PlainRule, network: str) -> bool:
    return any(network in networks for networks, _ in rule.clients or ())


def _is_public(text: str) -> bool:
    network = ipaddress.ip_network(text)
    return network.prefixlen == 0 or network.is_global


def _settings(
    compiled: Compiled, told: Firewall, rules: tuple[PlainRule, ...]
) -> Iterator[Finding]:
    if told.mode == "dry-run":
        reason = "dry-run: what is refused passes all the same"
        yield finding(compiled, "SG045", ("modbus", "mode"), reason)
    if told.default == "monitor":
        reason = "monitor: what no rule allows passes, writes too"
        yield finding(compiled, "SG045", ("modbus", "default"), reason)
    if not rules and told.default == "deny":
        reason = "no rule: no master may ask anything"
        yield finding(compiled, "SG064", ("modbus",), reason)
