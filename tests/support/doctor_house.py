"""A gateway's files and a machine, all of it good; a test spoils one thing.

What a fix line says is done by ``House.follow``: commands of the machine (``ip``,
``sysctl``, ``systemctl``, ``timedatectl``) change the machine that the doctor is given,
other commands are run by a shell, and fields are set in the configuration.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import subprocess
import time
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.commands.doctor.context import Context, User
from agent.commands.doctor.host import ARPHRD_CAN, Disk, Host, Mount
from agent.commands.doctor.runner import examined
from agent.commands.doctor.table import CHECKS, select
from fleet.keys import generate
from protocols.recipients import encode_card
from tests.policies.building import policy_of, rule_of
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.commands.doctor.model import Row

DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
"""
BINDINGS = """schema: sluicegate/bindings/1
name: small
can:
  - bus: can0
    database: small.dbc
    signals:
      SPEEDS.FRONT: {item}
"""
EVENTS = rule_of("events", match={"category": "security.event"})
SPEED = rule_of("speed", match={"item": "Vehicle.Speed"})
GIB = 2**30
NAMES = ("oem-key", "de-key", "keeper")
STEP = re.compile(r"\b(run|set|remove) `([^`]+)`(?: under `([^`]+)`)?")


@dataclass(frozen=True)
class Clock:
    """A wall clock that stands at what the test says."""

    wall_ns: int
    synchronised: bool = True

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return 0

    def cpu_ns(self) -> int:
        return 0

    def is_synchronised(self) -> bool:
        return self.synchronised

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@dataclass(frozen=True)
class Link:
    """A CAN interface, as ``agent.commands.doctor.host.CanLink`` wants it."""

    up: bool = True
    state: str = "error-active"
    bitrate: int = 500_000
    data_bitrate: int = 0
    restart_ms: int = 100
    listen_only: bool = True
    mtu: int = 16


