"""In the guest: the installed gateway, and an operator at the other end of a broker.

    site = Site(g)
    site.configure(policy=..., more=...)  # where the prepared files do not fit
    site.begin()                          # broker, agent, collector: it is online
    ...
    site.drained(); report = site.verified()

The disk that scenarios start from was prepared by `install`: the package is installed,
the gateway is named, enrolled and enabled, the buses vcan0 (classic) and vcan1 (FD)
come up at boot; broker and collector wait for ``begin``.

The agent is what the package installed. The operator's side is the checkout's, with the
packages that the agent's environment holds (it needs no others). Broker and collector
are units of systemd of their own, so that a step may stop, kill and restart them.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.vm.guest import PROJECT, Failed

if TYPE_CHECKING:
    from tests.vm.guest import Guest

SERVICE: Final = "sluicegate.service"
CONFIG: Final = Path("/etc/sluicegate")
STATE: Final = Path("/var/lib/sluicegate")
SOCKET: Final = "/run/sluicegate/status.sock"
OPERATOR: Final = Path("/srv/operator")  # of the other side; the gateway never reads it
PYTHON: Final = "/usr/lib/sluicegate/bin/python3"
PORT: Final = 1883
RECIPIENTS: Final = ("oem-2026",)
DEVICE: Final = "gateway-1"
FLEET: Final = "vm"

# One signal per frame, counted up by `cangen -D i`; every sample goes out as it is.
DATABASE: Final = """\
VERSION ""
NS_ :
BS_:
BU_: SENDER
BO_ 291 CLASSIC: 8 SENDER
 SG_ COUNTER : 0|32@1+ (1,0) [0|4294967295] "V" SENDER
BO_ 292 FLEXIBLE: 64 SENDER
 SG_ COUNTER_FD : 0|32@1+ (1,0) [0|4294967295] "A" SENDER
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","StandardCAN_FD";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 292 2;
"""
CLASSIC: Final = "Vehicle.Powertrain.TractionBattery.CurrentVoltage"
FLEXIBLE: Final = "Vehicle.Powertrain.TractionBattery.CurrentCurrent"
BINDINGS: Final = f"""\
schema: sluicegate/bindings/1
name: vm
can:
  - bus: can0
    database: vm.dbc
    signals: {{CLASSIC.COUNTER: {CLASSIC}}}
  - bus: can1
    database: vm.dbc
    signals: {{FLEXIBLE.COUNTER_FD: {FLEXIBLE}}}
"""
POLICY: Final = """\
schema: sluicegate/policy/1
name: vm
version: 1
min_version: 1
catalogues: [cn-auto]
home_region: CN
destinations:
  oem: {region: CN, recipients: [oem-2026], suite: x25519-aes256gcm}
rules:
  - {name: events, match: {category: security.event}, to: oem, purpose: watching,
     do: [encrypt]}
  - {name: battery, match: {category: energy.state}, to: oem, purpose: safety,
     do: [encrypt]}
