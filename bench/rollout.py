"""10,000 simulated gateways on one mosquitto take a rollout; one that fails halts.

Run alone: ``python -m bench.rollout [--devices 10000] [--workers 2] [--plot FILE]``.
Everything is on 127.0.0.1 and in a folder of its own. `bench/rollout_device.py` says
what of a device is real.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.rollout_parts import BenchBroker, Workers
from bench.rollout_plot import drawn
from bench.rollout_site import BINDINGS_FOLDER, FLEET, FLOORS, make_site
from bench.rollout_steps import Operator, Step, World, step
from bench.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEVICES: Final = 10_000
WATCH_S: Final = 900
PLOT: Final = Path(__file__).resolve().parents[1] / "docs" / "rollout.svg"


@dataclass(frozen=True)
class Plan:
    """What is simulated; shares in ten-thousandths."""

    devices: int = DEVICES
    workers: int = max(os.cpu_count() or 2, 2)
    refusing_first: int = 50  # of the good policy: the floor of these cars forbids it
    refusing_second: int = 300  # of the second policy, 3 %
    reverting: int = 30
    trial_s: int = 2
    narrow: str = "1%"  # of the good policy, before everybody
    wide: str = "10%"  # of the second policy
    good: tuple[str, str, str] = ("5%", "5%", "100")  # limits and least answers
    bad: tuple[str, str, str] = ("2%", "2%", "50")


@dataclass(frozen=True)
class Figures:
    """What was seen."""

    plan: Plan
    connect_s: float
    connected: int
    steps: tuple[Step, ...]  # 1 %, 100 %, halt, abort
    slots: tuple[int, ...]  # devices by tenth of the slots


def measure(folder: Path, plan: Plan, say: Callable[[str], None]) -> Figures:
    """Run the whole of it in ``folder``; RuntimeError where a part does not work."""
    names = [f"gw-{number:05}" for number in range(plan.devices)]
    site = make_site(folder, names, plan.trial_s)
    say(f"repository, keys and registry of {plan.devices} devices are made")
    plain: dict[str, Any] = {
        "fleet": FLEET,
        "root": site.root_base64,
        "databases": str(BINDINGS_FOLDER),
        "floors": {name: str(folder / f"{name}.floor.yaml") for name in FLOORS},
        "refusing": {
            "first": plan.refusing_first,
            "second": plan.refusing_second - plan.refusing_first,
        },
        "reverting": plan.reverting,
        "groups": ["sim"],
    }
    with BenchBroker(folder) as broker:
        start_s = time.monotonic()
        plain["port"] = broker.port
        with Workers(folder, names, plan.workers, plain) as workers:
            connected = workers.connected()
            connect_s = time.monotonic() - start_s
            say(f"{connected} connected in {connect_s:.0f} s")
            world = World(broker, workers, plan.devices, say)
            operator = Operator(site.options(broker.port))
            steps = tuple(_steps(operator, world, plan))
    return Figures(plan, connect_s, connected, steps, _tenths(steps))


def _steps(operator: Operator, world: World, plan: Plan) -> list[Step]:
    """Return the four steps in their order."""
    watch = ["--watch", "--json", "--seconds", str(WATCH_S)]
    begin = ["rollout", "start", "--candidate", "1", "--upto", plan.narrow]
    widen = ["rollout", "widen", "--upto", "100%"]
    worse = ["rollout", "start", "--candidate", "2", "--upto", plan.wide]
    abort = ["rollout", "abort", "--reason", "bench", "--json"]
    return [
        step(plan.narrow, operator, [*begin, *_limits(plan.good), *watch], world),
        step("100%", operator, [*widen, *watch], world),
        step("halt", operator, [*worse, *_limits(plan.bad), *watch], world),
        step("abort", operator, abort, world),
    ]


def _limits(limits: tuple[str, str, str]) -> list[str]:
    options = ("--halt-refused", "--halt-reverted", "--min-acks")
    return [word for pair in zip(options, limits, strict=True) for word in pair]


def _tenths(steps: Sequence[Step]) -> tuple[int, ...]:
    return tuple(steps[0].report.get("slots", ()))


def rows_of(found: Figures) -> list[Row]:
    """Return the section's rows."""
    plan, (one, every, halted, aborted) = found.plan, found.steps
    devices = f"{plan.devices:,} devices"
    cohort = one.report.get("expected", 0)
    halt = halted.report.get("outcomes", {})
    had = halted.told["decides"].get("2", 0)
    back = aborted.told["decides"].get("2", 0)
    least, most = min(found.slots, default=0), max(found.slots, default=0)
    return [
        _row(
            f"{devices}, each with its own connection and key, connected",
            f"{found.connected:,} in {found.connect_s:.0f} s",
            "all",
            found.connected == plan.devices,
        ),
        _row(
            "slots of the devices, by tenths",
            f"{least:,} to {most:,}; {plan.narrow} of the slots are {cohort} devices",
            "",
            None,
        ),
        _timed(f"`rollout start --upto {plan.narrow} --watch`", one),
        _timed("`rollout widen --upto 100% --watch`", every),
        _row(
            "memory of mosquitto, largest",
            f"{max(s.memory_bytes for s in found.steps) / 2**20:.0f} MiB",
            "",
            None,
        ),
        _row(
            f"second policy to {plan.wide}, which {plan.refusing_second / 100:g} % of"
            f" the devices refuse, limit {plan.bad[0]}",
            f"halted by itself at {halt.get('refused', 0)} refusals of"
            f" {halted.report.get('answered', 0):,} answers, {halted.cohort_s:.1f} s"
            f" after the first device took it; {had:,} devices came to have it,"
            f" {plan.devices - had:,} did not",
            "halts by itself",
            halted.code == 1 and "halted" in halted.error,
        ),
        _row(
            "abort of it",
            f"{back} devices still have it once all {plan.devices:,} have answered,"
            f" {aborted.fleet_s:.0f} s after the first took the bundle",
            "nobody has it",
            back == 0,
        ),
    ]


def _timed(what: str, one: Step) -> Row:
    told = one.report.get("outcomes", {})
    parts = [
        f"{told[state]:,} {state}" for state in ("active", "refused", "reverted")
        if told.get(state)
    ]  # fmt: skip
    acks = sum(n for name, n in one.told["counts"].items() if name[:4] == "ack ")
    return _row(
        what,
        f"cohort of {one.report.get('expected', 0):,}: {', '.join(parts)}, last ack at"
        f" the desk after {one.cohort_s:.0f} s; all devices verified it and answered"
        f" after {one.fleet_s:.0f} s, {acks:,} acks",
        "all answer",
        one.code == 0 and bool(one.report.get("done")),
    )


def _row(what: str, ours: str, must: str, met: bool | None) -> Row:
    return Row(what, ours, "", "", "", must, met)


def rows(data: Path) -> list[Row]:
    """Return the section's rows; ``data`` is not used."""
    del data
    return _run(Plan(), PLOT)


def _run(plan: Plan, plot: Path | None) -> list[Row]:
    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        found = measure(Path(temporary), plan, say)
    if plot is not None:
        plot.write_text(drawn(found.steps[:3]))
    return rows_of(found)


def main(arguments: list[str]) -> int:
    """Run it as told and print the rows; 1 where one is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--plot", type=Path)
    told = parser.parse_args(arguments)
    found = _run(Plan(devices=told.devices, workers=told.workers), told.plot)
    for row in found:
        print(f"{row.what}\n    {row.ours}")
    return 1 if any(row.met is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
