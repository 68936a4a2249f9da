"""What the demo starts: files, and command lines as a person would type them."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from typing import TYPE_CHECKING, Final

from agent.adapters.device_key import load_or_create
from agent.adapters.processes import free_port, run_once
from agent.adapters.status_client import fetch_page
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLEET: Final = "demo"
DEVICE: Final = "gateway-1"
RECIPIENTS: Final = ("oem-2026", "brakes-gmbh", "custodian-2026")
GROUP: Final = "239.74.163.2"  # python-can's udp_multicast; stays on this machine
BUSES: Final = ("can0", "can1", "can2")


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", f"from {module} import main; main()", *arguments]


class Stage:
    """One folder with everything in it, and how to start each part."""

    def __init__(self, folder: Path) -> None:
        """Choose free ports; nothing is written yet."""
        self.folder = folder
        self.broker_port = free_port()
        self.can_port = free_port()
        self.gateway = folder / "gateway"
        self.ledger = folder / "ledger.db"
        self.registry = folder / "devices"
        self._socket = str(self.gateway / "status.sock")

    # --- files ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make keys, cards, the device's identity and the broker's configuration."""
        if self.ledger.exists():
            raise BadInput(str(self.folder), "", "holds a demo already", "name another")
        cards = self.gateway / "cards"
        for folder in (cards, self.registry, self.folder / "keys"):
            folder.mkdir(parents=True, exist_ok=True)
        for name in RECIPIENTS:
            self._ctl("keys", "new", name, "--folder", str(self.folder / "keys"))
            shutil.copy(self.folder / "keys" / f"{name}.card.json", cards)
        state = self.gateway / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        key = load_or_create(state / "device.key", DEVICE).public_key()
        self._ctl(
            "devices", "add", DEVICE, base64.b64encode(key).decode(),
            "--registry", str(self.registry),
        )  # fmt: skip

    def _ctl(self, *arguments: str) -> str:
        code, output = run_once(_python("fleet.main", *arguments))
        if code:
            raise Unavailable("sluicectl", output.strip().splitlines()[-1])
        return output

    def configure(self) -> None:
        """Write the gateway's configuration; the plant has told its port by now."""
        buses = "".join(
            f'[[can]]\nname = "{name}"\ninterface = "udp_multicast"\n'
            f'channel = "{GROUP}"\nfd = {"true" if name == "can2" else "false"}\n'
            f"options = {{port = {self.can_port + number}}}\n"
            for number, name in enumerate(BUSES)
        )
        plant = self._plant_port().read_text().strip()
        (self.gateway / "sluicegate.toml").write_text(
            f'device = "{DEVICE}"\nfleet = "{FLEET}"\nstate_dir = "state"\n'
            'policy = "demo"\nbindings = ["sim-vehicle", "sim-plant"]\n'
            'recipients = "cards"\n'
            f'{buses}[[modbus]]\nname = "plc1"\nport = {plant}\n'
            f"[mqtt]\nport = {self.broker_port}\n"
            f'[metrics]\nsocket = "{self._socket}"\n'
        )

    # --- command lines ----------------------------------------------------------------

    def broker(self) -> list[str]:
        """Return mosquitto where it is installed, else iotcore; loopback only."""
        found = shutil.which("mosquitto") or shutil.which(
            "mosquitto", path="/usr/sbin:/usr/local/sbin"
        )
        if found:
            file = self.folder / "mosquitto.conf"
            file.write_text(
                f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\n"
                "persistence false\nlog_type error\nmax_queued_messages 0\n"
            )
            return [found, "-c", str(file)]
        file = self.folder / "rumqttd.toml"
        file.write_text(RUMQTTD.format(port=self.broker_port))
        return [
            sys.executable,
            "-c",
            IOTCORE,
            str(file),
        ]

    def vehicle(self) -> list[str]:
        """Return the simulated car, on three python-can buses."""
        return [
            sys.executable, "-m", "firmware_sim", "vehicle", "city-drive",
            "--interface", "udp_multicast", "--channel", GROUP,
            "--port", str(self.can_port), "--forever",
            "--truth", str(self.folder / "vehicle.truth.jsonl"),
        ]  # fmt: skip

    def plant(self) -> list[str]:
        """Return the simulated tank line with its PLC and inverter."""
        return [
            sys.executable, "-m", "firmware_sim", "plant", "tank-line", "--port", "0",
            "--port-file", str(self._plant_port()), "--forever",
            "--truth", str(self.folder / "plant.truth.jsonl"),
        ]  # fmt: skip

    def agent(self) -> list[str]:
        """Return the daemon."""
        return _python("agent.main", "run", "-c", str(self.gateway / "sluicegate.toml"))

    def collector(self) -> list[str]:
        """Return the operator's receiving end, with the keys of both recipients."""
        keys: Sequence[str] = [
            word
            for name in RECIPIENTS[:2]
            for word in ("--keys", str(self.folder / "keys" / f"{name}.key.json"))
        ]
        return _python(
            "fleet.main", "collect", "--fleet", FLEET,
            "--broker", f"127.0.0.1:{self.broker_port}", *keys,
            "--devices", str(self.registry), "--ledger", str(self.ledger), "--json",
        )  # fmt: skip

    def verification(self) -> list[str]:
        """Return the check of the whole ledger."""
        return _python(
            "fleet.main", "audit", "verify", "--ledger", str(self.ledger),
            "--devices", str(self.registry), "--json",
        )  # fmt: skip

    # --- looking ----------------------------------------------------------------------

    def _plant_port(self) -> Path:
        return self.folder / "plant.port"

    def has_plant(self) -> bool:
        """Tell whether the plant has told its port."""
        return self._plant_port().exists()

    def status(self) -> dict[str, object]:
        """Return the agent's state; empty while it does not answer."""
        try:
            page = fetch_page(self._socket, 0, "/status")
        except Unavailable:
            return {}
        state: dict[str, object] = json.loads(page)
        return state

    def metrics(self) -> str:
        """Return the agent's Prometheus page; empty while it does not answer."""
        try:
            return fetch_page(self._socket, 0, "/metrics").decode()
        except Unavailable:
            return ""

    def is_ready(self) -> bool:
        """Tell whether the agent answers and has a broker."""
        return bool(self.status().get("online"))

    def is_drained(self) -> bool:
        """Tell whether nothing waits on the gateway any more."""
        return self.status().get("spool_records") == 0

    def collected(self) -> dict[str, object]:
        """Return the collector's last word of itself."""
        file = self.folder / "collector.log"
        if not file.exists():
            return {}
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 16_384))
            lines = stream.read().decode("utf-8", "replace").splitlines()
        for line in reversed(lines):
            if line.startswith("{") and line.endswith("}"):
                found: dict[str, object] = json.loads(line)
                return found
        return {}

    def is_collecting(self) -> bool:
        """Tell whether the collector is connected."""
        return self.collected().get("online") is True


IOTCORE: Final = (
    "import sys; from iotcore import IotCoreBroker;"
    " IotCoreBroker(config_path=sys.argv[1]).run_forever()"
)
# rumqttd (in the iotcore wheel) with the sizes that envelopes need; MQTT 5 listener.
RUMQTTD: Final = """\
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2097152
max_inflight_count = 100
dynamic_filters = true
"""
