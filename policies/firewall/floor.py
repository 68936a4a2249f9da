"""The owner's floor for Modbus: what no policy's firewall lets through, whoever signed.

``never`` is checked against every ``allow`` that may meet it, and against ``default:
monitor``: a deny before it must refuse all that both mean. Items are where this gateway
has them bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from policies.errors import shown
from policies.firewall import spans
from policies.firewall.explain import placed
from policies.firewall.plain import (
    ALL_FUNCTIONS,
    ALL_UNITS,
    BY_SUB,
    PlainRule,
    monitor_rule,
    plain_rules,
)
from policies.firewall.relations import may_meet, refuses_all
from protocols.modbus.functions import READ_HOLDING, READ_WRITE, is_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from policies.compile import Compiled
    from policies.model_firewall import Firewall
    from policies.model_floor import Floor, FloorNever
    from policies.parse import Document
    from policies.yaml_tree import Path

    T = TypeVar("T")

# Sub-functions tell of 8 and 43 whether they write.
WRITING: Final = frozenset(code for code in ALL_FUNCTIONS if is_write(code)) | BY_SUB
ALWAYS: Final = WRITING - BY_SUB
_STRICT: Final = {"dry-run": 0, "enforce": 1, "read-only": 2}


@dataclass(frozen=True, slots=True)
class Broken:
    """One point where a firewall is weaker than the floor."""

    floor_rule: str
    policy_rule: str  # "" where it is about the firewall as a whole
    reason: str


def read_never(document: Document[Floor]) -> tuple[PlainRule, ...]:
    """Return the entries of ``never``; PolicyError where one is wrong."""
    told = document.model.modbus
    if told is None:
        return ()
    if told == type(told)():
        reason = "demands nothing"
        raise document.error(("modbus",), reason, "such as mode: enforce")
    out: list[PlainRule] = []
    for number, one in enumerate(told.never):
        path: Path = ("modbus", "never", number)
        if one.name in {rule.name for rule in out}:
            raise document.error((*path, "name"), "another rule has this name")
        out.append(_never(document, path, one))
    return tuple(out)


def _never(document: Document[Floor], path: Path, one: FloorNever) -> PlainRule:
    def read(field: str, how: Callable[[object], T]) -> T | None:
        given = getattr(one, field)
        try:
            return None if given is None else how(given)
        except ValueError as error:
            raise document.error((*path, field), str(error)) from None

    table: int | None = one.table
    named, addresses = read("addr", spans.address_spans) or (None, None)
    if named is not None and table not in {None, named}:
        reason = f"addresses of table {named} in a rule for table {shown(table)}"
        raise document.error((*path, "addr"), reason)
    links = [one.to] if isinstance(one.to, str) else one.to
    return PlainRule(
        do="deny",
        links=None if links is None else frozenset(links),
        units=read("unit", lambda told: spans.number_spans(told, spans.UNIT_MAX)),  # type: ignore[arg-type]  # as the record has it
        functions=read("fc", spans.functions),  # type: ignore[arg-type]  # as the record has it
        table=table if named is None else named,
        addresses=addresses,
        name=one.name,
    )


def firewall_floor(compiled: Compiled, document: Document[Floor]) -> Iterator[Broken]:
    """Yield every point where a policy's firewall is weaker than the floor."""
    never = read_never(document)
    floor, told = document.model.modbus, compiled.document.model.modbus
    if floor is None:
        return
    if told is None:
        if floor.required:
            reason = "the floor demands a firewall, the policy has no modbus section"
            yield Broken("modbus.required", "", reason)
        return
    if floor.mode is not None and _STRICT[told.mode] < _STRICT[floor.mode]:
        reason = f"the floor demands mode {floor.mode}, the policy has {told.mode}"
        yield Broken("modbus.mode", "", reason)
    for field in ("default", "on_failure"):
        need, have = getattr(floor, field), getattr(told, field)
        if need not in {None, have}:
            reason = f"the floor demands {field} {need}, the policy has {have}"
            yield Broken(f"modbus.{field}", "", reason)
    for one in never:
        yield from _let_through(compiled, told, one)


def _let_through(
    compiled: Compiled, told: Firewall, never: PlainRule
) -> Iterator[Broken]:
    if told.mode == "dry-run":
        yield Broken(never.name, "", "mode dry-run lets it through")
        return
    rules = plain_rules(told)
    if told.default == "monitor":
        rules = (*rules, monitor_rule())
    for number, rule in enumerate(rules):
        if rule.do != "allow":
            continue
        denies = [one for one in rules[:number] if one.do == "deny"]
        read_only = told.mode == "read-only"
        for one in placed(compiled, rule):
            part = _part(replace(one, item=None), never, read_only=read_only)
            if part is None or any(refuses_all(deny, part) for deny in denies):
                continue
            yield Broken(never.name, rule.name, "lets through what the floor forbids")
            break


def _part(rule: PlainRule, never: PlainRule, *, read_only: bool) -> PlainRule | None:
    """Return what an allow and a ``never`` both mean, or more; None: nothing."""
    if never.functions is None:
        codes = frozenset() if read_only else rule.writing
    else:
        codes = rule.codes & never.functions
        if READ_HOLDING in never.functions:  # 23 reads like 3
            codes |= rule.codes & {READ_WRITE}
        codes -= ALWAYS if read_only else frozenset()
    if never.links is None or rule.links is None:
        links = rule.links if never.links is None else never.links
    else:
        links = never.links & rule.links
    wanted = replace(never, functions=codes, units=never.units or ALL_UNITS)
    if not codes or links == frozenset() or not may_meet(rule, wanted):
        return None
    return replace(
        rule,
        functions=codes,
        links=links,
        units=rule.units if never.units is None else never.units,
        table=rule.table if never.table is None else never.table,
        addresses=rule.addresses if never.addresses is None else never.addresses,
    )
