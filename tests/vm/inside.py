"""In the guest: runs the step that the host ordered, tells how it ended.

``python3 -m tests.vm.inside``, started by vm-step.service. The order is a file in the
folder that guest and host share; so is everything that comes back.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Final

from tests.vm.guest import RUN, Guest

OVER: Final = "vm: the step is over"  # the console's last line; the host waits for it


def main() -> int:
    """Run one step; 0 where it ran to its end."""
    console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
    for number in (1, 2):
        os.dup2(console, number)
    order = json.loads((RUN / "order.json").read_text())
    module = importlib.import_module(f"tests.vm.scenarios.{order['scenario']}")
    status = "done"
    try:
        getattr(module, order["step"])(Guest(), **order["words"])
    except BaseException:  # noqa: BLE001  # whatever ends a step must reach the host
        traceback.print_exc()
        status = traceback.format_exc().splitlines()[-1]
    if status != "done":
        with (RUN / "journal.txt").open("wb") as file:
            words = ["journalctl", "-b", "--no-pager", "-o", "short-monotonic"]
            subprocess.run(words, stdout=file, check=False)
    (RUN / "status").write_text(status)
    print(OVER, flush=True)
    if order["power_off"]:
        subprocess.run(["systemctl", "poweroff", "--no-block"], check=True)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.exit(main())
