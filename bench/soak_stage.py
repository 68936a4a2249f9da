"""What the soak starts: the demo's stage with a proxied link, masters, an own policy.

The policy is the demo's with a firewall for the proxied link; every reload writes it
with the next version, so that SIGHUP is a real swap.
"""

from __future__ import annotations

import sys
from importlib import resources
from typing import TYPE_CHECKING, Final

from agent.adapters.processes import free_port
from agent.commands.demo_parts import GROUP, Stage

if TYPE_CHECKING:
    from pathlib import Path

SPEED: Final = "0.3"  # of the simulated drive: about 300 frames/s
MASTERS: Final = 2
PAUSE_S: Final = "0.2"  # between two requests of one master
TELEMETRY: Final = "telemetry: {interval: 10s, checkpoint: 10s}"
FIREWALL: Final = """
modbus:
  default: deny
  mode: enforce
  on_failure: refuse
  answer: exception
  clients:
    hmi: {addresses: [127.0.0.7]}
  rules:
    - {name: values, from: hmi, to: plc2, unit: 1, fc: 4, addr: [0, 19]}
    - {name: level, from: hmi, to: plc2, unit: 1, fc: 16, addr: [0, 1], rate: 120/min}
"""


class SoakStage(Stage):
    """One folder with everything in it; two plants, one of them behind our proxy."""

    def __init__(self, folder: Path) -> None:
        """Choose free ports; nothing is written yet."""
        super().__init__(folder)
        self.proxy_port = free_port()
        self.version = 0

    @property
    def store(self) -> Path:
        """Return the agent's database."""
        return self.gateway / "state" / "store.db"

    def next_policy(self) -> None:
        """Write the policy with the next version."""
        self.version += 1
        text = resources.files("policies").joinpath("examples/demo.yaml").read_text()
        lines = [
            f"version: {self.version}" if line.startswith("version:") else line
            for line in text.splitlines()
            if not line.startswith("telemetry:")
        ]
        whole = "\n".join([*lines, TELEMETRY]) + FIREWALL
        (self.gateway / "soak.yaml").write_text(whole)

    def configure(self) -> None:
        """Write policy and configuration; both plants have told their ports."""
        super().configure()
        self.next_policy()
        file = self.gateway / "sluicegate.toml"
        plant = (self.folder / "plant2.port").read_text().strip()
        text = file.read_text().replace('policy = "demo"', 'policy = "soak.yaml"')
        link = (
            f'[[modbus]]\nname = "plc2"\nmode = "proxy"\nport = {plant}\n'
            f'listen = "127.0.0.1:{self.proxy_port}"\n'
        )
        eve = '[eve]\nfile = "eve.json"\nmax_bytes = 4194304\n'
        file.write_text(text.replace("[mqtt]\n", f"{link}{eve}[mqtt]\n"))

    def has_plant(self) -> bool:
        """Tell whether both plants have told their ports."""
        return super().has_plant() and (self.folder / "plant2.port").exists()

    def vehicle(self) -> list[str]:
        """Return the simulated car, slower than the demo's; it keeps no truth."""
        return [
            sys.executable, "-m", "firmware_sim", "vehicle", "city-drive",
            "--interface", "udp_multicast", "--channel", GROUP,
            "--port", str(self.can_port), "--forever", "--speed", SPEED,
        ]  # fmt: skip

    def plant(self) -> list[str]:
        """Return the plant that is polled."""
        return self._tank_line("plant")

    def plant2(self) -> list[str]:
        """Return the plant behind the proxy."""
        return self._tank_line("plant2")

    def _tank_line(self, name: str) -> list[str]:
        return [
            sys.executable, "-m", "firmware_sim", "plant", "tank-line", "--port", "0",
            "--port-file", str(self.folder / f"{name}.port"), "--forever",
        ]  # fmt: skip

    def master(self) -> list[str]:
        """Return one master that asks through the proxy."""
        return [
            sys.executable, "-m", "bench.soak_master", str(self.proxy_port), PAUSE_S,
        ]  # fmt: skip
