"""One rollout of simulated devices, step by step, with the operator's real commands.

start 1 % and watch; widen to 100 % and watch; a second policy that 3 % of the devices
refuse, to 10 %, which must halt by itself; abort, and everybody is back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.rollout_parts import BenchBroker, Workers

ROOT: Final = Path(__file__).resolve().parents[1]
SETTLE_S: Final = 900.0
POLL_S: Final = 0.5


@dataclass
class Done:
    """A command that ended."""

    code: int
    lines: list[tuple[float, dict[str, Any]]]  # (time.monotonic, JSON line)
    error: str  # its one line

    @property
    def last(self) -> dict[str, Any]:
        """Return its last line of JSON."""
        return self.lines[-1][1] if self.lines else {}


@dataclass
class Step:
    """What was seen of one step."""

    name: str
    report: dict[str, Any]  # the desk's last word
    moments: list[tuple[float, dict[str, int]]]  # seconds since publishing, outcomes
    told: dict[str, Any]  # the devices' own counts
    code: int
    error: str
    cohort_s: float  # first device to take the bundle -> the desk has the last word
    fleet_s: float  # the same -> the broker has the last ack of any device
    memory_bytes: int  # of the broker, the most so far


@dataclass
class Operator:
    """Types `sluicectl rollout ...`, in a process of its own."""

    options: Sequence[str]  # of every command
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, seconds: float = SETTLE_S) -> Done:
        """Return how a command ended; RuntimeError where it does not within time."""
        code = "from fleet.main import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words, *self.options],
            cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **self.environment},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[tuple[float, dict[str, Any]]] = []
        try:
            # the command ends by itself (--seconds); this is for when it does not
            lines.extend((time.monotonic(), json.loads(one)) for one in process.stdout)
            return Done(process.wait(seconds), lines, process.stderr.read().strip())
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def step(name: str, operator: Operator, words: Sequence[str], world: World) -> Step:
    """Run one watched command and wait until every device has dealt with it."""
    world.workers.mark()
    world.say(f"{name}: {' '.join(words)}")
    done = operator.run(*words)
    if done.code not in {0, 1} or not done.lines:
        raise RuntimeError(f"{' '.join(words)}: {done.error}")
    told = settled(world.workers, world.devices * (2 if done.code else 1))
    first_s = told["first_message_s"]
    world.say(f"{done.code} {done.error} {done.last.get('outcomes')} {told}")
    moments = [(at - first_s, line.get("outcomes", {})) for at, line in done.lines]
    return Step(
        name, done.last, moments, told, done.code, done.error,
        moments[-1][0] if moments else 0.0, told["last_ack_s"] - first_s,
        world.broker.memory_bytes()[1],
    )  # fmt: skip


@dataclass
class World:
    """What a step is run in."""

    broker: BenchBroker
    workers: Workers
    devices: int
    say: Callable[[str], None]


def settled(workers: Workers, bundles: int) -> dict[str, Any]:
    """Return the devices' counts once ``bundles`` came and nothing is left to do."""
    until_s = time.monotonic() + SETTLE_S
    while True:
        told = workers.told()
        busy = told["waiting"] or told["unacknowledged"] or told["trials"]
        if (told["received"] >= bundles and not busy) or time.monotonic() >= until_s:
            return told
        time.sleep(POLL_S)
