"""The lines of `sluicegate top`: one picture as tables of text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.telemetry.picture import OUTCOMES
from protocols.listing import aligned
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.telemetry.picture import Flow, Picture

BAR: Final = 24
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def lines_of(picture: Picture, width: int) -> list[str]:
    """Return the picture; ``width`` 0: lines as long as they are."""
    found = [_head(picture), _spool(picture)]
    for title, head, rows, right in _tables(picture):
        found.append("")
        if not rows:
            found.append(f"{title}: none")
            continue
        found.append(title)
        found += [f"  {line}" for line in aligned(head, rows, right, 0)]
    found += ["", "problems: none" if not picture.problems else "problems"]
    found += [f"  {one}" for one in picture.problems]
    shown = [printable(line) for line in found]
    return [line[:width] for line in shown] if width else shown


def _head(picture: Picture) -> str:
    head = picture.head
    online = "online" if head["online"] else "OFFLINE"
    return (
        f"{head['device']}  {online}  policy {head['policy_name']}"
        f" {head['policy_version']} ({head['policy_state']})  clock {head['clock']}"
        f"  sluicegate {head['agent']}"
    )


def _spool(picture: Picture) -> str:
    spool = picture.spool
    used, most = spool["spool_bytes"], spool["spool_bytes_max"]
    share = min(used / most, 1.0) if most else 0.0
    hours = spool["autonomy_hours"]
    lasts = f"{hours:.0f} h of autonomy" if hours >= 0 else "autonomy not known yet"
    waiting = spool["evidence_entries"] - spool["evidence_entries_received"]
    return (
        f"spool [{bar(share)}] {size(used)} of {size(most)},"
        f" {spool['spool_records']:.0f} messages wait, {lasts};"
        f" evidence {spool['evidence_entries']:.0f} entries, {waiting:.0f} unreceipted"
    )


def _tables(
    picture: Picture,
) -> Iterator[tuple[str, Sequence[str], list[list[str]], tuple[int, ...]]]:
    buses = [
        [bus.name, bus.state or "-", rate(bus.rate), str(bus.frames), str(bus.lost)]
        for bus in picture.buses
    ]
    yield "buses", ("bus", "state", "frames/s", "frames", "lost"), buses, (2, 3, 4)
    outcomes = tuple(one.replace("_", " ") for one in OUTCOMES)
    right = tuple(range(1, 3 + len(OUTCOMES)))
    head = ("destination", "sent/s", "B/s", *outcomes)
    yield "destinations", head, _flow_rows(picture.destinations), right
    head = ("destination", "label", "sent/s", "B/s", *outcomes)
    labels = _flow_rows(picture.labels)
    yield "labels", head, labels, tuple(at + 1 for at in right)
    findings = [
        [one.detector, one.level, rate(one.a_minute), str(one.count)]
        for one in picture.findings
    ]
    yield "findings", ("detector", "level", "a minute", "since start"), findings, (2, 3)
    lost = [[cause, str(count)] for cause, count in picture.lost.items()]
    yield "lost", ("cause", "count"), lost, (1,)


def _flow_rows(flows: Sequence[Flow]) -> list[list[str]]:
    return [
        [
            *flow.name,
            rate(flow.rate),
            rate(flow.bytes_a_s),
            *(str(flow.samples.get(outcome, 0)) for outcome in OUTCOMES),
        ]
        for flow in flows
    ]


def rate(value: float | None) -> str:
    """Return a rate with three figures; ``-`` where there is none yet."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def size(count: float) -> str:
    """Return bytes in the unit that keeps it short."""
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {UNITS[-1]}"


def bar(share: float) -> str:
    """Return a bar of BAR characters, as full as ``share`` (0 to 1)."""
    full = round(share * BAR)
    return "#" * full + "-" * (BAR - full)
