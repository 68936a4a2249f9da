"""What a scenario's steps use in the guest: commands, waiting, and what they found."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RUN: Final = Path("/mnt/host/run")  # shared with the host, which reads it
PACKAGES: Final = Path("/mnt/host/packages")  # the .deb files under test
PROJECT: Final = Path("/mnt/project")  # the checkout, read-only
PAUSE_S: Final = 0.05


class Failed(AssertionError):
    """A step could not go on."""


class Guest:
    """The machine that a step runs in."""

    def run(self, *command: str, limit_s: float = 120, ok: bool = True) -> str:
        """Run a command and return what it printed; Failed where it failed."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if ok and done.returncode:
            raise Failed(f"{' '.join(command)}: {done.returncode}\n{done.stdout}")
        return done.stdout

    def shell(self, script: str, limit_s: float = 120, ok: bool = True) -> str:
        """Run lines of sh, stopping at the first that fails."""
        return self.run("sh", "-ec", script, limit_s=limit_s, ok=ok)

    def until(self, what: str, holds: Callable[[], Any], limit_s: float = 90) -> Any:
        """Return the first true value of ``holds``; Failed where none comes."""
        end_s = time.monotonic() + limit_s
        while not (found := holds()):
            if time.monotonic() > end_s:
                raise Failed(f"not within {limit_s:g} s: {what}")
            time.sleep(PAUSE_S)
        return found

    def check(self, what: str, holds: object, **figures: object) -> bool:
        """Note that something was shown, or was not; the step goes on."""
        note(RUN / "results.jsonl", what, bool(holds), figures)
        return bool(holds)

    def need(self, what: str, holds: object, **figures: object) -> None:
        """Note it, and end the step where it does not hold."""
        if not self.check(what, holds, **figures):
            raise Failed(what)

    def say(self, text: str) -> None:
        """Print a line on the console: the host may wait for it, and cut the power."""
        print(text, flush=True)


def note(file: Path, what: str, holds: bool, figures: dict[str, object]) -> None:
    """Append one result to the scenario's file."""
    row = {"what": what, "ok": holds, **figures}
    with file.open("a") as stream:
        stream.write(json.dumps(row, default=str) + "\n")
