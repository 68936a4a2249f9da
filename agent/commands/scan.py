"""`sluicegate scan`: recordings through the production path, what would leave."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING

import msgspec

from agent.commands.scan_result import Failed
from agent.commands.scan_table import print_result
from agent.commands.scanning import Request, prepare, source_of, try_scan
from agent.errors import BadInput, SluicegateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.progress import Progress

    from agent.commands.scan_result import ScanResult

__all__ = ["Request", "scan_all"]


def scan_all(captures: list[Path], request: Request, jobs: int, as_json: bool) -> int:
    """Scan every capture and print the results in the order given; 0 when done.

    What cannot be read does not stop the others: its line comes last, on stderr, and
    the exit code is 2.
    """
    _check_names(captures, request)
    links = source_of(captures[0], request).links
    prepare(request, links=links)  # a bad policy is told once, before any work
    outcomes = _run(captures, request, min(jobs, len(captures)))
    results = [one for one in outcomes if not isinstance(one, Failed)]
    try:
        _show(results, as_json)
    except BrokenPipeError:  # who reads has seen enough: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _tell([one if isinstance(one, Failed) else one.failed for one in outcomes])


def _show(results: list[ScanResult], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    else:
        for result in results:
            print_result(result, sys.stdout, _width())
    sys.stdout.flush()


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _tell(outcomes: list[Failed | None]) -> int:
    """Raise the last failure, having told the others: one line each."""
    failed = [one for one in outcomes if one is not None]
    if not failed:
        return 0
    for one in failed[:-1]:
        sys.stderr.write(f"sluicegate: {one.line}\n")
    line = failed[-1].line
    if any(one.is_bad_input for one in failed):
        raise BadInput("", "", line)
    raise SluicegateError(line)


def _check_names(captures: list[Path], request: Request) -> None:
    """Refuse two captures that would write to one store."""
    seen: dict[str, Path] = {}
    for path in captures if request.out else []:
        first = seen.setdefault(path.name, path)
        if first is not path:
            reason = f"has the name of {first}: their stores would be one file"
            raise BadInput(str(path), "", reason, "scan them into two folders")


def _run(
    captures: list[Path], request: Request, jobs: int
) -> list[ScanResult | Failed]:
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
                try_scan(path, request, _reporter(progress, path)) for path in captures
            ]
        task = progress.add_task(f"{len(captures)} captures", total=len(captures))
        found: dict[int, ScanResult | Failed] = {}
        # spawn: a fork would share SQLite and OpenSSL state with the parent.
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            waiting = {
                pool.submit(try_scan, path, request): number
                for number, path in enumerate(captures)
            }
            for done in as_completed(waiting):
                try:
                    found[waiting[done]] = done.result()
                except BrokenProcessPool:
                    path = captures[waiting[done]]
                    line = f"{path}: the process that read it died (out of memory?)"
                    found[waiting[done]] = Failed(line, is_bad_input=False)
                progress.advance(task)
        return [found[number] for number in range(len(captures))]


def _reporter(progress: Progress, path: Path) -> Callable[[int, int], None]:
    task = progress.add_task(path.name, total=None)

    def report(position: int, size: int) -> None:
        progress.update(task, completed=position, total=size or 1)

    return report