class Machine(Host):
    """A machine that is all right, and that obeys the commands of fix lines."""

    def __init__(self) -> None:
        self.clock = Clock(time.time_ns())
        self.links: dict[str, Link] = {}
        self.has_can = True
        self.settings = {"net.core.rmem_max": 4 * 2**20}
        self.zone_name = "UTC"
        self.has_rtc = True
        self.mounted = Mount("/", "ext4", False)
        self.room = Disk(100 * GIB, 200 * GIB, 10**6, 2 * 10**6)
        self.names: set[str] = set()  # that DNS knows not
        self.properties: dict[str, str] = {}
        self.done: list[str] = []  # commands that changed nothing in here

    # --- what it is asked -----------------------------------------------------------

    def can_reason(self) -> str:
        return "" if self.has_can else "Address family not supported by protocol"

    def link_kind(self, interface: str) -> int:
        return ARPHRD_CAN if interface in self.links else -1

    def link(self, interface: str) -> Link | None:
        return self.links.get(interface)

    def can_interfaces(self) -> list[str]:
        return sorted(self.links)

    def sysctl(self, name: str) -> int:
        return self.settings.get(name, -1)

    def zone(self) -> str:
        return self.zone_name

    def rtc(self) -> bool:
        return self.has_rtc

    def mount(self, path: Path) -> Mount:
        return self.mounted

    def disk(self, path: Path) -> Disk:
        return self.room

    def resolve(self, name: str, port: int) -> None:
        if name in self.names:
            raise OSError(-2, "Name or service not known")

    def unit(self) -> dict[str, str]:
        return dict(self.properties)

    # --- what it obeys --------------------------------------------------------------

    def obey(self, command: str) -> bool:
        """Do what a command says; False where it is none of the machine's."""
        words = shlex.split(command)
        handler = getattr(self, f"_{words[0]}", None)
        if handler is None:
            return False
        handler(words[1:], command)
        return True

    def _ip(self, words: list[str], command: str) -> None:
        if words[:3] == ["link", "add", "dev"]:
            assert words[4:] == ["type", "vcan"], command
            self.links[words[3]] = Link(up=False, bitrate=0, restart_ms=0, state="")
            return
        assert words[:3] == ["link", "set", "dev"], command
        name, rest = words[3], words[4:]
        link = self.links[name]
        while rest:
            word = rest.pop(0)
            if word in {"up", "down"}:
                link = replace(link, up=word == "up")
            elif word == "mtu":
                assert not link.up, f"{command}: busy"
                link = replace(link, mtu=int(rest.pop(0)))
            elif word == "restart":
                assert link.state == "bus-off", command
                link = replace(link, state="error-active")
            elif word == "type":
                assert rest.pop(0) == "can", command
            else:
                assert not link.up, f"{command}: busy"
                link = replace(link, **_controller(word, rest.pop(0)))
        self.links[name] = link

    def _modprobe(self, words: list[str], command: str) -> None:
        assert words == ["can_raw"], command
        self.has_can = True

    def _sysctl(self, words: list[str], command: str) -> None:
        name, _, value = words[1].partition("=")
        self.settings[name] = int(value)

    def _timedatectl(self, words: list[str], command: str) -> None:
        if words[0] == "set-timezone":
            self.zone_name = words[1]
        else:
            assert words == ["set-ntp", "true"], command
            self.clock = Clock(time.time_ns())

    def _mount(self, words: list[str], command: str) -> None:
        assert words == ["-o", "remount,rw", self.mounted.point], command
        self.mounted = replace(self.mounted, read_only=False)

    def _systemctl(self, words: list[str], command: str) -> None:
        if words[0] in {"start", "restart"} and self.properties:
            self.properties["ActiveState"] = "active"
        elif words[0] == "enable":
            if "systemd-timesyncd" in words:
                self.has_rtc = True  # the saved time stands in for it
            elif self.properties:
                self.properties["UnitFileState"] = "enabled"
        self.done.append(command)

    def _printf(self, words: list[str], command: str) -> None:
        assert re.match(r"/etc/systemd/system/sluicegate\.service\.d/", words[2])
        assert words[1] == ">", command
        for line in words[0].replace("\\n", "\n").splitlines()[1:]:
            name, _, value = line.partition("=")
            self.properties[_shown(name)] = _told(value)

    def _mkdir(self, words: list[str], command: str) -> None:
        assert words == ["-p", "/etc/systemd/system/sluicegate.service.d"], command

    def _echo(self, words: list[str], command: str) -> None:
        assert words[-1].startswith("/etc/sysctl.d/"), command

    def _journalctl(self, words: list[str], command: str) -> None:
        self.done.append(command)

    def _usermod(self, words: list[str], command: str) -> None:
        self.done.append(command)

    def _sluicectl(self, words: list[str], command: str) -> None:
        self.done.append(command)

    def _sluicegate(self, words: list[str], command: str) -> None:
        self.done.append(command)


def _controller(word: str, value: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "bitrate": ("bitrate", int), "dbitrate": ("data_bitrate", int),
        "restart-ms": ("restart_ms", int),
    }  # fmt: skip
    if word == "fd":
        return {"mtu": 72 if value == "on" else 16}
    if word == "listen-only":
        return {"listen_only": value == "on"}
    name, kind = fields[word]
    return {name: kind(value)}


def _shown(setting: str) -> str:
    """Return what ``systemctl show`` calls a setting."""
    return setting.replace("Sec", "USec") if setting.startswith("Watchdog") else setting


def _told(value: str) -> str:
    if re.fullmatch(r"\d+M", value):
        return str(int(value[:-1]) * 2**20)
    return value


