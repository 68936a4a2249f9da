"""From what a soak left in its folder: the picture and the report."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.adapters.sqlite_connection import CACHE_KIB
from bench.soak_plot import HOUR_S, Line, Panel, drawn
from bench.soak_slope import Slope, slope

if TYPE_CHECKING:
    from pathlib import Path

WARM_UP_S: Final = 300.0  # of every life: caches fill, pools and pages are taken
MIB: Final = 2.0**20
KIB: Final = 1024.0


@dataclass(frozen=True)
class Left:
    """What stands in the folder of a soak, whole or cut off."""

    rows: list[dict[str, str]]
    acts: list[tuple[float, str]]
    facts: dict[str, Any]
    end: dict[str, Any]

    @property
    def end_s(self) -> float:
        """Return the second of the last row."""
        return float(self.rows[-1]["second"])

    def seconds(self) -> list[float]:
        """Return the second of every row."""
        return [float(row["second"]) for row in self.rows]

    def column(self, name: str, unit: float = 1.0) -> list[float | None]:
        """Return a column in ``unit``; None where nothing could be seen."""
        return [float(row[name]) / unit if row.get(name) else None for row in self.rows]

    def rates(self, name: str, unit: float = 1.0) -> list[float | None]:
        """Return the growth of a counter in a second; None over a new life."""
        at, values = self.seconds(), self.column(name, unit)
        lives = [row["life"] for row in self.rows]
        out: list[float | None] = [None]
        for n in range(1, len(values)):
            before, now = values[n - 1], values[n]
            if before is None or now is None or lives[n] != lives[n - 1]:
                out.append(None)
                continue
            out.append(max(now - before, 0.0) / max(at[n] - at[n - 1], 1e-9))
        return out


def read(folder: Path) -> Left:
    """Return what a soak left; a row that was cut off is left out."""
    with (folder / "rows.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("load_1m")]
    _less_cache(rows)
    with (folder / "acts.csv").open(newline="") as file:
        acts = [(float(row[0]), row[1]) for row in csv.reader(file) if len(row) == 2]
    start = next((n for n, (_, act) in enumerate(acts) if act.endswith("life 1")), -1)
    found = {}
    for name in ("facts", "end"):
        file_ = folder / f"{name}.json"
        found[name] = json.loads(file_.read_text()) if file_.exists() else {}
    return Left(rows, acts[start + 1 :], found["facts"], found["end"])


def _less_cache(rows: list[dict[str, str]]) -> None:
    """Add a column: memory without what the store's growth put into its page cache."""
    begun: dict[str, int] = {}
    for row in rows:
        if row.get("rss_kib") and row.get("store_bytes"):
            size = int(row["store_bytes"]) // 1024
            grown = size - begun.setdefault(row["life"], size)
            cached = min(max(grown, 0), CACHE_KIB)
            row["rss_less_cache_kib"] = str(float(row["rss_kib"]) - cached)


def picture(left: Left) -> str:
    """Return the SVG of a soak."""
    at = left.seconds()

    def line(name: str, values: list[float | None]) -> Line:
        return Line(name, at, values)

    cpu = [None if x is None else 100.0 * x for x in left.rates("cpu_s")]
    panels = [
        Panel("agent's memory, MiB", [
            line("resident", left.column("rss_kib", KIB)),
            line("proportional", left.column("pss_kib", KIB)),
        ]),
        Panel("descriptors and threads", [
            line("open files", left.column("fds")),
            line("threads", left.column("threads")),
        ]),
        Panel("CPU, % of a core", [line("agent", cpu)]),
        Panel("on the disk, MiB", [
            line("store", left.column("store_bytes", MIB)),
            line("write-ahead log", left.column("wal_bytes", MIB)),
            line("EVE log", left.column("eve_bytes", MIB)),
        ]),
        Panel("messages that wait", [line("spool", left.column("spool_records"))]),
        Panel("samples a second", [
            line("read", left.rates("read")),
            line("opened by the collector", left.rates("collector_samples")),
        ]),
        Panel("evidence entries, thousands", [
            line("on the gateway", left.column("entries", 1e3)),
            line("at the collector", left.column("collector_entries", 1e3)),
        ]),
    ]  # fmt: skip
    return drawn(panels, left.acts, left.end_s)


