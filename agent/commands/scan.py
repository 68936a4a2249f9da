"""`sluicegate scan`: recordings through the production path, what would leave."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

import msgspec

from agent.commands.scanning import Request, ScanResult, prepare, scan_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress

    from agent.commands.scanning import ItemResult

__all__ = ["Request", "scan_all"]


def scan_all(captures: list[Path], request: Request, jobs: int, as_json: bool) -> int:
    """Scan every capture and print the results in the order given; 0 when done."""
    from rich.console import Console

    prepare(request)  # a bad policy is told once, before any work
    results = _run(captures, request, min(jobs, len(captures)))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(results) + b"\n")
        return 0
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for result in results:
        _print(console, result)
    return 0


def _run(captures: list[Path], request: Request, jobs: int) -> list[ScanResult]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with progress:
        if jobs == 1:
            return [
                scan_one(path, request, _reporter(progress, path)) for path in captures
            ]
        task = progress.add_task(f"{len(captures)} captures", total=len(captures))
        found: dict[int, ScanResult] = {}
        # spawn: a fork would share SQLite and OpenSSL state with the parent.
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            waiting = {
                pool.submit(scan_one, path, request): number
                for number, path in enumerate(captures)
            }
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                progress.advance(task)
        return [found[number] for number in range(len(captures))]


def _reporter(progress: Progress, path: Path) -> Callable[[int, int], None]:

    task = progress.add_task(path.name, total=None)

    def report(position: int, size: int) -> None:
        progress.update(task, completed=position, total=size or 1)

    return report


def _print(console: Console, result: ScanResult) -> None:
    from rich.table import Table

    console.print(
        f"{result.file}: {result.format}, {result.frames} frames, "
        f"{result.seconds:.1f} s",
        markup=False,
    )
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("item", "left"),
        ("category", "left"),
        ("label", "left"),
        ("samples", "right"),
        ("to", "left"),
        ("rule", "left"),
        ("action", "left"),
        ("decided", "right"),
        ("leaves", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]  # rich's literal type
    for item in result.items:
        for row in _rows(item):
            table.add_row(*row)
    console.print(table)
    skipped = ", ".join(f"{count} {cause}" for cause, count in result.skipped)
    console.print(
        f"coverage {result.coverage:.1%} ({result.classified} samples classified, "
        f"{result.unclassified} not: they stay)\n"
        f"{result.envelopes} messages, {result.envelope_bytes} bytes would leave; "
        f"{result.evidence} evidence entries\n"
        f"inspection: {result.alerts} alerts, {result.notices} notices"
        + (f"\nnot read: {skipped}" if skipped else "")
        + (f"\nkept in {result.store}" if result.store else ""),
        markup=False,
    )
    console.print()


def _rows(item: ItemResult) -> list[tuple[str, ...]]:
    head = (
        item.name,
        item.category if item.classified else "unclassified",
        item.label if item.classified else "",
        str(item.samples),
    )
    rows: list[tuple[str, ...]] = []
    for number, made in enumerate(item.decisions):
        shown = head if number == 0 else ("", "", "", "")
        rows.append(
            (
                *shown,
                f"{made.destination} ({made.region})",
                made.rule or "-",
                made.action if item.classified else "stays",
                str(made.samples),
                str(made.rows_left),
            )
        )
    return rows or [(*head, "-", "-", "stays", str(item.samples), "0")]
