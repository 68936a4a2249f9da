"""`sluicegate modbus map`: the devices of a plant, as a capture shows them."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from agent.commands.modbus_source import Source
from agent.commands.printing import print_table, to_stdout
from protocols.modbus.exchanges import NO_SUB
from protocols.modbus.functions import (
    ENCAPSULATED,
    EXCEPTIONS,
    NO_TABLE,
    READ_WRITE,
    function_name,
)
from protocols.modbus.inventory import OBJECT_NAMES, Inventory
from protocols.modbus.register_map import hints
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.commands.modbus_where import Where
    from protocols.modbus.inventory import Ask, Block, UnitSeen

TABLES: Final = {0: "coils", 1: "discrete inputs", 3: "input registers",
                 4: "holding registers"}  # fmt: skip
_NS: Final = 1_000_000_000
# What is more is one line, but in JSON: addresses of one function and unit; lines of
# one client and device.
KINDS_MAX: Final = 12
LINES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class TableSeen:
    """Neighbouring registers, or coils, that were read or written. 0-based."""

    table: int
    first: int
    last: int
    reads: int
    writes: int
    perhaps: dict[int, str]  # address: what may begin there
    low: int | None = None  # with --values
    high: int | None = None


@dataclass(frozen=True, slots=True)
class UnitShown:
    """One unit of a device."""

    unit: int
    requests: int
    answered: int
    malformed: int
    functions: dict[str, int]
    exceptions: dict[str, int]
    problems: dict[str, int]
    identification: dict[str, str]
    tables: list[TableSeen]


@dataclass(frozen=True, slots=True)
class DeviceShown:
    """What answers at one address."""

    address: str
    link: str
    units: list[UnitShown]


@dataclass(frozen=True, slots=True)
class RequestShown:
    """One request as it is repeated. Addresses are 0-based."""

    client: str
    device: str  # as its link is named
    unit: int
    function: int
    name: str
    sub: int | None
    address: int | None
    count: int | None
    write_address: int | None
    write_count: int
    is_write: bool
    requests: int
    answered: int
    exceptions: int
    period_s: float | None


@dataclass(frozen=True, slots=True)
class Map:
    """All of it."""

    source: str
    exchanges: int
    seconds: float
    devices: list[DeviceShown]
    requests: list[RequestShown]
    not_read: dict[str, int]
    left_out: dict[str, int]


def collected(source: Source) -> Inventory:
    """Return the inventory of everything that a source has."""
    inventory = Inventory()
    for exchanges in source.batches():
        inventory.add(exchanges)
    return inventory


def show_map(where: Where, *, values: bool, as_json: bool) -> int:
    """Print who asks which device for what; 0."""
    source = Source(where)
    inventory = collected(source)
    shown = mapped(where.title, source, inventory, values=values)
    with to_stdout():
        if as_json:
            sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
        else:
            _print(shown, values=values)
    return 0


def mapped(title: str, source: Source, inventory: Inventory, *, values: bool) -> Map:
    """Return the map of an inventory."""
    devices = source.devices
    found: dict[int, DeviceShown] = {}
    tables = _tables(inventory, values=values)
    for (server, unit), seen in sorted(inventory.units.items()):
        device = found.setdefault(
            server,
            DeviceShown(devices.addresses[server], devices.names.get(server, ""), []),
        )
        device.units.append(_unit(seen, tables.get((server, unit), [])))
    left = {
        "requests beyond the bound of kinds": inventory.asks_left_out,
        "exchanges beyond the bound of units": inventory.units_left_out,
        "registers beyond the bound": inventory.registers_left_out,
    }
    asks = sorted(inventory.asks.values(), key=lambda ask: dataclasses.astuple(ask.key))
    return Map(
        source=title,
        exchanges=inventory.rows,
        seconds=(inventory.last_ns - inventory.first_ns) / _NS,
        devices=sorted(found.values(), key=lambda one: (one.link, one.address)),
        requests=[_request(source, ask) for ask in asks],
        not_read=dict(sorted(source.skipped.items())),
        left_out={cause: count for cause, count in left.items() if count},
    )


def _tables(
    inventory: Inventory, *, values: bool
) -> dict[tuple[int, int], list[TableSeen]]:
    told = inventory.registers
    guesses = {int(told.key[row]): guess for row, guess in hints(told).items()}
    out: dict[tuple[int, int], list[TableSeen]] = {}
    for block in inventory.blocks():
        place = (block.server, block.unit)
        out.setdefault(place, []).append(_table(block, guesses, values=values))
    return out


def _table(block: Block, guesses: dict[int, str], *, values: bool) -> TableSeen:
    base = block.server << 32 | block.unit << 24 | block.table << 16
    perhaps = {
        address: guesses[base + address]
        for address in range(block.first, block.last + 1)
        if base + address in guesses
    }
    low, high = (block.low, block.high) if values else (None, None)
    return TableSeen(
        block.table, block.first, block.last, block.reads, block.writes, perhaps,
        low, high,
    )  # fmt: skip


def _unit(seen: UnitSeen, tables: list[TableSeen]) -> UnitShown:
    return UnitShown(
        unit=seen.unit,
        requests=seen.requests,
        answered=seen.answered,
        malformed=seen.malformed,
        functions={function_name(f): n for f, n in sorted(seen.functions.items())},
        exceptions={
            EXCEPTIONS.get(code, f"exception-{code}"): count
            for code, count in sorted(seen.exceptions.items())
        },
        problems=dict(sorted(seen.problems.items())),
        identification={
            OBJECT_NAMES.get(number, f"object {number}"): printable(
                text.decode("utf-8", "backslashreplace")
            )
            for number, text in sorted(seen.texts.items())
        },
        tables=tables,
    )


def _request(source: Source, ask: Ask) -> RequestShown:
    key = ask.key
    has_place = ask.table != NO_TABLE
    return RequestShown(
        client=source.peers.name(key.client),
        device=source.devices.names.get(key.server, "others"),
        unit=key.unit,
        function=key.function,
        name=function_name(key.function),
        sub=None if key.sub == NO_SUB else key.sub,
        address=key.address if has_place else None,
        count=key.count if has_place else None,
        write_address=key.write_address if key.write_count else None,
        write_count=key.write_count,
        is_write=ask.is_write,
        requests=ask.requests,
        answered=ask.answered,
        exceptions=ask.exceptions,
        period_s=ask.period_ns / _NS if ask.period_ns else None,
    )


# --- For people -----------------------------------------------------------------------


def _print(shown: Map, *, values: bool) -> None:
    clients = {one.client for one in shown.requests}
    sys.stdout.write(
        f"{printable(shown.source)}: {shown.exchanges:,} exchanges in "
        f"{shown.seconds:.1f} s, {len(shown.devices)} devices, {len(clients)} clients\n"
    )
    for device in shown.devices:
        sys.stdout.write(f"\n{printable(device.address)}  {device.link}\n")
        for unit in device.units:
            _print_unit(unit, values=values)
    _print_requests(shown)
    for title, causes in (("not read", shown.not_read), ("left out", shown.left_out)):
        if causes:
            told = ", ".join(f"{count:,} {cause}" for cause, count in causes.items())
            sys.stdout.write(f"\n{title}: {told}\n")


def _print_unit(unit: UnitShown, *, values: bool) -> None:
    rows = [("  unit", str(unit.unit), _counted(unit))]
    rows += [("", name, text) for name, text in unit.identification.items()]
    rows += [
        ("", TABLES[seen.table], _table_line(seen, values=values))
        for seen in unit.tables
    ]
    print_table((), rows)


def _counted(unit: UnitShown) -> str:
    parts = [f"{unit.requests:,} requests, {unit.answered:,} answered"]
    if unit.malformed:
        parts.append(f"{unit.malformed:,} malformed")
    parts += [f"{count:,} x {name}" for name, count in unit.exceptions.items()]
    parts += [f"{count:,} x {name}" for name, count in unit.problems.items()]
    return ", ".join(parts)


def _table_line(seen: TableSeen, *, values: bool) -> str:
    span = str(seen.first) if seen.first == seen.last else f"{seen.first}-{seen.last}"
    parts = [f"{span}: read {seen.reads:,} x"]
    if seen.writes:
        parts.append(f"written {seen.writes:,} x")
    if values:
        parts.append(f"values {seen.low} to {seen.high}")
    by_kind: dict[str, list[str]] = {}
    for address, kind in seen.perhaps.items():
        by_kind.setdefault(kind, []).append(str(address))
    parts += [f"perhaps {kind} at {' '.join(at)}" for kind, at in by_kind.items()]
    return ", ".join(parts)


def _print_requests(shown: Map) -> None:
    rows = []
    for same in _alike(shown.requests):
        one, kinds = same[0], len(same)
        units = {each.unit for each in same}
        what = {_what(each) for each in same}
        rows.append(
            (
                printable(one.client), one.device,
                str(one.unit) if len(units) == 1 else f"{len(units)} units",
                _what(one) if len(what) == 1 else f"{len(what)} functions",
                span_of(one) if kinds == 1 else f"{_bounds(same)} ({kinds:,} kinds)",
                f"{sum(each.requests for each in same):,}",
                _period(one.period_s if kinds == 1 else None),
                _rest(same),
            )
        )  # fmt: skip
    if rows:
        sys.stdout.write("\n")
        head = ("client", "device", "unit", "function", "addresses", "requests",
                "every", "")  # fmt: skip
        print_table(head, rows)


def _alike(requests: list[RequestShown]) -> Iterator[list[RequestShown]]:
    """Yield requests one by one; the many kinds of a scan come together."""
    for _, pair in groupby(requests, lambda one: (one.client, one.device)):
        lines: list[list[RequestShown]] = []
        for _, group in groupby(pair, lambda one: (one.unit, one.function)):
            same = list(group)
            lines += [same] if len(same) > KINDS_MAX else [[one] for one in same]
        if len(lines) > LINES_MAX:
            yield [one for line in lines for one in line]
        else:
            yield from lines


def _bounds(same: list[RequestShown]) -> str:
    """Return the least and the greatest address of many requests."""
    spans = [
        (first, first + max(count or 1, 1))
        for one in same
        for first, count in (
            (one.address, one.count), (one.write_address, one.write_count)
        )
        if first is not None
    ]  # fmt: skip
    if not spans:
        return "-"
    first, end = min(first for first, _ in spans), max(end for _, end in spans)
    return _span(first, end - first)


def _what(one: RequestShown) -> str:
    sub = "" if one.sub is None else f"/{one.sub}"
    if one.sub is not None and one.function == ENCAPSULATED:
        sub = f"/{one.sub >> 8}/{one.sub & 0xFF}"
    return f"{one.function}{sub} {one.name}"


def span_of(one: RequestShown) -> str:
    """Return the addresses of a request: read, then written."""
    parts = []
    if one.address is not None and not (one.write_count and one.function != READ_WRITE):
        parts.append(_span(one.address, one.count or 1))
    if one.write_address is not None:
        parts.append(f"writes {_span(one.write_address, one.write_count)}")
    return ", ".join(parts) or "-"


def _span(first: int, count: int) -> str:
    return str(first) if count <= 1 else f"{first}-{first + count - 1}"


def _period(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{seconds * 1000:.0f} ms"


def _rest(same: list[RequestShown]) -> str:
    parts = []
    exceptions = sum(one.exceptions for one in same)
    if exceptions:
        parts.append(f"{exceptions:,} exceptions")
    asked = sum(one.requests - one.answered for one in same)
    if asked > exceptions:
        parts.append(f"{asked - exceptions:,} not answered well")
    return ", ".join(parts)
