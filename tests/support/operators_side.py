"""The operator's own programs beside a gateway: `sluicectl collect`, `audit verify`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from agent.adapters.device_key import load_or_create
from fleet.keys import save
from fleet.registry import add_device

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway

SLUICECTL = (
    sys.executable, "-c", "import sys; from fleet.main import main; sys.exit(main())",
)  # fmt: skip


class Operator:
    """Who receipts in place of the gateway's own collector, which only watches."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        gateway.collector.mute = True
        enrolled = folder / "devices"
        enrolled.mkdir()
        signer = load_or_create(gateway.state / "device.key", gateway.device)
        add_device(enrolled, gateway.device, signer.public_key())
        self._books = ("--ledger", str(folder / "ledger.db"), "-d", str(enrolled))
        keys = []
        for one in gateway.keys:
            save(one, folder / f"{one.name}.key.json")
            keys += ["-k", str(folder / f"{one.name}.key.json")]
        broker = f"127.0.0.1:{gateway.broker.port}"
        self._collect = ("collect", "--fleet", gateway.fleet, "--broker", broker, *keys)

    def collecting(self) -> subprocess.Popen[bytes]:
        """Start `sluicectl collect`; who starts it ends it."""
        return subprocess.Popen(
            [*SLUICECTL, *self._collect, *self._books, "--json"],
            stdout=subprocess.DEVNULL,
        )

    def audit(self) -> tuple[int, str]:
        """Return the exit code of `sluicectl audit verify`, and what it says."""
        done = subprocess.run(
            [*SLUICECTL, "audit", "verify", *self._books],
            capture_output=True, check=False, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr
