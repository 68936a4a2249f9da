"""From the ``modbus:`` section to ``tables.py``: names become numbers, once.

Links and items that this gateway does not have leave a rule that never matches: one
policy serves many gateways. ``lint`` tells of them.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING

from policies.errors import nearest, shown
from policies.firewall import spans
from policies.firewall.tables import (
    ClientGroup,
    CompiledFirewall,
    Default,
    Do,
    FirewallRule,
    Mode,
)
from policies.model_firewall import ClientFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from policies.firewall.tables import Spans
    from policies.model import Policy
    from policies.model_firewall import Firewall, FirewallRuleFile, NumberSpans
    from policies.parse import Document
    from policies.yaml_tree import Path
    from protocols.modbus.values import Point

    T = TypeVar("T")

_DEFAULT = {"deny": Default.DENY, "monitor": Default.MONITOR}
_MODE = {
    "enforce": Mode.ENFORCE,
    "dry-run": Mode.DRY_RUN,
    "read-only": Mode.READ_ONLY,
}
_DO = {"allow": Do.ALLOW, "deny": Do.DENY, "alert": Do.ALERT}


def compile_firewall(
    document: Document[Policy],
    names: Sequence[str],
    points: Sequence[Point],
    links: Sequence[str],
) -> CompiledFirewall | None:
    """Return the firewall of a policy, None where it has no ``modbus:`` section.

    ``names``: of items, ``points``: of the bindings, ``links``: of this gateway.
    PolicyError for the first thing that does not fit.
    """
    told = document.model.modbus
    if told is None:
        return None
    reader = _Reader(document, told, names, points, links)
    rules = reader.rules()  # first: an address in ``from`` becomes a client
    return CompiledFirewall(
        _DEFAULT[told.default],
        _MODE[told.mode],
        told.on_failure == "pass-reads",
        told.answer == "drop",
        reader.clients,
        rules,
    )


def addresses_of(told: str | list[str] | ClientFile) -> tuple[tuple[str, ...], str]:
    """Return (addresses, role) of a client as the file has it."""
    role = told.role if isinstance(told, ClientFile) else ""
    given = told.addresses if isinstance(told, ClientFile) else told
    return ((given,) if isinstance(given, str) else tuple(given)), role


def network(text: str) -> str:
    """Return the network of an address or CIDR, normalised; ValueError else."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(
            f"no address and no network: {shown(text)} (such as 10.0.0.7, 10.1.0.0/16)"
        ) from None