def steady(left: Left, name: str, life: str = "") -> Slope:
    """Return the slope of a column after every life's warm-up; of one life if named."""
    begun: dict[str, float] = {}
    kept = []
    for row in left.rows:
        second = float(row["second"])
        first = begun.setdefault(row["life"], second)
        wanted = not life or row["life"] == life
        if wanted and row.get(name) and second - first >= WARM_UP_S:
            kept.append((second, float(row[name]), int(row["life"])))
    columns = [list(one) for one in zip(*kept, strict=True)] or [[], [], []]
    return slope(columns[0], columns[1], [int(n) for n in columns[2]])


def _told(found: Slope, unit: str) -> str:
    if not found.rows or math.isnan(found.per_hour):
        return "too few rows"
    return (
        f"{found.per_hour:+,.1f} {unit}/h"
        f" (95 %: {found.low:+,.1f} to {found.high:+,.1f}; {found.rows} rows)"
    )


def slopes(left: Left) -> list[str]:
    """Return the table of slopes as lines of Markdown."""
    lives = sorted({row["life"] for row in left.rows}, key=int)
    lines = ["| what | slope |", "|---|---|"]
    for name, title, unit in (
        ("rss_kib", "resident memory", "KiB"),
        ("rss_less_cache_kib", "resident memory without the page cache", "KiB"),
        ("pss_kib", "proportional memory", "KiB"),
        ("fds", "open files", ""),
        ("threads", "threads", ""),
    ):
        lines.append(f"| {title}, all lives | {_told(steady(left, name), unit)} |")
        if name == "rss_kib" and len(lives) > 1:
            for life in lives:
                told = _told(steady(left, name, life), unit)
                lines.append(f"| {title}, life {life} | {told} |")
    return lines


def _range(left: Left, name: str, unit: float, word: str) -> str:
    values = [value for value in left.column(name, unit) if value is not None]
    if not values:
        return "-"
    unit_of = f" {word}" if word else ""
    return (
        f"{values[0]:,.1f}{unit_of} at the start, {max(values):,.1f} at most,"
        f" {values[-1]:,.1f} at the end"
    )


