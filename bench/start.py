"""Start to ready: from the fork of `sluicegate run` to READY=1 on its notify socket.

Run alone: ``python -m bench.start``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench import daemon
from bench.row import Row

RUNS = 7
BUDGET_S = 1.5


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's row for start to ready; ``data`` is not used."""
    del data
    taken = []
    with tempfile.TemporaryDirectory() as temporary:
        config = daemon.prepare(Path(temporary), None)
        for _ in range(RUNS):
            with daemon.running(config) as agent:
                taken.append(agent.start_s)
    seconds = statistics.median(taken)
    return [
        Row(
            what="start to ready, passenger-fleet, 3 databases, 3 buses",
            ours=f"{seconds:.2f} s (worst {max(taken):.2f} s)",
            peer="",
            peer_value="",
            ratio="",
            budget=f"<= {BUDGET_S} s",
            met=seconds <= BUDGET_S,
        )
    ]


if __name__ == "__main__":
    for found in rows(Path()):
        print(" | ".join(str(cell) for cell in found))
    sys.exit(0)
