"""`sluicegate modbus check`: what a policy's firewall says of a capture."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
import numpy as np

from agent.commands.modbus_source import Source, links_named
from agent.commands.printing import print_table, to_stdout
from agent.errors import BadInput
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.files import link_names, load_text, policy_text
from policies.firewall.tables import Mode
from policies.parse import parse_policy
from protocols.modbus.exchanges import UNLISTED, Problem, Reason, Verdict
from protocols.modbus.functions import NO_TABLE, function_name
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.commands.modbus_where import Where
    from policies.compile import Compiled
    from policies.firewall.tables import CompiledFirewall
    from protocols.modbus.exchanges import ExchangeBatch

ROWS_MAX: Final = 10_000  # different lines; what comes beyond is counted together
EXIT_FOUND: Final = 1
VERDICTS: Final = ("refused", "told", "allowed")
LINES_MAX: Final = 8  # that differ in unit or function only; more are one, but in JSON
_COLOURS: Final = {"refused": 31, "told": 33, "allowed": 32}


class Key(msgspec.Struct, frozen=True):
    """What is counted in one line."""

    verdict: str  # refused, told (passes, but for a reason), allowed
    client: str
    device: str
    unit: int
    function: int
    rule: str  # "" none
    reason: str  # "" none


@dataclass(slots=True)
class Line:
    """How often, and which addresses (0-based) that touched."""

    count: int = 0
    first: int | None = None
    last: int | None = None
    first_ns: int = 0


_Shown: TypeAlias = tuple[Key, Line, set[int], set[int]]  # ... units, functions


@dataclass(slots=True)
class Verdicts:
    """All lines of a capture."""

    mode: str
    counts: dict[str, int] = field(default_factory=dict)  # by verdict
    lines: dict[Key, Line] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=dict)  # by rule
    unlisted: dict[str, int] = field(default_factory=dict)  # devices in no link
    beyond: int = 0  # exchanges whose line came beyond ROWS_MAX


def check(
    where: Where,
    policy: str,
    bindings: tuple[str, ...],
    *,
    expect: str,
    as_json: bool,
) -> int:
    """Print the verdicts; 1 where ``expect`` is clean and something is refused."""
    if expect not in {"", "clean"}:
        raise BadInput("", "--expect", "knows `clean` only")
    compiled, firewall, source = _loaded(where, policy, bindings)
    found = Verdicts(Mode(firewall.mode).name.lower().replace("_", "-"))
    judge = Judge(firewall, Memory())
    for exchanges in source.batches():
        judged = judge.judge_batch(exchanges, source.peers.names, clock_ok=True)
        _count(found, judged, source, firewall)
    with to_stdout():
        if as_json:
            _print_json(found, source)
        else:
            _print(found, where, compiled, source)
    return EXIT_FOUND if expect and found.counts.get("refused") else 0


def _loaded(
    where: Where, policy: str, bindings: tuple[str, ...]
) -> tuple[Compiled, CompiledFirewall, Source]:
    """Compile against the devices of options, policy and bindings together."""
    file, text = policy_text(policy)
    document = parse_policy(text, file)
    source = Source(where, [*links_named(document.model), *link_names(bindings)])
    folder = Path(file).parent if Path(file).is_file() else None
    loaded = load_text(
        text, file, bindings, links=source.links, catalogue_folder=folder
    )
    if loaded.errors:
        raise BadInput("", "", str(loaded.errors[0]))
    firewall = loaded.compiled.policy.firewall
    if firewall is None:
        hint = "`sluicegate modbus learn` drafts one"
        raise BadInput(file, "modbus", "the policy has no such section", hint)
    return loaded.compiled, firewall, source


def _count(
    found: Verdicts, judged: ExchangeBatch, source: Source, firewall: CompiledFirewall
) -> None:
    asked = (judged.problems & int(Problem.UNSOLICITED)) == 0
    rows = np.flatnonzero(asked)
    alone = len(judged) - len(rows)
    if alone:
        found.counts["replies to nothing"] = (
            found.counts.get("replies to nothing", 0) + alone
        )
    for group in _groups(judged, rows):
        key = _key(judged, int(group[0]), source, firewall)
        found.counts[key.verdict] = found.counts.get(key.verdict, 0) + len(group)
        line = found.lines.get(key)
        if line is None:
            if len(found.lines) >= ROWS_MAX:
                found.beyond += len(group)
                continue
            first_ns = int(judged.time_ns[group].min())
            line = found.lines[key] = Line(first_ns=first_ns)
        _widen(line, judged, group)
    for rule, count in _tally(judged.alert[judged.alert >= 0]):
        name = firewall.rules[rule].name
        found.alerts[name] = found.alerts.get(name, 0) + count
    strange = judged.server[asked & (judged.link == UNLISTED)]
    for server, count in _tally(strange):
        address = source.devices.addresses[server]
        found.unlisted[address] = found.unlisted.get(address, 0) + count


def _tally(column: np.ndarray) -> Iterator[tuple[int, int]]:
    numbers, counts = np.unique(column, return_counts=True)
    yield from zip(numbers.tolist(), counts.tolist(), strict=True)


def _groups(judged: ExchangeBatch, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of each line, in the order of the file."""
    if not len(rows):
        return
    names = ("client", "server", "unit", "function", "verdict", "rule", "reason")
    key = np.stack([getattr(judged, name)[rows].astype(np.int32) for name in names], 1)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order])) + 1
    yield from np.split(rows[order], edges)


