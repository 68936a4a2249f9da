"""The table of a scan: one line for each item and each rule that decided about it.

Where the table is wider than the terminal, an item's name stands on a line of its own:
names are never cut. In a pipe every line is whole, for ``grep`` and ``awk``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from agent.commands.scan_result import KEPT_BACK
from policies.compile import DEVICE
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.commands.scan_result import Decision, ItemResult, ScanResult

EVERYWHERE: Final = "everywhere"
_GAP: Final = "  "
_INDENT: Final = "    "


class Line(NamedTuple):
    """One rule's word on one item."""

    rule: str
    action: str
    to: str
    decided: int
    rows: int


class _Row(NamedTuple):
    item: ItemResult
    line: Line
    is_first: bool


def print_result(result: ScanResult, out: TextIO, width: int | None) -> None:
    """Print one scan; ``width`` in columns, None: as wide as it takes (a pipe)."""
    head = f"{result.frames} {result.what}, {result.seconds:.1f} s"
    lines = [
        f"{printable(result.file)}: {result.format}, {head}",
        *table(result.items, width),
        *summary(result),
        "",
    ]
    out.write("\n".join(lines) + "\n")


def decisions(item: ItemResult) -> list[Line]:
    """Return one line per rule that decided, then what was kept back beside it.

    A destination where an item is only kept back gets no line, but where that is so at
    every destination: then one line says so.
    """
    if not item.classified:
        return [Line("-", "stays: unclassified", "-", item.samples, 0)]
    places = {d.destination for d in item.decisions if d.destination != DEVICE}
    ruled = {d.destination for d in item.decisions if d.rule}
    kept = {d.rule for d in item.decisions if d.action == "keep"}
    groups: dict[tuple[str, str], list[Decision]] = {}
    for one in item.decisions:
        if one.destination == DEVICE and one.action != "keep":
            continue
        if one.rule in kept and one.action == "drop":  # kept here is: goes nowhere
            continue
        if not one.rule and one.destination not in ruled:
            continue
        groups.setdefault((one.rule, one.action), []).append(one)
    lines = [
        Line(rule or "-", action, _to(action, group, places), *_counts(group))
        for (rule, action), group in groups.items()
    ]
    return lines or [Line("-", KEPT_BACK, EVERYWHERE, item.samples, 0)]


def _counts(group: Sequence[Decision]) -> tuple[int, int]:
    """Return samples decided (the most at any destination) and rows sealed, in all."""
    rows = sum(one.rows_left + one.rows_kept for one in group)
    return max(one.samples for one in group), rows


def _to(action: str, group: Sequence[Decision], places: set[str]) -> str:
    names = [one.destination for one in group]
    if action in {"drop", KEPT_BACK} and len(names) > 1 and places <= set(names):
        return EVERYWHERE
    return ", ".join(names)


def table(items: Sequence[ItemResult], width: int | None) -> list[str]:
    """Return the lines of the table; none where there is no item."""
    rows = [
        _Row(item, line, number == 0)
        for item in items
        for number, line in enumerate(decisions(item))
    ]
    if not rows:
        return ["no item of the bindings is in it"]
    if width is None:
        return _wide(rows)
    return [*_sections(rows, width), *_legend(rows)]


def _sections(rows: Sequence[_Row], width: int) -> list[str]:
    """Return the table in sections, one per category and label."""
    head = ("item", "read", "rule", "action", "to", "sealed")
    ordered = sorted(rows, key=lambda row: _section(row.item))  # stable: names stay
    cells = [
        (
            " " + row.item.name if row.is_first else "",
            str(row.item.samples) if row.is_first else "",
            *_told(row.line),
        )
        for row in ordered
    ]
    for gap in (_GAP, " "):  # closer together before names go to lines of their own
        aligned = _aligned([head, *cells], right=(1, 5), gap=gap)
        fits = max(map(len, aligned)) <= width
        if fits:
            break
    right = _aligned([head[2:], *(_told(row.line) for row in ordered)], right=(3,))
    out = [aligned[0] if fits else f"item: read; {', '.join(head[2:])}"]
    section = ""
    for row, whole, told in zip(ordered, aligned[1:], right[1:], strict=True):
        if _section(row.item) != section:
            section = _section(row.item)
            out.append(section)
        if fits:
            out.append(whole)
            continue
        if row.is_first:
            out.append(f"{_GAP}{row.item.name}: {row.item.samples}")
        out.append(f"{_INDENT}{told}")
    return out


def _section(item: ItemResult) -> str:
    if not item.classified:
        return "unclassified"
    return f"{item.category}{_GAP}{item.label}"


def _wide(rows: Sequence[_Row]) -> list[str]:
    head = ("item", "source", "category", "label", "read", "rule", "action", "to",
            "decided", "sealed")  # fmt: skip
    cells = [
        (
            row.item.name,
            row.item.source or "-",
            row.item.category or "-",
            row.item.label if row.item.classified else "-",
            str(row.item.samples),
            row.line.rule,
            row.line.action.replace(" ", "-"),
            row.line.to.replace(", ", ","),
            str(row.line.decided),
            str(row.line.rows),
        )
        for row in rows
    ]
    return _aligned([head, *cells], right=(4, 8, 9))


def _told(line: Line) -> tuple[str, ...]:
    return (line.rule, line.action, line.to, str(line.rows) if line.rows else "-")


def _legend(rows: Sequence[_Row]) -> list[str]:
    """Say once what every line leaves out."""
    if all(row.line.to in {EVERYWHERE, "-"} for row in rows):
        return []
    return ["elsewhere (destinations that a line does not name): kept back"]


def _aligned(
    cells: Sequence[Sequence[str]], right: Sequence[int], gap: str = _GAP
) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        gap.join(
            text.rjust(wide) if number in right else text.ljust(wide)
            for number, (text, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def summary(result: ScanResult) -> list[str]:
    """Return the lines below the table."""
    lines = [
        f"to {one.name} ({one.region}): {one.rows} rows in {one.messages} messages, "
        f"{one.size_bytes} bytes"
        for one in result.destinations
        if one.messages
    ]
    if not lines:
        lines = ["nothing would leave"]
    if result.kept_records:
        lines.append(f"kept here for the custodian: {result.kept_records} records")
    if result.evicted_records:
        lines.append(f"evicted by the byte cap: {result.evicted_records} records")
    lines.append(
        f"coverage {result.coverage:.1%} ({result.classified} samples classified, "
        f"{result.unclassified} not: they stay)"
    )
    lines.append(
        f"inspection: {result.alerts} alerts, {result.notices} notices; "
        f"evidence: {result.evidence} entries"
    )
    if result.verdicts:
        passed = sum(r.count for r in result.verdicts if r.verdict == "allowed")
        refused = sum(r.count for r in result.verdicts if r.verdict == "refused")
        lines.append(f"firewall: {passed} allowed, {refused} refused")
    if result.unbound_buses:
        told = ", ".join(f"{name} ({n} frames)" for name, n in result.unbound_buses)
        lines.append(f"bound to nothing: {printable(told)}")
    if result.skipped:
        told = ", ".join(f"{count} {cause}" for cause, count in result.skipped)
        lines.append(f"not read: {told}")
    if result.store:
        lines.append(f"kept in {printable(result.store)}")
    if result.error:
        lines.append("the capture breaks off: this is what was read before")
    return lines
