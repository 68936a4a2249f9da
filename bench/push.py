"""Policy published to enforced: from a bundle's PUBLISH to the signed ack of it.

Through a real mosquitto, to a daemon that reads three simulated buses meanwhile. The
ack ``trial`` is sent once the policy decides, durably, its evidence entry committed.

Run alone: ``python -m bench.push``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.row import Row
from tests.support.broker import mosquitto
from tests.support.gateway import REST, SPEED, Gateway
from tests.support.pushing import Fleet

RUNS = 7
BUDGET_S = 2.0
LOOK_S = 0.002
PATIENCE_S = 30.0
WHAT = "policy published to enforced, signed ack received, 3 buses driving"


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's row for a pushed policy; ``data`` is not used."""
    del data
    if mosquitto() is None:
        return [Row(WHAT, "NOT MEASURED", "", "mosquitto is not here", "", "", None)]
    with tempfile.TemporaryDirectory() as folder:
        taken = _pushed(Path(folder))
    seconds = statistics.median(taken)
    return [
        Row(
            what=WHAT,
            ours=f"{seconds:.2f} s (worst {max(taken):.2f} s)",
            peer="",
            peer_value="",
            ratio="",
            budget=f"<= {BUDGET_S:.0f} s",
            met=seconds <= BUDGET_S,
        )
    ]


def _pushed(folder: Path) -> list[float]:
    fleet, taken = Fleet(), []
    with Gateway(folder, fleet.settings()) as gateway:
        fleet.attach(gateway)
        gateway.drive()
        gateway.start()
        fleet.until(lambda ack: ack.state == "local")
        for version in range(2, 2 + RUNS):
            rules = REST if version % 2 else SPEED + REST
            message = fleet.signed(version, rules)
            start = time.perf_counter()
            fleet.send(message)
            _until(fleet, version, "trial")
            taken.append(time.perf_counter() - start)
            _until(fleet, version, "active")
        fleet.detach()
    return taken


def _until(fleet: Fleet, version: int, state: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for ack in reversed([*fleet.acks]):
            if (ack.state, ack.candidate_version) == (state, version):
                return
        time.sleep(LOOK_S)
    raise RuntimeError(f"no ack of {state} for version {version}")


if __name__ == "__main__":
    for found in rows(Path()):
        print(" | ".join(str(cell) for cell in found))
    sys.exit(0)
