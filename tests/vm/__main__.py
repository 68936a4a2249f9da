"""``make vm-test``: boots virtual machines, runs scenarios in them, tells what held.

``python -m tests.vm [NAME...]``; without names every scenario but benches. Exit status
0: all held, or it cannot run here, which one line says; 1: something did not hold.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.vm.debs import package_folder
from tests.vm.guest import Failed
from tests.vm.host import Host, copy_disk
from tests.vm.image import CannotRun, cache_folder, image_ready
from tests.vm.machine import Ended

if TYPE_CHECKING:
    from types import FrameType

SCENARIOS: Final = Path(__file__).with_name("scenarios")
SIDE_BY_SIDE: Final = 2
LIMIT_S: Final = 1500  # for all of it: then every machine is killed
DISKS_KEPT: Final = 2  # one for each package that was tried
FIRST: Final = "install"  # what it leaves on its disk is what the others start from
BOOT_LIMIT_S: Final = 120
TAIL_LINES: Final = 40


@dataclass
class Told:
    """What became of one scenario."""

    name: str
    title: str
    seconds: float = 0.0
    boots: int = 0
    failed: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Tell whether it ran to its end and everything held."""
        return not self.failed and all(row["ok"] for row in self.results)

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        word = "ok" if self.holds else "FAILED"
        lines = [f"{word:6} {self.name}: {self.title} ({self.seconds:.0f} s)"]
        for row in self.results:
            figures = (f"{k}={v}" for k, v in row.items() if k not in {"what", "ok"})
            mark = "  " if row["ok"] else "NO"
            lines.append(f"    {mark} {row['what']}  {' '.join(figures)}".rstrip())
        return [*lines, *([f"    NO {self.failed}"] if self.failed else [])]


class Bench:
    """Runs scenarios on the machines of this host, in one folder of its own."""

    def __init__(self, folder: Path, image: Path, packages: Path) -> None:
        """Nothing runs yet."""
        self.folder, self.image, self.packages = folder, image, packages
        self.installed: Path | None = None
        self._cpus: queue.Queue[int] = queue.Queue()
        cpus = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(cpus)  # who runs beside us may have taken another
        for cpu in (*cpus[first:], *cpus[:first])[:SIDE_BY_SIDE]:
            self._cpus.put(cpu)

    def run(self, name: str) -> Told:
        """Run one scenario to its end on a processor of its own."""
        module = importlib.import_module(f"tests.vm.scenarios.{name}")
        told = Told(name, (module.__doc__ or "").splitlines()[0].rstrip("."))
        folder = self.folder / name
        folder.mkdir()
        cpu = self._cpus.get()
        start_s = time.monotonic()
        host = Host(name, folder, self.image, self.packages, self.installed, cpu)
        try:
            getattr(module, "host", _one_step)(host)
        except Exception as error:  # noqa: BLE001  # the other scenarios are told, too
            told.failed = f"{type(error).__name__}: {error}"
        finally:
            self._cpus.put(cpu)
        told.seconds, told.boots = time.monotonic() - start_s, host.boots
        told.results = host.results()
        print("\n".join(told.lines()), flush=True)
        if not told.holds:
            self._tail(folder)
        return told

    def _tail(self, folder: Path) -> None:
        for file in (folder / "console.txt", folder / "run" / "journal.txt"):
            if file.exists():
                lines = file.read_text(errors="replace").splitlines()[-TAIL_LINES:]
                print("\n".join([f"    --- end of {file.name}", *lines]), flush=True)


def _one_step(host: Host) -> None:
    """Run the step ``guest`` of a scenario that has no host's side of its own."""
    host.run("guest")


def boots(image: Path) -> bool:
    """Tell whether this image's kernel boots here."""
    with tempfile.TemporaryDirectory(dir=image) as temporary:
        folder = Path(temporary)
        host = Host("smoke", folder, image, folder)
        try:
            host.run("guest", host.disk(blank=True), limit_s=BOOT_LIMIT_S)
        except (Failed, Ended):
            shutil.copy(folder / "console.txt", image / "boot-failed.txt")
            return False
        return True


def say(text: str) -> None:
    """Print one line of the runner itself."""
    print(f"vm-test: {text}", flush=True)


def scenario_names() -> list[str]:
    """Return every scenario there is."""
    return sorted(p.stem for p in SCENARIOS.glob("*.py"))