class House:
    """Files of a gateway; ``sections`` are what the configuration has."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.machine = Machine()
        self.user = User.current()
        self.sections: dict[str, dict[str, str]] = {
            "": {
                "device": '"gw-1"', "fleet": '"test"', "state_dir": '"state"',
                "policy": '"policy.yaml"', "bindings": '["small.bindings.yaml"]',
                "databases": '"."', "recipients": '"cards"',
            },
            "[[can]] can0": {"name": '"can0"', "interface": '"virtual"'},
            "[mqtt]": {"port": str(port)},
            "[spool]": {"max_bytes": "4194304"},
            "[metrics]": {"socket": '"status.sock"'},
        }  # fmt: skip
        self.configure()
        self.write("small.dbc", DBC)
        self.write("small.bindings.yaml", BINDINGS.format(item="Vehicle.Speed"))
        self.policy()
        (folder / "cards").mkdir(mode=0o755)
        self.state.mkdir(mode=0o700)
        for name in NAMES:
            self.card(name)

    # --- files ----------------------------------------------------------------------

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "gw.toml"

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
        return file

    def policy(self, *rules: dict[str, Any], **more: Any) -> None:
        chosen = list(rules or (EVENTS, SPEED))
        self.write("policy.yaml", policy_of(rules=chosen, **more).decode())

    def card(self, name: str, days: int = 3000) -> None:
        today = dt.datetime.now(dt.UTC).date()  # the doctor asks the machine's clock
        keys = generate(name, dt.date(2026, 1, 1), today + dt.timedelta(days))
        file = self.folder / "cards" / f"{name}.card.json"
        file.write_bytes(encode_card(keys.card()))
        file.chmod(0o644)

    def store(self) -> Path:
        """Make the store; return its file."""
        opened(self.state / "store.db").close()
        return self.state / "store.db"

    def set(self, field: str, value: str, section: str = "") -> None:
        """Set a field (its value as TOML has it); "" removes it."""
        fields = self.sections.setdefault(section, {})
        if section.startswith("[["):
            fields.setdefault("name", f'"{section.split()[1]}"')
        fields[field] = value
        if not value:
            del fields[field]
        self.configure()

    def configure(self) -> None:
        lines: list[str] = []
        for section, fields in self.sections.items():
            lines += [section.split(" ")[0]] if section else []
            lines += [f"{name} = {value}" for name, value in fields.items()]
        self.write("gw.toml", "\n".join(lines) + "\n")

    # --- the doctor -----------------------------------------------------------------

    said: dict[str, Any]

    def examined(self, *only: str) -> list[Row]:
        context = Context(self.config, self.machine, self.user)
        return list(examined(CHECKS, context, select(only)))

    def verdicts(self, *only: str) -> dict[str, str]:
        """Return id -> the worst of its verdicts."""
        order = ["skipped", "good", "notice", "warn", "bad"]
        worst: dict[str, str] = {}
        for row in self.examined(*only):
            now = worst.setdefault(row.id, row.verdict)
            worst[row.id] = max(now, row.verdict, key=order.index)
        return worst

    # --- what a fix line says -------------------------------------------------------

    def follow(self, fix: str, given: dict[str, str]) -> None:
        """Do what a fix line says; ``given``: what its words in capitals stand for."""
        first = fix.partition(", or ")[0]
        steps = STEP.findall(first)
        assert steps, f"no step that a script could follow: {fix}"
        for verb, what, section in steps:
            text = what
            for word, meant in given.items():
                text = re.sub(rf"\b{word}\b", meant, text)
            if verb == "run":
                self.run(text)
            elif verb == "remove":
                self.remove(text)
            else:
                field, value = text.split(" = ", 1)
                tomllib.loads(text)
                self.set(field, value, section)

    def run(self, command: str) -> None:
        if not self.machine.obey(command):
            subprocess.run(
                ["/bin/sh", "-ec", command],
                check=True,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"]},
            )

    def remove(self, field: str) -> None:
        for fields in self.sections.values():
            fields.pop(field, None)
        self.configure()


def row_of(rows: Sequence[Row], name: str) -> Row:
    """Return the worst row of a check."""
    found = [row for row in rows if row.id == name]
    assert found, f"no row of {name}"
    order = ["skipped", "good", "notice", "warn", "bad"]
    return max(found, key=lambda row: order.index(row.verdict))
