"""The whole path in plain Python: frames to what leaves, one frame at a time.

cantools decodes frame by frame; ``scalar_world.decide`` classifies; ``scalar_path``
transforms a whole stream at once. Knows no batches, no columns, no envelopes; shares
with the product only the compiled tables that say what the policy means.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from agent.records import Outcome
from policies.tables import Action, Aggregate
from protocols.labels import UNCLASSIFIED
from tests.reference.scalar_path import run_rule
from tests.reference.scalar_world import Datum, World, decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from policies.tables import CompiledPolicy, CompiledRule
    from tests.protocols.can.oracle import Oracle

EXTENDED, REMOTE, ERROR = 0x80000000, 0x40000000, 0x20000000
END_NS = 10**15  # behind the last datum: far enough to close any window

# destination, label, item, source, statistic, time, text
Key: TypeAlias = "tuple[str, int, str, str, str, int, bytes]"
# destination, label, rule, action, outcome
Cell: TypeAlias = "tuple[str, int, str, str, str]"


@dataclass(frozen=True)
class Frame:
    """One frame as it was on the wire; ``ident`` with SocketCAN flag bits."""

    time_ns: int
    ident: int
    data: bytes


@dataclass(frozen=True)
class Bound:
    """One item and the signals of one message that are added up for it."""

    item: int
    ident: int
    parts: tuple[tuple[str, float], ...]


@dataclass
class Expected:
    """What must come out."""

    read: int = 0
    unbound: int = 0
    errors: int = 0
    rows: list[tuple[Key, float]] = field(default_factory=list)
    cells: Counter[Cell] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)  # rows sealed


def whole_path(
    policy: CompiledPolicy,
    frames: Sequence[Frame],
    oracle: Oracle,
    bounds: Sequence[Bound],
    vin_items: Mapping[str, int],
    events: Sequence[tuple[int, bytes]],
    event_item: int,
    master: bytes,
) -> Expected:
    """Return what leaves of a whole recording, and every count.

    ``events``: what inspection said (times and texts); its detectors have tests of
    their own, here its words are data like any other.
    """
    out = Expected()
    data: list[Datum] = []
    for frame in frames:
        data += _decoded(frame, oracle, bounds, out)
    data += [
        Datum(time_ns, vin_items[source], text=text)
        for time_ns, source, text in vins(frames)
        if source in vin_items
    ]
    data += [Datum(time_ns, event_item, text=text) for time_ns, text in events]
    data.sort(key=lambda datum: datum.time_ns)
    _count_read(policy, data, out)
    world = World(policy.items, data)
    for place in range(len(policy.destinations)):
        _destination(policy, place, world, master, out)
    return out


def _decoded(
    frame: Frame, oracle: Oracle, bounds: Sequence[Bound], out: Expected
) -> list[Datum]:
    if frame.ident & (REMOTE | ERROR):
        return []
    message = oracle.messages.get(frame.ident)
    if message is None:
        out.unbound += 1
        return []
    mine = [bound for bound in bounds if bound.ident == frame.ident]
    named = {name for bound in mine for name, _ in bound.parts}
    out.unbound += sum(
        signal.multiplexer_ids is None and signal.name not in named
        for signal in message.signals
    )
    values = oracle.decode(frame.ident, frame.data)
    out.errors += _errors(message, named, values)
    return [
        Datum(frame.time_ns, bound.item, 0, _sum(bound, values))
        for bound in mine
        if all(name in values for name, _ in bound.parts)
    ]


def _sum(bound: Bound, values: Mapping[str, float]) -> float:
    if len(bound.parts) == 1:
        ((name, factor),) = bound.parts
        assert factor == 1
        return float(values[name])
    return sum(float(values[name]) * factor for name, factor in bound.parts)


def _errors(message: Any, named: set[str], values: Mapping[str, float]) -> int:
    """Count bound signals behind the frame's end, and selectors in no branch."""
    count = 0
    unknown: set[str] = set()
    for signal in message.signals:
        if signal.name not in named or signal.name in values:
            continue
        selector = signal.multiplexer_signal
        if selector is None or selector not in values:
            count += 1  # it, or what tells whether it is there, is cut off
        elif values[selector] in signal.multiplexer_ids:
            count += 1
        else:
            branches = {
                branch
                for other in message.signals
                if other.multiplexer_signal == selector
                for branch in other.multiplexer_ids
            }
            if values[selector] not in branches:
                unknown.add(selector)
    return count + len(unknown)


