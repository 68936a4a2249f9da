"""`sluicegate demo`: the whole job on one machine, with everything going wrong once.

Broker, vehicle, plant, agent and collector are separate processes on 127.0.0.1, started
with the very commands that a person would type. The broker is killed, then the agent
(kill -9), both come back, and at the end the collector's ledger is verified and every
file of the gateway is searched for the car's true position and VIN.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.processes import Processes
from agent.commands.demo_checks import leaks, verified
from agent.commands.demo_parts import Stage
from agent.commands.demo_view import View
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

READY_S: Final = 20.0
DRAIN_S: Final = 20.0
STEP_S: Final = 0.25


def play(folder: Path | None, seconds: float, is_terminal: bool) -> int:
    """Play the demonstration; 0 where nothing was lost and every record verifies.

    Raises:
        Unavailable: the operator's side is not here, as on every gateway.
    """
    for room in ("fleet", "firmware_sim"):
        if importlib.util.find_spec(room) is None:
            reason = "the operator's side is not installed (sluicegate-fleet)"
            raise Unavailable("demo", reason)
    began = time.monotonic()
    with ExitStack() as stack:
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="sluicegate-demo-")
            place = Path(stack.enter_context(temporary))
        else:
            place = folder
            place.mkdir(parents=True, exist_ok=True)
        stage = Stage(place)
        processes = stack.enter_context(Processes(place))
        view = stack.enter_context(View(stage, is_terminal))
        good = _Play(stage, processes, view, seconds).run()
    took = time.monotonic() - began
    sys.stdout.write(f"{'passed' if good else 'FAILED'} in {took:.0f} s\n")
    return 0 if good else 1


class _Play:
    """The acts, in order."""

    def __init__(
        self, stage: Stage, processes: Processes, view: View, seconds: float
    ) -> None:
        self._stage = stage
        self._processes = processes
        self._view = view
        self._seconds = seconds

    def run(self) -> bool:
        view, stage, processes = self._view, self._stage, self._processes
        view.say("keys, cards and configuration are made")
        stage.prepare()
        self._start_all()
        view.say("everything runs: what may leave leaves, the rest stays")
        self._watch(self._seconds)

        view.say("the broker is gone (kill -9): the spool takes over")
        processes.kill("broker")
        self._watch(self._seconds / 2)
        view.say("the agent is gone too (kill -9), in the middle of its work")
        processes.kill("agent")
        self._watch(1.0)

        view.say("both come back by themselves")
        processes.start("broker", stage.broker())
        self._wait("collector", stage.is_collecting)
        processes.start("agent", stage.agent())
        self._wait("agent", stage.is_ready)
        self._watch(self._seconds)

        view.say("the simulators stop; the agent ends cleanly and sends the rest")
        for name in ("vehicle", "plant"):
            processes.end(name)
        self._watch(1.5)
        self._wait("spool", stage.is_drained, DRAIN_S)
        processes.end("agent")
        self._watch(1.5)
        processes.end("collector")
        processes.end("broker")
        return self._verdict()

    def _start_all(self) -> None:
        stage, processes = self._stage, self._processes
        processes.start("broker", stage.broker())
        processes.start("plant", stage.plant())
        self._wait("plant", stage.has_plant)
        stage.configure()
        processes.start("vehicle", stage.vehicle())
        processes.start("collector", stage.collector())
        self._wait("collector", stage.is_collecting)
        processes.start("agent", stage.agent())
        self._wait("agent", stage.is_ready)

    def _wait(
        self, what: str, condition: Callable[[], bool], seconds: float = READY_S
    ) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Unavailable("demo", f"{what}: not there after {seconds:.0f} s")
            self._look()

    def _watch(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()

    def _look(self) -> None:
        self._processes.check_all()
        self._view.refresh()
        time.sleep(STEP_S)

    def _verdict(self) -> bool:
        stage, view = self._stage, self._view
        told, report = verified(stage)
        found = leaks(stage)
        view.finish()
        for line in report:
            sys.stdout.write(line + "\n")
        sys.stdout.write(
            f"true positions and VIN in the gateway's files: {len(found)} hits\n"
        )
        for hit in found:
            sys.stdout.write(f"  {hit}\n")
        return told and not found