def taken(left: Left) -> list[str]:
    """Return what the agent took, as lines of Markdown."""
    cpu = sorted(100.0 * x for x in left.rates("cpu_s") if x is not None)
    lines = [
        f"* resident memory: {_range(left, 'rss_kib', KIB, 'MiB')}",
        f"* open files: {_range(left, 'fds', 1.0, '')}",
        f"* store: {_range(left, 'store_bytes', MIB, 'MiB')}",
        f"* write-ahead log: {_range(left, 'wal_bytes', MIB, 'MiB')}",
        f"* EVE log (the current file): {_range(left, 'eve_bytes', MIB, 'MiB')}",
        f"* spool: {_range(left, 'spool_bytes', KIB, 'KiB')}",
        f"* collector's memory: {_range(left, 'collector_rss_kib', KIB, 'MiB')}",
    ]
    entries = [value for value in left.column("entries") if value is not None]
    sizes = [value for value in left.column("store_bytes", MIB) if value is not None]
    if entries and sizes:
        hours = max(left.end_s, 1.0) / HOUR_S
        lines.append(
            f"* growth: {(sizes[-1] - sizes[0]) / hours:,.1f} MiB and"
            f" {(entries[-1] - entries[0]) / hours:,.0f} evidence entries an hour"
        )
    if cpu:
        middle, high = cpu[len(cpu) // 2], cpu[int(len(cpu) * 0.95)]
        lines.append(
            f"* CPU: {middle:.1f} % of a core in the median, {high:.1f} % at the 95th"
            " percentile of ten seconds"
        )
    load = sorted(value for value in left.column("load_1m") if value is not None)
    lines.append(
        f"* load of the machine meanwhile (1 minute): {load[len(load) // 2]:.1f} in the"
        f" median, {load[-1]:.1f} at most"
    )
    return lines


def accounted(left: Left) -> list[str]:
    """Return the accounting at the end as lines of Markdown."""
    if not left.end:
        return ["The soak was cut off: nothing was verified."]
    lines = [f"`sluicectl audit verify` ended with {left.end['verify_code']}.", ""]
    for one in left.end["reports"]:
        if "holds" not in one:
            lines.append(f"* it said: {one}")
            continue
        lost = ", ".join(f"{n:,} {cause}" for cause, n in one["lost"].items())
        agree = "agree" if one["holds"] else "**disagree**"
        lines += [
            (
                f"* evidence: {one['entries']:,} entries over {one['boots']} starts,"
                f" {one['covered']:,} under {one['checkpoints']:,} signed checkpoints"
            ),
            (
                f"* messages: {one['envelopes']:,} named by the log,"
                f" {one['received']:,} came, {one['waiting']:,} missing;"
                f" {one['kept']:,} kept on the device"
            ),
            (
                f"* samples that came: {one['samples_sent']:,}; lost with a cause:"
                f" {lost or 'none'}"
            ),
            (
                f"* Modbus exchanges in the log: {one['exchanges_passed']:,} passed,"
                f" {one['exchanges_refused']:,} refused"
            ),
            f"* counters, telemetry and log {agree}",
        ]
        lines += [f"* problem: {text}" for text in one["problems"]]
    lines += [f"* the vehicle: {text}" for text in left.end["vehicle"][-1:]]
    masters: Counter[str] = Counter()
    for text in left.end["masters"]:
        masters.update(json.loads(text[0]) if text else {})
    told = ", ".join(f"{count:,} {name}" for name, count in masters.items())
    drops: dict[str, int] = {}  # of a life: its last row
    for row in left.rows:
        if row.get("udp_drops"):
            drops[row["life"]] = int(row["udp_drops"])
    return [
        *lines,
        f"* the masters behind the proxy: {told}",
        (
            "* datagrams that the kernel dropped at the agent's sockets:"
            f" {sum(drops.values()):,}"
        ),
    ]


INTRODUCTION: Final = """\
# Soak

Written by `make soak` (`bench/soak.py`); do not edit. The daemon runs for hours while
everything goes wrong again and again: the broker is killed for three minutes, stalled
for one (it takes connections and says nothing), the agent is killed with -9, the policy
is changed and reloaded with SIGHUP.

Real are the daemon (`sluicegate run`), the collector (`sluicectl collect`) and
mosquitto, each a process of its own on 127.0.0.1. Simulated are a vehicle on three
python-can `udp_multicast` buses, a plant that is polled over Modbus/TCP, and a second
one behind the proxy with two masters.
"""
OF_SLOPES: Final = f"""\
![the soak over time](soak.svg)

## Slopes

Theil-Sen over the rows (one every ten seconds) after the first {WARM_UP_S / 60:.0f}
minutes of every life of the process; a pair of rows counts within one life only. The
bounds are of a bootstrap of blocks of five minutes.

SQLite's page cache ({CACHE_KIB // 1024} MiB) fills as the store grows, and is empty
again after every kill: a life that is shorter than that takes shows it as a slope
(`docs/resources.md`, Memory). "Without the page cache" takes off what the store has
grown by in that life, as far as the cache holds it.
"""
OF_THE_BUS: Final = """\
What was sent on the bus while no agent lived, nobody can know who only sees the
gateway: UDP multicast says nothing. Datagrams that the kernel dropped are read from
`/proc/net/udp`; python-can's `udp_multicast` does not tell the agent of them, and so it
counts none (raw CAN does: `SO_RXQ_OVFL`). Samples that transforms held when the agent
was killed stand above as held at crash; exchanges that a master saw answered and that
are in no log were under way at a kill: at most 250 ms are not committed.
"""


def report(left: Left) -> str:
    """Return `docs/soak.md`."""
    facts, counts = left.facts, Counter(act for _, act in left.acts)
    died = [f"{second:.0f} s: {act}" for second, act in left.acts if "DIED" in act]
    acts = ", ".join(
        f"{counts[name]} {name}s" for name in ("outage", "stall", "kill", "reload")
    )
    ran = f"{facts.get('system')}; nice {facts.get('nice')}"
    lines = [
        INTRODUCTION,
        f"* date: {facts.get('date')}",
        f"* machine: {facts.get('machine')}; {ran}",
        f"* command: `make soak HOURS={facts.get('hours')}`",
        f"* commit: {facts.get('commit')}",
        f"* lasted {left.end_s / HOUR_S:.2f} h: {acts}",
        f"* ended though nobody ended it: {'; '.join(died) or 'nothing'}",
        "",
        OF_SLOPES,
        *slopes(left),
        "\n## What it took\n",
        *taken(left),
        "\n## What became of everything\n",
        *accounted(left),
        "",
        OF_THE_BUS,
    ]
    return "\n".join(lines)