def vins(frames: Sequence[Frame]) -> list[tuple[int, str, bytes]]:
    """Return (time, source, text) of VINs in ISO-TP answers on 0x7E8.

    ISO 15765-2 first and consecutive frames, SAE J1979 service 09 PID 02 and ISO 14229
    service 22: enough for an ECU that answers in order.
    """
    found: list[tuple[int, str, bytes]] = []
    payload, length = b"", 0
    for frame in frames:
        if frame.ident != 0x7E8 or not frame.data:
            continue
        if frame.data[0] >> 4 == 1:
            length = (frame.data[0] & 0xF) << 8 | frame.data[1]
            payload = frame.data[2:]
        elif frame.data[0] >> 4 == 2 and length:
            payload += frame.data[1:]
        if length and len(payload) >= length:
            told = payload[:length]
            if told[:3] == b"\x49\x02\x01":
                found.append((frame.time_ns, "obd:09.02", told[3:]))
            elif told[:3] == b"\x62\xf1\x90":
                found.append((frame.time_ns, "uds:F190", told[3:]))
            payload, length = b"", 0
    return found


def _count_read(policy: CompiledPolicy, data: Sequence[Datum], out: Expected) -> None:
    items = policy.items
    for datum in data:
        row = datum.item
        what = (items.category[row], items.source[row])
        out.cells["", int(items.label[row]), *what, "READ"] += 1
    unclassified = UNCLASSIFIED.pack()
    if out.unbound:
        out.cells["", unclassified, "", "unbound", "READ"] += out.unbound
    if out.errors:
        out.cells["", unclassified, "", "errors", "READ"] += out.errors
    out.read = len(data) + out.unbound + out.errors
    for destination in policy.destinations:
        if out.unbound:
            cell = (destination.name, unclassified, "", "", "UNCLASSIFIED")
            out.cells[cell] += out.unbound
        if out.errors:
            cell = (destination.name, unclassified, "", "", "FAILED")
            out.cells[cell] += out.errors


def _destination(
    policy: CompiledPolicy, place: int, world: World, master: bytes, out: Expected
) -> None:
    name = policy.destinations[place].name
    items = policy.items
    decided: dict[int, list[Datum]] = {}
    for datum in world.stream:
        number = decide(policy, place, datum, world)
        if number >= 0:
            decided.setdefault(number, []).append(datum)
            continue
        known = items.classified[datum.item]
        outcome = Outcome.KEPT_BACK if known else Outcome.UNCLASSIFIED
        label = int(items.label[datum.item])
        out.cells[name, label, "", "", outcome.name] += 1
    for number, data in decided.items():
        rule = policy.rules[number]
        action = rule.action.name.lower()
        if rule.action == Action.DROP:
            for datum in data:
                label = int(items.label[datum.item])
                out.cells[name, label, rule.name, action, "DROPPED"] += 1
            continue
        _rule(policy, name, rule, data, world, master, out)


def _rule(
    policy: CompiledPolicy,
    destination: str,
    rule: CompiledRule,
    data: list[Datum],
    world: World,
    master: bytes,
    out: Expected,
) -> None:
    items, action = policy.items, rule.action.name.lower()
    merges = any(isinstance(t, Aggregate) for t in rule.transforms)
    if merges:  # the end of the recording closes every window
        data = [*data, replace(data[-1], time_ns=data[-1].time_ns + END_NS, value=0.0)]
    released, ledger = run_rule(rule, world, data, master=master)
    assert ledger.held == merges  # nothing but the end mark
    for outcome, lost in (("THINNED", ledger.thinned), ("FAILED", ledger.failed)):
        for datum in lost:
            label = int(items.label[datum.item])
            out.cells[destination, label, rule.name, action, outcome] += datum.count
    keeps = rule.action == Action.KEEP
    to = policy.custodian if keeps else destination
    first = {datum.statistic for datum in released[:1]}
    for datum in released:
        label = int(rule.label_out[datum.item])
        said = (items.name[datum.item], items.source[datum.item], datum.statistic)
        text = datum.text or b""
        out.rows.append(((to, label, *said, datum.time_ns, text), datum.value))
        out.by_rule[to, rule.name] += 1
        outcome = "MERGED" if merges else "KEPT" if keeps else "SENT"
        cell = (destination, label, rule.name, action, outcome)
        if not merges:
            out.cells[cell] += 1
        elif datum.statistic in first:  # a window's samples are merged once
            out.cells[cell] += datum.count