def _key(
    judged: ExchangeBatch, row: int, source: Source, firewall: CompiledFirewall
) -> Key:
    reason = Reason(int(judged.reason[row]))
    refused = int(judged.verdict[row]) == Verdict.REFUSED
    passed = "allowed" if reason == Reason.NONE else "told"
    rule = int(judged.rule[row])
    server = int(judged.server[row])
    return Key(
        verdict="refused" if refused else passed,
        client=source.peers.name(int(judged.client[row])),
        device=source.devices.names.get(server, "others"),
        unit=int(judged.unit[row]),
        function=int(judged.function[row]),
        rule=firewall.rules[rule].name if rule >= 0 else "",
        reason="" if reason == Reason.NONE else reason.name.lower().replace("_", " "),
    )


def _widen(line: Line, judged: ExchangeBatch, group: np.ndarray) -> None:
    line.count += len(group)
    placed = group[(judged.table[group] != NO_TABLE) & ~judged.malformed[group]]
    spans = []
    for first, count in (("address", "count"), ("write_address", "write_count")):
        rows = placed[getattr(judged, count)[placed] > 0]
        begin = getattr(judged, first)[rows].astype(np.int64)
        if len(rows):
            last = begin + getattr(judged, count)[rows] - 1
            spans.append((int(begin.min()), int(last.max())))
    if line.first is not None and line.last is not None:
        spans.append((line.first, line.last))
    if spans:
        line.first = min(first for first, _ in spans)
        line.last = max(last for _, last in spans)


# --- Showing --------------------------------------------------------------------------


def _sorted(found: Verdicts) -> list[tuple[Key, Line]]:
    """Return what is refused first, then the most frequent."""
    return sorted(
        found.lines.items(),
        key=lambda one: (VERDICTS.index(one[0].verdict), -one[1].count),
    )


def _print_json(found: Verdicts, source: Source) -> None:
    told = {
        "mode": found.mode,
        "counts": found.counts,
        "lines": [
            {**msgspec.structs.asdict(key), **dataclasses.asdict(line)}
            for key, line in _sorted(found)
        ],
        "alerts": found.alerts,
        "unlisted": found.unlisted,
        "beyond": found.beyond,
        "not_read": source.skipped,
    }
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


def _print(found: Verdicts, where: Where, compiled: Compiled, source: Source) -> None:
    policy = compiled.policy
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    sys.stdout.write(
        f"{printable(where.title)} by {policy.name} {policy.version} ({found.mode}): "
        f"{counts or 'no Modbus'}\n"
    )
    rows = [
        (
            key.verdict, f"{line.count:,}", printable(key.client), key.device,
            units, functions,
            _span(line), key.rule or "-", _why(key, line),
        )
        for key, line, units, functions in _merged(found)
    ]  # fmt: skip
    if rows:
        head = ("verdict", "requests", "client", "device", "unit", "function",
                "addresses", "rule", "why")  # fmt: skip
        print_table(head, rows, _COLOURS)
    for name, count in found.alerts.items():
        sys.stdout.write(f"alert {name}: {count:,} requests\n")
    for address, count in found.unlisted.items():
        hint = f"--link NAME={address}"
        sys.stdout.write(
            f"no link: {printable(address)}, {count:,} requests ({hint})\n"
        )
    if found.beyond:
        sys.stdout.write(
            f"and {found.beyond:,} requests in lines beyond {ROWS_MAX:,}\n"
        )
    if source.skipped:
        told = ", ".join(f"{n:,} {cause}" for cause, n in source.skipped.items())
        sys.stdout.write(f"not read: {told}\n")


def _merged(found: Verdicts) -> list[tuple[Key, Line, str, str]]:
    """Return (key, line, units, functions): scans of either are one line each."""
    rows = [(key, line, {key.unit}, {key.function}) for key, line in _sorted(found)]
    for wide in ({"unit": -1}, {"function": -1}):
        alike: dict[Key, list[_Shown]] = {}
        for row in rows:
            alike.setdefault(msgspec.structs.replace(row[0], **wide), []).append(row)
        rows = []
        for same in alike.values():
            rows += same if len(same) <= LINES_MAX else [_joined(same)]
    rows.sort(key=lambda row: (VERDICTS.index(row[0].verdict), -row[1].count))
    return [
        (key, line, _several(units), _named(codes)) for key, line, units, codes in rows
    ]


def _joined(same: list[_Shown]) -> _Shown:
    lines = [line for _, line, _, _ in same]
    firsts = [line.first for line in lines if line.first is not None]
    lasts = [line.last for line in lines if line.last is not None]
    whole = Line(
        sum(line.count for line in lines), min(firsts, default=None),
        max(lasts, default=None), min(line.first_ns for line in lines),
    )  # fmt: skip
    units = set().union(*(units for _, _, units, _ in same))
    codes = set().union(*(codes for _, _, _, codes in same))
    return same[0][0], whole, units, codes


def _several(numbers: set[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{len(numbers)} of {least}-{most}"


def _named(codes: set[int]) -> str:
    if len(codes) > 1:
        return f"{_several(codes)} functions"
    (code,) = codes
    return f"{code} {function_name(code)}"


def _span(line: Line) -> str:
    if line.first is None:
        return "-"
    return str(line.first) if line.first == line.last else f"{line.first}-{line.last}"


def _why(key: Key, line: Line) -> str:
    if not key.reason:
        return ""
    at = datetime.fromtimestamp(line.first_ns / 1e9, UTC)
    return f"{key.reason}, first at {at.isoformat(' ', 'seconds')}"
