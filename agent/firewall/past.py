"""Where what came before decides: limited changes, and items with a scale factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.functions import NO_TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.firewall.tables import FirewallRule, Spans
    from protocols.frames import I64, Bool
    from protocols.modbus.pdu import Request

ADDRESS_MAX: Final = 65_535
LINKS, UNITS = UNLISTED + 1, 256
ANY_TABLE: Final = -1
KNOWN_MAX: Final = 16_384  # requests remembered; then all are looked up again


class _Columns(NamedTuple):
    """S spans of addresses."""

    links: Bool  # [LINKS, S]
    units: Bool  # [UNITS, S]
    table: I64  # [S]
    first: I64  # [S]
    last: I64  # [S]


class Past:
    """Registers that rules compare with."""

    def __init__(self, rules: Sequence[FirewallRule]) -> None:
        """Find them in the rules."""
        found = [(rule, _spans(rule)) for rule in rules]
        self._columns = _columns(found)
        # What a judge keeps current: for the next one, which may compare elsewhere.
        self.places: frozenset[object] = frozenset(
            (rule.links, rule.units, rule.table, span)
            for rule, spans in found
            for span in spans
        )
        self.counts = len(self._columns.first) > 0  # whether anything is compared
        self.is_scaled = any(_is_scaled(rule) for rule in rules)
        self._known: dict[tuple[int, ...], bool] = {}

    def meets(self, link: int, unit: int, request: Request) -> bool:
        """Tell whether a request reads or writes what a rule compares with."""
        if not self.counts or request.table == NO_TABLE:
            return False
        key = (
            min(link, UNLISTED), unit, request.table, request.address, request.count,
            request.write_address, request.write_count,
        )  # fmt: skip
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[key] = self._meets(*key)
        return known

    def _meets(
        self, link: int, unit: int, table: int, at: int, count: int, put: int, size: int
    ) -> bool:
        one = self._columns
        near = (one.first < at + count) & (one.last >= at)
        near |= (one.first < put + size) & (one.last >= put)
        near &= one.links[link]
        if unit or not size:  # a write to unit 0 is one to all units
            near &= one.units[unit]
        near &= (one.table == table) | (one.table == ANY_TABLE)
        return bool(near.any())


def _is_scaled(rule: FirewallRule) -> bool:
    return rule.point is not None and rule.point.scale_factor is not None


def _spans(rule: FirewallRule) -> Spans:
    spans = rule.addresses or ((0, ADDRESS_MAX),)
    if rule.point is not None and rule.point.scale_factor is not None:
        return (*spans, (rule.point.scale_factor, rule.point.scale_factor))
    return () if rule.max_delta is None else spans


def _columns(found: Sequence[tuple[FirewallRule, Spans]]) -> _Columns:
    flat = [(rule, span) for rule, spans in found for span in spans]
    links = np.zeros((LINKS, len(flat)), np.bool_)
    units = np.zeros((UNITS, len(flat)), np.bool_)
    for number, (rule, _) in enumerate(flat):
        links[slice(None) if rule.links is None else [*rule.links], number] = True
        for first, last in ((0, UNITS - 1),) if rule.units is None else rule.units:
            units[first : last + 1, number] = True
    tables = [ANY_TABLE if rule.table is None else rule.table for rule, _ in flat]
    ends = np.array([span for _, span in flat], np.int64).reshape(-1, 2)
    return _Columns(links, units, np.array(tables, np.int64), ends[:, 0], ends[:, 1])