retention: {default: 1d}
telemetry: {interval: 1s, checkpoint: 1s}
"""


@dataclass(frozen=True)
class Bus:
    """A bus of the gateway on a virtual CAN interface."""

    name: str
    interface: str
    fd: bool = False


BUSES: Final = (Bus("can0", "vcan0"), Bus("can1", "vcan1", fd=True))


class Site:
    """A gateway and its operator, in one machine."""

    def __init__(self, g: Guest) -> None:
        """Take the machine; what an earlier boot of its disk left is still there."""
        self.g = g
        self._changed = False  # the gateway's files, since the service read them

    # --- before the start -------------------------------------------------------------

    def prepare(self) -> None:
        """Make the operator's keys and units, and this gateway a device of theirs.

        Scenarios start from a disk on which this is done.
        """
        OPERATOR.mkdir()
        for name in RECIPIENTS:
            self.ctl("keys", "new", name, "--folder", str(OPERATOR))
        (OPERATOR / "mosquitto.conf").write_text(MOSQUITTO)
        for name, text in UNITS.items():
            Path(f"/etc/systemd/system/{name}.service").write_text(text)
        self.drop_in("TimeoutStartSec=5min")  # on a busy host a start takes its time
        self.g.run("systemctl", "enable", "--now", "buses")
        # The package's gateway has no name yet; its log would be of another device.
        self.g.run("systemctl", "stop", SERVICE)
        for entry in STATE.glob("*"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.configure()
        self.restart()
        words = ("runuser", "-u", "sluicegate", "--", "sluicegate", "identity")
        folder = str(OPERATOR / "devices")
        self.ctl("devices", "add", *self.g.run(*words).split(), "--registry", folder)

    def forget(self) -> None:
        """Take away the units that ``prepare`` made: they are not the package's."""
        self.g.run("systemctl", "stop", *UNITS, ok=False)
        self.g.run("systemctl", "disable", "buses", ok=False)
        for name in UNITS:
            Path(f"/etc/systemd/system/{name}.service").unlink()
        shutil.rmtree(f"/etc/systemd/system/{SERVICE}.d")
        self.g.run("systemctl", "daemon-reload")

    def configure(
        self,
        buses: tuple[Bus, ...] = BUSES,
        *,
        policy: str = POLICY,
        bindings: str = BINDINGS,
        host: str = "127.0.0.1",
        keepalive_s: int = 30,
        more: str = "",
    ) -> None:
        """Write the gateway's files; ``restart`` or ``begin`` has them read."""
        cards = CONFIG / "cards"
        cards.mkdir(exist_ok=True)
        for name in RECIPIENTS:
            shutil.copy(OPERATOR / f"{name}.card.json", cards)
        (CONFIG / "policy.yaml").write_text(policy)
        (CONFIG / "vm.bindings.yaml").write_text(bindings)
        (CONFIG / "vm.dbc").write_text(DATABASE)
        sources = "".join(
            f'[[can]]\nname = "{bus.name}"\ninterface = "socketcan"\n'
            f'channel = "{bus.interface}"\nfd = {str(bus.fd).lower()}\n'
            for bus in buses
        )
        (CONFIG / "sluicegate.toml").write_text(
            f'device = "{DEVICE}"\nfleet = "{FLEET}"\nstate_dir = "{STATE}"\n'
            'policy = "policy.yaml"\nbindings = ["vm.bindings.yaml"]\n'
            f'databases = "."\nrecipients = "cards"\n{sources}'
            f'[mqtt]\nhost = "{host}"\nport = {PORT}\nkeepalive_s = {keepalive_s}\n'
            f'[metrics]\nsocket = "{SOCKET}"\n{more}'
        )
        self.g.shell(
            f"chown -R root:sluicegate {CONFIG}; chmod -R u=rwX,g=rX,o= {CONFIG}"
        )
        self._changed = True

    def buses_up(self, buses: tuple[Bus, ...] = BUSES) -> None:
        """Make the virtual buses that are not there and bring them up."""
        for bus in buses:
            name = bus.interface
            self.g.shell(
                f"ip link show {name} >/dev/null 2>&1 ||"
                f" ip link add {name} mtu 72 txqueuelen 1000 type vcan;"
                f" ip link set {name} up"
            )

    def begin(self) -> None:
        """Have everything run: broker, agent (with its newest files), collector."""
        self.broker()
        if self._changed or not self.is_active():
            self.restart()
        self.collector()
        self.g.until("the gateway is online", lambda: self.status().get("online"))

    # --- the operator's side ----------------------------------------------------------

    def ctl(self, *arguments: str, limit_s: float = 120, ok: bool = True) -> str:
        """Run `sluicectl` of the checkout."""
        return self.g.run(*CTL, *arguments, limit_s=limit_s, ok=ok)

    def broker(self) -> None:
        """Start mosquitto, the unit `broker`."""
        self.g.run("systemctl", "start", "broker")

    def collector(self) -> None:
        """Start `sluicectl collect`, the unit `collector`."""
        self.g.run("systemctl", "start", "collector")

    def verified(self, *more: str) -> dict[str, Any]:
        """Return what `sluicectl audit verify` says of the device, stopped meanwhile.

        One that runs has said more than has come, at every moment.
        """
        was_active = self.is_active()
        self.g.run("systemctl", "stop", SERVICE)
        words = ("--ledger", str(LEDGER), "--devices", str(OPERATOR / "devices"))
        text = self.ctl("audit", "verify", *words, *more, "--json", ok=False)
        if was_active:
            self.restart()
        try:
            report: dict[str, Any] = json.loads(text)  # one line a device
        except ValueError:
            raise Failed(f"audit verify: {text}") from None
        return report

    def opened(self, item: str) -> list[float]:
        """Return the values of an item that the collector opened, by time."""
        rows = self.ledger(
            "SELECT value FROM samples WHERE item = ? ORDER BY time_ns, value", item
        )
        return [row[0] for row in rows]

    def came(self, item: str, numbers: range) -> int:
        """Return how many of these numbers the collector has opened, each once."""
        query = "SELECT count(*) FROM samples WHERE item = ? AND value BETWEEN ? AND ?"
        try:
            rows = self.ledger(query, item, numbers[0], numbers[-1])
        except sqlite3.OperationalError:  # the collector is still making its tables
            return 0
        return int(rows[0][0]) if rows else 0

    def ledger(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the collector's ledger; nothing while the collector has made none."""
        if not LEDGER.exists():
            return []
        connection = sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    # --- the gateway ------------------------------------------------------------------

    def drop_in(self, *lines: str) -> None:
        """Change the unit for this machine; takes effect at the next start."""
        folder = Path(f"/etc/systemd/system/{SERVICE}.d")
        folder.mkdir(exist_ok=True)
        name = f"{len(list(folder.iterdir())):02}-vm.conf"
        (folder / name).write_text("\n".join(("[Service]", *lines, "")))
        self.g.run("systemctl", "daemon-reload")

    def restart(self) -> None:
        """Start the service anew and wait until it is ready."""
        self.g.run("systemctl", "reset-failed", SERVICE, ok=False)
        self.g.run("systemctl", "restart", SERVICE, limit_s=300)
        self._changed = False

    def shown(self, name: str) -> str:
        """Return a property of the service, as systemd has it."""
        words = ("show", SERVICE, f"--property={name}", "--value")
        return self.g.run("systemctl", *words).strip()

    def send(self, numbers: range, *, fd: bool = False, pause_s: float = 0.0) -> None:
        """Send a frame for each number, as `cangen -D i` does from 0 on."""
        bus, ident, width = ("vcan1", 0x124, 64) if fd else ("vcan0", 0x123, 8)
        with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as sender:
            sender.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
            sender.bind((bus,))
            for number in numbers:
                payload = number.to_bytes(8, "little").ljust(width, b"\0")
                sender.send(struct.pack("=IBxxx", ident, width) + payload)
                if pause_s:
                    time.sleep(pause_s)

    def pid(self) -> int:
        """Return the daemon's process; 0 while there is none."""
        return int(self.shown("MainPID"))

    def is_active(self) -> bool:
        """Tell whether the daemon is up and has said that it is ready."""
        return self.shown("ActiveState") == "active"

    def page(self, name: str) -> str:
        """Return a page of the status socket; "" where nobody answers."""
        url = f"http://localhost/{name}"
        words = ("-fsS", "--max-time", "5", "--unix-socket", SOCKET, url)
        text = self.g.run("curl", *words, ok=False)
        return "" if text.startswith("curl:") else text

    def status(self) -> dict[str, Any]:
        """Return the state of the agent; empty while it does not answer."""
        page = self.page("status")
        return json.loads(page) if page else {}

    def problems(self) -> str:
        """Return what the agent says is wrong, in one line."""
        return "; ".join(self.status().get("problems", ()))

    def metric(self, name: str, having: str = "") -> float:
        """Return the sum of a metric over its labels; 0 where nobody answers.

        ``having``: only of rows with this regular expression in their labels.
        """
        rows = [
            line.rsplit(" ", 1)
            for line in self.page("metrics").splitlines()
            if line.split("{", 1)[0].split(" ", 1)[0] == f"sluicegate_{name}"
            and re.search(having, line)
        ]
        return sum(float(value) for _, value in rows)

    def samples(self) -> int:
        """Return the samples of buses that were decided upon; events are no frames."""
        having = r'destination="oem",(?!.*rule="events")'
        return int(self.metric("samples_total", having))

    def read(self, count: int) -> None:
        """Wait until ``count`` samples were read and decided upon."""
        self.g.until(f"{count} samples are read", lambda: self.samples() >= count)

    def drained(self, limit_s: float = 120) -> None:
        """Wait until nothing is spooled and the collector has the whole log."""
        self.g.until(
            "everything has left and is receipted",
            lambda: (
                self.status().get("spool_records") == 0
                and self.metric("evidence_entries")
                == self.metric("evidence_entries_received")
            ),
            limit_s,
        )


LEDGER: Final = OPERATOR / "ledger.db"
CTL: Final = (PYTHON, "-c", "from fleet.main import main; main()")
ENVIRONMENT: Final = (
    f"PYTHONPATH={PROJECT}", "PYTHONPYCACHEPREFIX=/var/cache/vm-pyc", "HOME=/root",
)  # fmt: skip
MOSQUITTO: Final = f"""\
listener {PORT} 127.0.0.1
allow_anonymous true
persistence false
log_dest stderr
log_type error
max_queued_messages 0
user root
"""
KEYS: Final = " ".join(f"--keys {OPERATOR}/{name}.key.json" for name in RECIPIENTS)
UNITS: Final = {
    "buses": f"""\
[Unit]
Before={SERVICE}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=modprobe -a vcan can_raw
"""
    + "".join(
        f"ExecStart=ip link {words}\n"
        for name in ("vcan0", "vcan1")
        for words in (
            f"add {name} mtu 72 txqueuelen 1000 type vcan",
            f"set {name} up",
        )
    )
    + "[Install]\nWantedBy=multi-user.target\n",
    "broker": f"""\
[Service]
ExecStart=mosquitto -c {OPERATOR}/mosquitto.conf
""",
    "collector": f"""\
[Unit]
After=broker.service
[Service]
Environment={" ".join(ENVIRONMENT)}
ExecStart={CTL[0]} {CTL[1]} "{CTL[2]}" collect --fleet {FLEET} {KEYS} \
  --broker 127.0.0.1:{PORT} --devices {OPERATOR}/devices --ledger {LEDGER}
""",
}