class _Reader:
    """Reads one section; what is asked twice (clients by address) is kept."""

    def __init__(
        self,
        document: Document[Policy],
        told: Firewall,
        names: Sequence[str],
        points: Sequence[Point],
        links: Sequence[str],
    ) -> None:
        self._document = document
        self._told = told
        self._links = {name: number for number, name in enumerate(links)}
        self._items: dict[str, list[Point]] = {}
        for point in points:
            self._items.setdefault(names[point.item], []).append(point)
        self._clients: list[ClientGroup] = []
        self._numbers: dict[str, int] = {}
        for name, client in told.clients.items():
            self._client(name, client)

    @property
    def clients(self) -> tuple[ClientGroup, ...]:
        return tuple(self._clients)

    def rules(self) -> tuple[FirewallRule, ...]:
        """Return all rules, and note the addresses in ``from`` as clients."""
        seen: dict[str, int] = {}
        out: list[FirewallRule] = []
        for number, rule in enumerate(self._told.rules):
            path: Path = ("modbus", "rules", number)
            if rule.name in seen:
                line = self._document.tree.line(
                    ("modbus", "rules", seen[rule.name], "name")
                )
                reason = "another rule has this name"
                raise self._document.error((*path, "name"), reason, f"line {line}")
            seen[rule.name] = number
            out += self._rule(rule, path)
        return tuple(out)

    def _client(self, name: str, told: str | list[str] | ClientFile) -> None:
        path: Path = ("modbus", "clients", name)
        given, role = addresses_of(told)
        if not given and not role:
            reason = "names no address and no role"
            raise self._document.error(path, reason, "addresses: [10.0.0.7]")
        networks = tuple(self._read(path, network, one) for one in given)
        self._numbers[name] = len(self._clients)
        self._clients.append(ClientGroup(name, networks, role))

    def _from(self, rule: FirewallRuleFile, path: Path) -> frozenset[int] | None:
        if rule.from_ is None:
            return None
        out = set()
        for name in [rule.from_] if isinstance(rule.from_, str) else rule.from_:
            if name not in self._numbers:
                try:
                    plain = network(name)
                except ValueError:
                    reason = f"no such client, and no address: {shown(name)}"
                    hint = nearest(name, self._told.clients) or "see modbus.clients"
                    raise self._document.error((*path, "from"), reason, hint) from None
                self._numbers[name] = len(self._clients)
                self._clients.append(ClientGroup(plain, (plain,)))
            out.add(self._numbers[name])
        return frozenset(out)

    def _rule(self, rule: FirewallRuleFile, path: Path) -> list[FirewallRule]:
        """Return one rule, or one for each point where an item is bound often."""
        self._limits_only_on_allow(rule, path)
        table: int | None = rule.table
        addresses = None
        if rule.addr is not None:
            named, addresses = self._read(
                (*path, "addr"), spans.address_spans, rule.addr
            )
            if named is not None and table not in {None, named}:
                reason = f"addresses of table {named} in a rule for table {table}"
                raise self._document.error((*path, "addr"), reason)
            table = named if named is not None else table
        units = self._numbers_of(rule.unit, spans.UNIT_MAX, (*path, "unit"))
        plain = FirewallRule(
            name=rule.name,
            do=_DO[rule.do],
            clients=self._from(rule, path),
            links=self._to(rule),
            units=units,
            functions=None
            if rule.fc is None
            else self._read((*path, "fc"), spans.functions, rule.fc),
            subs=self._numbers_of(rule.sub, spans.SUB_MAX, (*path, "sub")),
            table=table,
            addresses=addresses,
            value=None
            if rule.value is None
            else self._read((*path, "value"), spans.value_range, rule.value),
            max_delta=rule.max_delta,
            rate=None
            if rule.rate is None
            else self._read((*path, "rate"), spans.rate, rule.rate),
            hours=None
            if rule.when is None
            else self._read((*path, "when"), spans.hours, rule.when),
            note=rule.note,
        )
        return [plain] if rule.item is None else self._bound(rule, plain, path)

    def _limits_only_on_allow(self, rule: FirewallRuleFile, path: Path) -> None:
        limits = ["value", "max_delta", "rate"]
        limits += ["when"] if rule.do == "alert" else []  # it holds at all times
        for field in limits:
            if rule.do != "allow" and getattr(rule, field) is not None:
                reason = f"a rule that does {rule.do} has no limits"
                raise self._document.error((*path, field), reason, "do: allow")

    def _bound(
        self, rule: FirewallRuleFile, plain: FirewallRule, path: Path
    ) -> list[FirewallRule]:
        """Return the rule for each point of its item; one for nothing where none."""
        for field in ("unit", "table", "addr"):
            if getattr(rule, field) is not None:
                reason = f"an item says where it lies: {field} does not go with it"
                raise self._document.error((*path, field), reason)
        out = []
        for point in self._items.get(rule.item or "", ()):
            if plain.links is not None and point.link not in plain.links:
                continue
            last = point.address + point.registers - 1
            out.append(
                _changed(
                    plain,
                    links=frozenset({point.link}),
                    units=((point.unit, point.unit),),
                    table=point.table,
                    addresses=((point.address, last),),
                    point=point,
                )
            )
        return out or [_changed(plain, links=frozenset())]

    def _to(self, rule: FirewallRuleFile) -> frozenset[int] | None:
        if rule.to is None:
            return None
        names = [rule.to] if isinstance(rule.to, str) else rule.to
        return frozenset(self._links[one] for one in names if one in self._links)

    def _numbers_of(
        self, told: NumberSpans | None, most: int, path: Path
    ) -> Spans | None:
        if told is None:
            return None
        return self._read(path, lambda one: spans.number_spans(one, most), told)

    def _read(self, path: Path, read: Callable[..., T], told: object) -> T:
        try:
            return read(told)
        except ValueError as error:
            raise self._document.error(path, str(error)) from None


def _changed(rule: FirewallRule, **fields: object) -> FirewallRule:
    return dataclasses.replace(rule, **fields)  # type: ignore[arg-type]  # fields of the rule
