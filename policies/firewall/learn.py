"""A draft of `modbus:` rules and of a register map, from what was seen; pure.

Reads are learned, writes are not: what may be written is for a person to declare. The
draft is refused by our own parser until every `confirm` mark is gone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from policies.suggest.naming import camel
from protocols.modbus.exchanges import NO_SUB
from protocols.modbus.functions import FUNCTIONS, NO_TABLE, function_name
from protocols.modbus.peers import OTHERS
from protocols.modbus.register_map import hints
from protocols.modbus.values import BIT_TABLES
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from protocols.modbus.inventory import Ask, AskKey, Inventory

CONFIRM: Final = ", confirm: true"  # no field of any record: the parser refuses it
RULES_MAX: Final = 4000  # beyond: comments, and counted
POINTS_MAX: Final = 8000  # beyond: counted; a bindings file has its bounds
TABLE_NAMES: Final = {0: "Coil", 1: "Discrete", 3: "Input", 4: "Holding"}
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{2,63}")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "off"})
_OTHER: Final = re.compile(r"[^A-Za-z0-9]+")
_NAME_MAX: Final = 64
_NS: Final = 1_000_000_000
_SUNSPEC: Final = (0x5375, 0x6E53)  # "SunS", SunSpec Device Information Model 4.1
_SUNSPEC_PLACES: Final = (0, 40_000, 50_000)
_HEAD: Final = """\
# Drafted by `sluicegate modbus learn` from {source}:
# {rows} exchanges in {seconds:.0f} s. It is refused until a person has read it:
# * every client and every rule ends in a mark `confirm: true`. Where you know the
#   client, and where it may read this, take the mark away; else take the line away.
#   An address that nobody knows is an intruder, whatever it read.
# * no write is learned. Those that were seen stand below as comments: declare what may
#   be written, with its limits, or leave it refused.
# * `dry-run` judges and refuses nothing: `enforce` when nothing more is told.
schema: sluicegate/policy/1
name: learned
version: 1
catalogues: [cn-industrial]
destinations: {{}}
rules: []
modbus:
  default: deny
  mode: dry-run
