"""What a scenario uses on the host: machines, disks, the plug, and what was found."""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.vm.guest import Failed, note
from tests.vm.inside import OVER
from tests.vm.machine import Hardware, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT: Final = Path(__file__).parents[2]
OFF_LIMIT_S: Final = 60


@dataclass
class Host:
    """The host's side of one scenario; everything of it lies in ``folder``."""

    scenario: str
    folder: Path
    image: Path
    packages: Path  # folder of .deb files: sluicegate.deb, and perhaps previous.deb
    installed: Path | None = None  # a disk on which the package is installed
    cpu: int | None = None
    memory_mb: int = 768
    boots: int = field(default=0, init=False)

    def disk(self, name: str = "disk", *, blank: bool = False) -> Path:
        """Return a new disk: a copy of the installed gateway, or the bare image."""
        disk = self.folder / name / "cow"
        disk.parent.mkdir()
        if not blank:
            if self.installed is None:
                raise Failed("no gateway is installed: the scenario `install` failed")
            copy_disk(self.installed, disk)
        return disk

    @contextlib.contextmanager
    def boot(
        self,
        step: str,
        disk: Path,
        *,
        power_off: bool = False,
        memory_mb: int | None = None,
        **words: Any,
    ) -> Iterator[Machine]:
        """Boot a machine that runs a step of the scenario's file; cut it at the end."""
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        (run / "status").unlink(missing_ok=True)
        order = {"scenario": self.scenario, "step": step, "words": words}
        (run / "order.json").write_text(json.dumps({**order, "power_off": power_off}))
        shares = {"project": PROJECT, "packages": self.packages, "run": run}
        hardware = Hardware(
            self.image,
            disk,
            shares,
            cpu=self.cpu,
            memory_mb=memory_mb or self.memory_mb,
        )
        self.boots += 1
        machine = Machine(hardware, self.folder / "console.txt")
        try:
            yield machine
        finally:
            machine.cut()

    def run(
        self,
        step: str,
        disk: Path | None = None,
        *,
        limit_s: float = 400,
        power_off: bool = False,
        **words: Any,
    ) -> None:
        """Boot, wait until the step is over, end the machine; Failed where it failed.

        ``power_off``: cleanly, as ``systemctl poweroff`` does; else the plug is pulled.
        """
        disk = disk or self.disk()
        with self.boot(step, disk, power_off=power_off, **words) as machine:
            machine.until(OVER, limit_s)
            if power_off:
                machine.wait_off(OFF_LIMIT_S)
        status = (self.folder / "run" / "status").read_text()
        if status != "done":
            raise Failed(f"step {step}: {status}")

    def check(self, what: str, holds: object, **figures: object) -> bool:
        """Note that something was shown, or was not."""
        (self.folder / "run").mkdir(exist_ok=True)  # perhaps nothing was booted
        note(self.folder / "run" / "results.jsonl", what, bool(holds), figures)
        return bool(holds)

    def results(self) -> list[dict[str, Any]]:
        """Return what the scenario noted on both sides, in order."""
        file = self.folder / "run" / "results.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines()]


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk without filling its holes."""
    subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True)