def options(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="vm-test", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios")
    parser.add_argument("--deb", type=Path, help="the package under test")
    parser.add_argument("--previous", type=Path, help="the package before it")
    parser.add_argument("--json", type=Path, help="file for the summary")
    parser.add_argument("--keep", type=Path, help="new folder that keeps everything")
    parser.add_argument("--all", action="store_true", help="the long ones, too")
    parser.add_argument("--require", action="store_true", help="a skip is a failure")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--limit", type=int, default=LIMIT_S, help="seconds for all")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.names) - set(scenario_names())):
        parser.error(f"no scenario {', '.join(unknown)}; --list names them")
    return asked


def run_all(bench: Bench, names: list[str], kept: Path) -> list[Told]:
    """Run ``install`` by itself, then the rest side by side.

    By itself, for it measures. ``kept``: its disk of last time.
    """
    bare = [name for name in names if name != FIRST and is_bare(name)]
    rest = [name for name in names if name not in {FIRST, *bare}]
    told = []
    if FIRST in names or (rest and not kept.exists()):
        told = [bench.run(FIRST)]
        if told[0].failed:
            return told
        part = kept.with_suffix(f".{os.getpid()}")
        copy_disk(bench.folder / FIRST / "disk" / "cow", part)
        part.rename(kept)
        forget(kept)
    bench.installed = kept
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        beside = [pool.submit(bench.run, name) for name in (*bare, *rest)]
        return told + [future.result() for future in beside]


def forget(kept: Path) -> None:
    """Remove the disks of packages that were tried long ago, but not this one."""
    disks = sorted(
        kept.parent.glob("disk-*"), key=lambda one: one.stat().st_mtime, reverse=True
    )
    for old in disks[DISKS_KEPT:]:
        if old != kept:
            old.unlink(missing_ok=True)


def is_bare(name: str) -> bool:
    """Tell whether a scenario starts from the bare image."""
    return told_by(name, "BARE")


def told_by(name: str, what: str) -> bool:
    """Return a mark of a scenario; False where it does not bear it."""
    module = importlib.import_module(f"tests.vm.scenarios.{name}")
    return getattr(module, what, False)


def usual_names() -> list[str]:
    """Return the scenarios of a run that names none: no benches, nothing long."""
    apart = ("BENCH", "LONG")
    return [n for n in scenario_names() if not any(told_by(n, one) for one in apart)]


def run_folder(runs: Path) -> Path:
    """Make this run's folder; what a run left that was killed with -9 goes."""
    runs.mkdir(exist_ok=True)
    for old in runs.iterdir():
        if not Path("/proc", old.name.partition("-")[0]).exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=runs, prefix=f"{os.getpid()}-"))


def main(arguments: list[str]) -> int:
    """Run what was asked for; see the module."""
    asked = options(arguments)
    if asked.list:
        print("\n".join(scenario_names()))
        return 0
    start_s = time.monotonic()
    try:
        image = image_ready(boots, say)
    except CannotRun as error:
        say(f"skipped: {error}")
        return int(asked.require)
    built_s = time.monotonic() - start_s
    if asked.keep:
        asked.keep.mkdir(parents=True)
    folder = asked.keep or run_folder(cache_folder() / "runs")

    # Machines end with the thread that started them: nothing else is to be undone.
    def aborted(number: int, frame: FrameType | None) -> None:
        why = f"not done in {asked.limit} s (--limit)"
        if number != signal.SIGALRM:
            why = f"ended by {signal.Signals(number).name}"
        os.write(2, f"vm-test: {why}\n".encode())
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, aborted)
    signal.alarm(asked.limit)
    try:
        packages, key = package_folder(folder, asked.deb, asked.previous)
        bench = Bench(folder, image, packages)
        names = asked.names or (scenario_names() if asked.all else usual_names())
        told = run_all(bench, names, image / f"disk-{key}")
    except Failed as error:
        say(str(error))
        return 2
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return summary(told, time.monotonic() - start_s - built_s, asked.json)


def summary(told: list[Told], seconds: float, file: Path | None) -> int:
    """Print the last lines, write the file, return the exit status."""
    bad = [one.name for one in told if not one.holds]
    checks = sum(len(one.results) for one in told)
    boots_made = sum(one.boots for one in told)
    say(f"{len(told)} scenarios, {boots_made} boots, {checks} checks, {seconds:.0f} s")
    if file:
        rows = [{**vars(one), "ok": one.holds} for one in told]
        file.write_text(json.dumps({"seconds": seconds, "scenarios": rows}, indent=1))
    say(f"FAILED: {', '.join(bad)}" if bad else "all held")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