"""
_MAP_HEAD: Final = """\
# Drafted by `sluicegate modbus learn` from {source}: registers that were read or
# written. Nobody told what they mean: each is an unsigned number of 16 bits until a
# person says more (docs/formats/bindings.md). "perhaps" is a guess from the values.
schema: sluicegate/bindings/1
name: learned
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a draft is made from."""

    inventory: Inventory
    names: Sequence[str]  # of ``Peers``
    links: Mapping[int, str]  # number of a server in ``Peers``: its link's name
    source: str  # as the draft's first line names it
    values: bool = False  # tell which values were written


@dataclass(slots=True)
class Draft:
    """Both files, and what they leave out."""

    policy: str = ""
    bindings: str = ""
    rules: int = 0
    points: int = 0
    clients: int = 0
    writes: int = 0  # kinds of writes, as comments
    unanswered: int = 0  # kinds of reads that no device answered well, as comments
    left_out: dict[str, int] = field(default_factory=dict)  # by cause


@dataclass(frozen=True, order=True, slots=True)
class _Group:
    """Requests that one rule is about."""

    client: int
    server: int
    unit: int
    function: int
    sub: int


def draft(seen: Seen) -> Draft:
    """Return the text of a policy and of bindings.

    Without its marks the policy loads, allows every read that was answered well, and no
    write. Links have their names from ``seen.links``.
    """
    made = Draft()
    made.policy = "".join(f"{line}\n" for line in _policy(seen, made))
    made.bindings = "".join(f"{line}\n" for line in _bindings(seen, made))
    return made


def link_name(address: str) -> str:
    """Return a name for a device that the configuration does not name."""
    return _named("device", address)


def without_marks(text: str) -> str:
    """Return a draft as it is when a person has agreed to everything."""
    return text.replace(CONFIRM, "")


def _named(kind: str, address: str) -> str:
    plain = _OTHER.sub("-", address).strip("-")
    return f"{kind}-{plain}"[:_NAME_MAX]


def _scalar(text: str) -> str:
    """Return a name as YAML: plain where that is sure to be a text."""
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if is_plain else json.dumps(printable(text))


# --- The policy -----------------------------------------------------------------------


def _policy(seen: Seen, made: Draft) -> Iterator[str]:
    inventory = seen.inventory
    seconds = (inventory.last_ns - inventory.first_ns) / _NS
    head = _HEAD.format(
        source=printable(seen.source), rows=f"{inventory.rows:,}", seconds=seconds
    )
    yield from head.splitlines()
    learned, writes, others = _sorted(seen, made)
    clients = {
        one: _client_name(seen, one) for one in sorted({g.client for g in learned})
    }
    made.clients = len(clients)
    yield "  clients:" if clients else "  clients: {}"
    for number, name in clients.items():
        yield f"    # {_about(seen, number)}"
        address = json.dumps(printable(seen.names[number]))
        yield f"    {name}: {{addresses: {address}{CONFIRM}}}"
    yield "  rules:" if learned else "  rules: []"
    before = (-1, -1)
    for number, (group, asks) in enumerate(learned.items(), 1):
        if (group.client, group.server) != before:
            before = (group.client, group.server)
            yield f"    # {clients[group.client]} asks {seen.links[group.server]}"
        yield _rule(seen, number, clients[group.client], group, asks)
    made.rules = len(learned)
    yield from _writes(seen, writes, clients)
    yield from _others(seen, others)
    yield from _left(made)


def _sorted(
    seen: Seen, made: Draft
) -> tuple[dict[_Group, list[Ask]], list[Ask], list[Ask]]:
    """Return (reads to allow, writes, reads that were never answered well)."""
    learned: dict[_Group, list[Ask]] = {}
    writes, others = [], []
    for ask in sorted(seen.inventory.asks.values(), key=_place):
        key = ask.key
        group = _Group(key.client, key.server, key.unit, key.function, key.sub)
        if OTHERS in {key.client, key.server} or key.server not in seen.links:
            _count(made, "requests of too many addresses", ask.requests)
        elif ask.is_write:
            writes.append(ask)
        elif not ask.answered:
            others.append(ask)
        elif group not in learned and len(learned) >= RULES_MAX:
            _count(made, "requests beyond the bound of rules", ask.requests)
        else:
            learned.setdefault(group, []).append(ask)
    inventory = seen.inventory
    _count(made, "requests beyond the bound of kinds", inventory.asks_left_out)
    made.writes, made.unanswered = len(writes), len(others)
    return learned, writes, others


def _place(ask: Ask) -> tuple[int, ...]:
    key = ask.key
    return (key.client, key.server, key.unit, key.function, key.sub, key.address,
            key.count, key.write_address, key.write_count)  # fmt: skip


def _count(made: Draft, cause: str, count: int) -> None:
    if count:
        made.left_out[cause] = made.left_out.get(cause, 0) + count


def _client_name(seen: Seen, number: int) -> str:
    """Return a name that no other address has: two may differ in a mark only."""
    name = _named("host", seen.names[number])
    same = [n for n, other in enumerate(seen.names) if _named("host", other) == name]
    return name if same[0] == number else f"{name[: _NAME_MAX - 6]}-{number}"


def _about(seen: Seen, client: int) -> str:
    """Return what one client did, for the person who has to know it."""
    devices: dict[str, int] = {}
    writes = 0
    for ask in seen.inventory.asks.values():
        if ask.key.client == client:
            name = seen.links.get(ask.key.server, "others")
            devices[name] = devices.get(name, 0) + ask.requests
            writes += ask.requests if ask.is_write else 0
    told = ", ".join(f"{name} ({count:,})" for name, count in sorted(devices.items()))
    return f"asked {told}; {writes:,} writes. Who is it?"


def _rule(
    seen: Seen, number: int, client: str, group: _Group, asks: Sequence[Ask]
) -> str:
    link = _scalar(seen.links[group.server])
    fields = [
        f"name: read-{number}", f"from: {client}", f"to: {link}",
        f"unit: {group.unit}", f"fc: {group.function}",
    ]  # fmt: skip
    if group.sub != NO_SUB:
        fields.append(f"sub: {group.sub}")
    if asks[0].table != NO_TABLE:
        fields.append(f"addr: {_spans(_read_spans(asks))}")
    total = sum(ask.requests for ask in asks)
    periods = sorted({_period(ask.period_ns) for ask in asks if ask.period_ns})
    every = f", every {', '.join(periods)}" if periods else ""
    told = f"{function_name(group.function)}, {total:,} x{every}"
    return f"    - {{{', '.join(fields)}{CONFIRM}}}  # {told}"


def _read_spans(asks: Sequence[Ask]) -> list[tuple[int, int]]:
    """Return the addresses of reads, joined where they touch."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(_span(a.key.address, a.key.count) for a in asks):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        else:
            out.append((first, last))
    return out


def _span(address: int, count: int) -> tuple[int, int]:
    return address, address + max(count, 1) - 1


def _spans(spans: Sequence[tuple[int, int]]) -> str:
    """Return ranges as a policy has them; two plain numbers would be one range."""
    parts = [f"[{first}, {last}]" for first, last in spans]
    return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


def _period(ns: int) -> str:
    return f"{ns / _NS:.3g} s" if ns >= 0.9995 * _NS else f"{ns / 1e6:.0f} ms"


