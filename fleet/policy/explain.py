"""`sluicectl policy explain`: which rule decides for an item, and why no other does."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.listing import write, write_table
from fleet.policy.source import Against, bad_input, read
from policies.errors import shown
from policies.explain import Say, explain
from policies.firewall.explain import Asked
from policies.firewall.explain import explain_request as firewall_says
from policies.firewall.plain import table_of
from policies.firewall.spans import address_spans, functions
from policies.parse import CATALOGUE_BYTES_MAX, parse_floor
from policies.representative import SOURCE
from protocols.modbus.functions import NO_TABLE, READ_WRITE, function_name

if TYPE_CHECKING:
    from policies.explain import ItemWord, PlaceWord, RuleWord


def explain_item(
    item: str,
    destination: str | None,
    bus: str | None,
    policy: str,
    against: Against,
    *,
    as_json: bool,
) -> int:
    """Print what a policy says of an item at one destination, or all.

    ``bus``: of this bus or link alone. For people, equal answers are one.
    """
    unfloored = Against(against.bindings, against.databases)
    compiled = read(policy, unfloored, (item,)).compiled
    floor = None
    with bad_input():
        if against.floor is not None:
            text = read_limited(Path(against.floor), CATALOGUE_BYTES_MAX)
            floor = parse_floor(text, str(against.floor))
        try:
            words = explain(compiled, item, destination, floor)
        except ValueError as error:
            raise BadInput("", "", str(error)) from None
    words = _from(words, bus)
    if as_json:
        sys.stdout.write(msgspec.json.encode(words).decode() + "\n")
        return 0
    alike: dict[ItemWord, list[str]] = {}
    for word in words:
        alike.setdefault(replace(word, source=""), []).append(word.source)
    for number, (word, sources) in enumerate(alike.items()):
        if number:
            write()
        _print(word, [one for one in sources if one not in {"", SOURCE}])
    return 0


def _from(words: tuple[ItemWord, ...], bus: str | None) -> tuple[ItemWord, ...]:
    """Return what is said of an item of one bus; BadInput where it is not there."""
    found = tuple(word for word in words if bus in {None, word.source})
    if found:
        return found
    sources = [word.source for word in words]
    item = words[0].item
    if sources == [SOURCE]:
        reason = f"{item} is on no bus: there are no bindings"
        raise BadInput("", "", reason, "give -b, or leave out --bus")
    reason = f"{item} does not come from {shown(bus or '')}"
    raise BadInput("", "", reason, f"it comes from {', '.join(sources)}")


def _print(word: ItemWord, sources: list[str]) -> None:
    source = f" from {', '.join(sources)}" if sources else ""
    basis = f" [{'; '.join(word.basis)}]" if word.basis else ""
    kind = f"{word.category}, {word.label}{basis}" if word.category else "unclassified"
    write(f"{word.item}{source}: {kind}")
    if word.note:
        write(f"  {word.note}")
    for place in word.places:
        _print_place(place)
    for line in word.firewall:
        write(f"  Modbus rule {line}")
    for one in word.floor:
        write(f"  floor rule {one.name}: {one.demands}")
        for violation in one.violations:
            write(f"    BROKEN: {violation}")


def _print_place(place: PlaceWord) -> None:
    to = ", ".join(place.recipients) or "nobody"
    write()
    write(f"to {place.destination} ({place.region}; {to}; {place.suite}):")
    rows = [
        (f"  {number}", one.name, str(one.line), str(one.say), _what(one))
        for number, one in enumerate(place.rules, 1)
        if one.say != Say.AWAY
    ]
    write_table(("   ", "rule", "line", "says", "what"), rows)
    away = [one.name for one in place.rules if one.say == Say.AWAY]
    if away:
        write(f"  not for this destination: {', '.join(away)}")
    if place.otherwise:
        first = "whatever no rule takes" if place.deciding else "no rule decides: it"
        write(f"  {first} {place.otherwise}")


def _what(one: RuleWord) -> str:
    if one.say not in {Say.DECIDES, Say.MAY}:
        return one.reason
    when = f"{' and '.join(one.conditions)}: " if one.conditions else ""
    steps = f", {', '.join(one.transforms)}" if one.transforms else ""
    out = ""
    if one.action.startswith("leaves") or one.action.startswith("is kept"):
        out = f"; as {one.category_out}, {one.label_out}"
    purpose = f"; for {one.purpose}" if one.purpose else ""
    never = f"; {one.reason}" if one.reason else ""
    return f"{when}{one.action}{steps}{out}{purpose}{never}"


def explain_request(
    link: str,
    function: str,
    addresses: str,
    asked: tuple[str, str, int, int],
    policy: str,
    against: Against,
    *,
    as_json: bool,
) -> int:
    """Print what a policy's firewall says of a Modbus request.

    ``addresses``: ``100``, ``100-109``, ``40101``, "" for none. ``asked``: the
    master's address and role, the unit, the sub-function.
    """
    compiled = read(policy, against).compiled
    master, role, unit, sub = asked
    try:
        code = _function(function)
        first, last = _addresses(addresses, code)
        address = str(ipaddress.ip_address(master))
        found = firewall_says(
            compiled, Asked(address, role, link, unit, code, sub, first, last)
        )
    except ValueError as error:
        raise BadInput("", "", str(error)) from None
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return 0
    rows = [
        (str(number), one.name, str(one.line), str(one.says), one.reason)
        for number, one in enumerate(found.rules, 1)
    ]
    write_table(("", "rule", "line", "says", "what"), rows)
    write(
        f"{function_name(code)} to {link}, unit {unit}, of {address}: {found.verdict}"
    )
    if code == READ_WRITE:
        write("(its write half; ask for its read half as function 3)")
    return 0


def _function(text: str) -> int:
    codes = functions(int(text) if text.isdecimal() else text)
    if len(codes) > 1:
        raise ValueError(f"one function, no group: {shown(text)}")
    return next(iter(codes))


def _addresses(text: str, code: int) -> tuple[int, int]:
    """Return first and last; (0, -1) for none."""
    if not text and table_of(code) != NO_TABLE:
        raise ValueError(f"{function_name(code)} addresses something: give addresses")
    if not text:
        return 0, -1
    begin, _, end = text.partition("-")
    if not (begin.isdecimal() and (end or begin).isdecimal()):
        raise ValueError(f"not addresses: {shown(text)} (such as 100 or 100-109)")
    _, spans = address_spans([int(begin), int(end or begin)])
    return spans[0][0], spans[-1][1]
