"""A soak: the daemon for hours, with everything going wrong again and again.

Run alone: ``python -m bench.soak --hours 2 --folder FOLDER`` (``make soak HOURS=2``).
Broker (mosquitto), vehicle, two plants, masters, agent and collector are processes of
their own on 127.0.0.1. Broker cut and stalled, agent killed with -9, policy reloaded,
by a timetable. Every ten seconds a row goes to ``rows.csv``, every act to
``acts.csv``: a soak that was cut off is drawn all the same, by ``--plot FOLDER``.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.adapters.processes import Processes, run_once
from agent.errors import Unavailable
from bench import soak_report
from bench.soak_look import COLUMNS, row
from bench.soak_stage import MASTERS, SoakStage

if TYPE_CHECKING:
    from collections.abc import Callable

ROW_S: Final = 10.0
STEP_S: Final = 0.5
READY_S: Final = 120.0  # on a loaded machine
DRAIN_S: Final = 300.0
CALM_S: Final = 240.0  # at the end: what waits is sent
RESTART_S: Final = 2.0  # as systemd would wait
VERIFY_S: Final = 900.0
# (act, first, every, lasts): seconds at pace 1.
TIMETABLE: Final = (
    ("reload", 200.0, 420.0, 0.0),
    ("stall", 1000.0, 1700.0, 60.0),  # the broker takes connections and says nothing
    ("outage", 600.0, 1200.0, 180.0),
    ("kill", 1900.0, 1980.0, 0.0),
)


def timetable(seconds: float, pace: float) -> list[tuple[float, str]]:
    """Return (second, act) in order; ``pace`` times as dense as usual."""
    acts = []
    for name, first, every, lasts in TIMETABLE:
        at = first / pace
        while at + lasts / pace < seconds - CALM_S / pace:
            acts.append((at, name))
            if lasts:
                acts.append((at + lasts / pace, f"{name} over"))
            at += every / pace
    return sorted(acts)


class Soak:
    """The children, the timetable and the files."""

    def __init__(self, stage: SoakStage, processes: Processes) -> None:
        """Nothing runs yet; the files are opened to be added to."""
        self._stage = stage
        self._processes = processes
        self._begin = time.monotonic()
        self._life = 0
        self._agent_due: float | None = None
        self._next_row = 0.0
        self._rows = (stage.folder / "rows.csv").open("a", newline="")
        self._acts = (stage.folder / "acts.csv").open("a", newline="")
        self._table = csv.DictWriter(self._rows, COLUMNS, extrasaction="ignore")
        self._table.writeheader()

    @property
    def second(self) -> float:
        """Return how long the soak has run."""
        return time.monotonic() - self._begin

    def say(self, act: str) -> None:
        """Write down an act with its second."""
        csv.writer(self._acts).writerow((round(self.second, 1), act))
        self._acts.flush()
        print(f"{self.second:8.1f} {act}", flush=True)

    def start_all(self) -> None:
        """Start everything and wait until the agent has a broker."""
        stage, processes = self._stage, self._processes
        processes.start("broker", stage.broker())
        processes.start("plant", stage.plant())
        processes.start("plant2", stage.plant2())
        self._wait("plants", stage.has_plant)
        stage.configure()
        processes.start("collector", stage.collector())
        self._wait("collector", stage.is_collecting)
        self._start_agent()
        self._wait("agent", stage.is_ready)
        processes.start("vehicle", stage.vehicle())
        for number in range(MASTERS):
            processes.start(f"master{number}", stage.master())
        self._begin = time.monotonic()

    def run(self, seconds: float, pace: float) -> None:
        """Follow the timetable; what dies by itself is written down and restarted."""
        for at, act in timetable(seconds, pace):
            self._until(at)
            self._act(act)
        self._until(seconds)

    def drain(self) -> None:
        """End the traffic, let the agent send the rest, end everything."""
        stage, processes = self._stage, self._processes
        names = ["vehicle", "plant", "plant2"]
        for name in [*(f"master{n}" for n in range(MASTERS)), *names]:
            processes.end(name)
        self.say("traffic ends")
        end = self.second + DRAIN_S
        self._until(self.second + 3)
        while not stage.is_drained() and self.second < end:
            self._step()
        self.say("drained" if stage.is_drained() else "NOT drained")
        self._row()
        processes.end("agent")
        time.sleep(3)
        self.say("agent has ended")
        processes.end("collector")
        processes.end("broker")

    def _act(self, act: str) -> None:
        stage, processes = self._stage, self._processes
        self.say(act)
        if act == "reload":
            stage.next_policy()
            if processes.pid("agent"):
                processes.send("agent", signal.SIGHUP)
        elif act == "kill":
            self._row()
            if processes.pid("agent"):
                processes.kill("agent")
            self._agent_due = time.monotonic() + RESTART_S
        elif act == "stall" and processes.pid("broker"):
            processes.send("broker", signal.SIGSTOP)
        elif act == "stall over" and processes.pid("broker"):
            processes.send("broker", signal.SIGCONT)
        elif act == "outage" and processes.pid("broker"):
            processes.kill("broker")
        elif act == "outage over" and not processes.pid("broker"):
            processes.start("broker", stage.broker())

    def _start_agent(self) -> None:
        self._life += 1
        self._agent_due = None
        self._processes.start("agent", self._stage.agent())
        self.say(f"agent starts, life {self._life}")

    def _until(self, second: float) -> None:
        while self.second < second:
            self._step()

    def _step(self) -> None:
        """Look once: a row where one is due, the dead restarted."""
        if self.second >= self._next_row:
            self._next_row = max(self._next_row + ROW_S, self.second)
            self._row()
        for name, code in self._processes.gone():
            self.say(f"DIED {name} {code}")
            if name == "agent":
                self._agent_due = time.monotonic() + RESTART_S
            else:
                self._processes.start(name, self._command(name))
        if self._agent_due is not None and time.monotonic() >= self._agent_due:
            self._start_agent()
        time.sleep(STEP_S)

    def _command(self, name: str) -> list[str]:
        command: Callable[[], list[str]] = getattr(self._stage, name.rstrip("01"))
        return command()

    def _row(self) -> None:
        pids = self._processes.pids()
        self._table.writerow(row(self._stage, pids, self.second, self._life))
        self._rows.flush()

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + READY_S
        while not condition():
            if time.monotonic() > end:
                raise Unavailable("soak", f"{what}: not there after {READY_S:.0f} s")
            self._processes.check_all()
            time.sleep(STEP_S)


def facts(hours: float, pace: float) -> dict[str, Any]:
    """Return machine, date and what was run."""
    commit = run_once(["git", "rev-parse", "--short", "HEAD"])[1].strip()
    model = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": f"{len(model)} x {(model or ['?'])[0]}, {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python"
        f" {platform.python_version()}",
        "commit": commit, "hours": hours, "pace": pace, "nice": os.nice(0),
    }  # fmt: skip


def ending(stage: SoakStage) -> dict[str, Any]:
    """Verify the whole ledger, as the demo does; read what the simulators sent."""
    code, output = run_once(stage.verification(), VERIFY_S)
    reports = []
    for line in output.splitlines():
        try:
            reports.append(json.loads(line))
        except ValueError:
            reports.append({"said": line})
    sent = (stage.folder / "vehicle.log").read_text("utf-8", "replace").splitlines()
    masters = [
        (stage.folder / f"master{number}.log").read_text().splitlines()[-1:]
        for number in range(MASTERS)
    ]
    return {"verify_code": code, "reports": reports, "vehicle": sent[-3:],
            "masters": masters}  # fmt: skip


def play(folder: Path, hours: float, pace: float) -> int:
    """Soak; 0 where everything verifies."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = SoakStage(folder)
    stage.prepare()
    told = json.dumps(facts(hours, pace), indent=1)
    (folder / "facts.json").write_text(told + "\n")
    with Processes(folder) as processes:
        soak = Soak(stage, processes)
        soak.start_all()
        try:
            soak.run(hours * 3600, pace)
        finally:
            soak.drain()
    end = ending(stage)
    (folder / "end.json").write_text(json.dumps(end, indent=1) + "\n")
    return int(end["verify_code"])


def draw(folder: Path, to: Path) -> None:
    """Write picture and report of what a soak left, whole or cut off."""
    left = soak_report.read(folder)
    (to / "soak.svg").write_text(soak_report.picture(left))
    (to / "soak.md").write_text(soak_report.report(left))
    print(f"{to / 'soak.svg'}, {to / 'soak.md'}")


def main(arguments: list[str]) -> int:
    """Soak as told, or draw what a soak left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--pace", type=float, default=1.0, help="denser timetable")
    parser.add_argument("--folder", type=Path, default=Path("soak"))
    parser.add_argument("--plot", type=Path, help="draw this folder, soak nothing")
    parser.add_argument("--docs", type=Path, help="picture and report go here")
    told = parser.parse_args(arguments)
    if told.plot:
        draw(told.plot, told.docs or told.plot)
        return 0
    code = play(told.folder.absolute(), told.hours, told.pace)
    draw(told.folder, told.docs or told.folder)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