def _writes(
    seen: Seen, writes: Sequence[Ask], clients: Mapping[int, str]
) -> Iterator[str]:
    """Yield what was written, as comments that load only when they are filled in."""
    if not writes:
        return
    yield "    # --- writes: refused until you declare them " + "-" * 41
    for number, ask in enumerate(writes, 1):
        key = ask.key
        client = clients.get(key.client) or json.dumps(
            printable(seen.names[key.client])
        )
        fields = [
            f"name: write-{number}", f"from: {client}",
            f"to: {_scalar(seen.links[key.server])}", f"unit: {key.unit}",
            f"fc: {key.function}",
        ]  # fmt: skip
        if key.sub != NO_SUB:
            fields.append(f"sub: {key.sub}")
        if key.write_count:
            span = _span(key.write_address, key.write_count)
            fields += [f"addr: {_spans([span])}", "value: [LOW, HIGH]"]
            fields += ["max_delta: STEP", "rate: N/min"]
        told = f"{function_name(key.function)}, {ask.requests:,} x"
        if ask.exceptions:
            told += f", {ask.exceptions:,} refused by the device"
        yield f"    # {told}{_written(seen, key)}"
        yield f"    # - {{{', '.join(fields)}}}"


def _written(seen: Seen, key: AskKey) -> str:
    """Return the values that the written registers had, where that was asked for."""
    if not (seen.values and key.write_count):
        return ""
    told = seen.inventory.registers
    table = FUNCTIONS[key.function].table
    begin = key.server << 32 | key.unit << 24 | table << 16 | key.write_address
    rows = (told.key >= begin) & (told.key < begin + key.write_count)
    if table == NO_TABLE or not rows.any():
        return ""
    return f", registers held {told.low[rows].min()} to {told.high[rows].max()}"


def _others(seen: Seen, asks: Sequence[Ask]) -> Iterator[str]:
    if asks:
        yield "    # --- asked for and never answered well: not learned " + "-" * 33
    for ask in asks:
        key = ask.key
        place = ""
        if ask.table != NO_TABLE:
            place = f" {_spans([_span(key.address, key.count)])}"
        client, link = printable(seen.names[key.client]), seen.links[key.server]
        what = f"{function_name(key.function)}{place}, {ask.requests:,} x"
        yield f"    # {client} asked {link} unit {key.unit}: {what}"


def _left(made: Draft) -> Iterator[str]:
    for cause, count in made.left_out.items():
        yield f"    # LEFT OUT: {count:,} {cause}"


# --- The register map -----------------------------------------------------------------


def _bindings(seen: Seen, made: Draft) -> Iterator[str]:
    yield from _MAP_HEAD.format(source=printable(seen.source)).splitlines()
    told = seen.inventory.registers
    guesses = hints(told)
    keys = told.key.tolist()
    rows = [row for row, key in enumerate(keys) if key >> 32 in seen.links]
    made.points = min(len(rows), POINTS_MAX)
    left = len(rows) - made.points + seen.inventory.registers_left_out
    yield "modbus:" if rows else "modbus: []"
    before = (-1, -1)
    for row in rows[:POINTS_MAX]:
        server, unit, table, address = _split(keys[row])
        link = seen.links[server]
        if (server, unit) != before:
            before = (server, unit)
            yield f"  - link: {_scalar(link)}"
            yield f"    unit: {unit}"
            yield "    points:"
        kind = "coil" if table in BIT_TABLES else "u16"
        item = f"Plant.{camel(link)}.Unit{unit}.{TABLE_NAMES[table]}{address}"
        point = f"{{item: {item}, table: {table}, address: {address}, type: {kind}}}"
        marks = [f"perhaps {guesses[row]}"] if row in guesses else []
        if _is_sunspec(seen, row):
            marks.append('"SunS": a SunSpec map begins here, bind it by `sunspec:`')
        if told.writes[row]:
            marks.append("written")
        yield f"      - {point}" + (f"  # {'; '.join(marks)}" if marks else "")
    if left:
        _count(made, "registers beyond the bound of bindings", left)
        yield f"# LEFT OUT: {left:,} registers"


def _split(key: int) -> tuple[int, int, int, int]:
    return key >> 32, key >> 24 & 0xFF, key >> 16 & 0xFF, key & 0xFFFF


def _is_sunspec(seen: Seen, row: int) -> bool:
    told = seen.inventory.registers
    both = slice(row, row + 2)
    return (
        int(told.key[row]) & 0xFFFF in _SUNSPEC_PLACES
        and told.key[both].tolist() == [int(told.key[row]), int(told.key[row]) + 1]
        and tuple(told.low[both].tolist()) == _SUNSPEC
        and tuple(told.high[both].tolist()) == _SUNSPEC
    )
