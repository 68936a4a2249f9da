"""A machine that is all right, and that obeys the commands of a doctor's fix lines."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.commands.doctor.host import Disk, Host, Mount
from protocols.can.netlink import CanLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

GIB = 2**30
USUAL, SOCKET = "sluicegate.service", "sluicegate-proxy.socket"
LISTS = {"ReadWritePaths", "AmbientCapabilities"}  # a drop-in adds to them


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


def can_link(name: str = "can0") -> CanLink:
    """Return a bus of 500 kbit/s that is all right."""
    return CanLink(
        name=name, is_can=True, kind="can", up=True, mtu=16, state="error-active",
        bitrate=500_000, restart_ms=100, modes=frozenset({"listen-only"}),
    )  # fmt: skip


def vcan_link(name: str = "vcan0", *, up: bool = True) -> CanLink:
    """Return a virtual bus: no controller."""
    return CanLink(name=name, is_can=True, kind="vcan", up=up, mtu=16)


class Machine(Host):
    """A machine that is all right, and that obeys the commands of fix lines."""

    def __init__(self) -> None:
        self.clock = Clock(time.time_ns())
        self.links: dict[str, CanLink] = {}
        self.has_can = True
        self.settings = {"net.core.rmem_max": 4 * 2**20}
        self.zone_name = "UTC"
        self.has_rtc = True
        self.mounted = Mount("/", "ext4", False)
        self.room = Disk(100 * GIB, 200 * GIB, 10**6, 2 * 10**6)
        self.names: set[str] = set()  # that DNS knows not
        self.properties: dict[str, str] = {}
        self.has_helper = True
        self.opened = ["127.0.0.1:502"]  # by sluicegate-proxy.socket
        self.paused = 0.0
        self.meanwhile: Callable[[], None] = lambda: None
        self.done: list[str] = []  # commands that changed nothing in here

    # --- what it is asked -----------------------------------------------------------

    def pause(self, seconds: float) -> None:
        self.paused += seconds
        self.meanwhile()

    def can_reason(self) -> str:
        return "" if self.has_can else "Address family not supported by protocol"

    def link(self, interface: str) -> CanLink:
        return self.links.get(interface) or CanLink(name=interface, exists=False)

    def can_interfaces(self) -> list[str]:
        return sorted(name for name, link in self.links.items() if link.is_can)

    def sysctl(self, name: str) -> int:
        return self.settings.get(name, -1)

    def zone(self) -> str:
        return self.zone_name

    def rtc(self) -> bool:
        return self.has_rtc

    def mount(self, path: Path) -> Mount:  # noqa: ARG002  # asked as the real one is
        return self.mounted

    def disk(self, path: Path) -> Disk:  # noqa: ARG002  # asked as the real one is
        return self.room

    def resolve(self, name: str, port: int) -> None:  # noqa: ARG002  # asked as the real one is
        if name in self.names:
            raise OSError(-2, "Name or service not known")

    def clock_helper(self) -> bool:
        return self.has_helper

    def unit(self) -> dict[str, str]:
        return dict(self.properties)

    def listening(self, units: Sequence[str]) -> list[str]:
        assert units == [SOCKET]
        return self.opened

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
            self.links[words[3]] = vcan_link(words[3], up=False)
            return
        assert words[:3] == ["link", "set", "dev"], command
        name, rest = words[3], words[4:]
        link = before = self.links[name]
        while rest:
            word = rest.pop(0)
            if word in {"up", "down"}:
                link = replace(link, up=word == "up")
            elif word == "mtu":
                assert not before.up, f"{command}: busy"
                link = replace(link, mtu=int(rest.pop(0)))
            elif word == "restart":
                assert link.state == "bus-off", command
                link = replace(link, state="error-active")
            elif word == "type":
                assert rest.pop(0) == "can", command
                assert link.kind == "can", command
            else:
                assert not before.up, f"{command}: busy"
                link = _controlled(link, word, rest.pop(0))
        self.links[name] = link

    def _modprobe(self, words: list[str], command: str) -> None:
        assert words == ["can_raw"], command
        self.has_can = True

    def _sysctl(self, words: list[str], command: str) -> None:  # noqa: ARG002  # asked as the real one is
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
        elif "sluicegate-proxy.service" in words:
            proxy = {"Id": "sluicegate-proxy.service", "TriggeredBy": SOCKET}
            self.properties.update(proxy)
        elif words[0] == "enable":
            if "sluicegate-clock.socket" in words:
                self.has_helper = True
            elif "systemd-timesyncd" in words:
                self.has_rtc = True  # the saved time stands in for it
            elif self.properties:
                self.properties["UnitFileState"] = "enabled"
        self.done.append(command)

    def _printf(self, words: list[str], command: str) -> None:
        assert words[1] == ">", command
        if words[2] == f"/etc/systemd/system/{SOCKET}.d/listen.conf":
            first, *lines = words[0].replace("\\n", "\n").splitlines()
            assert (first, lines[0]) == ("[Socket]", "ListenStream=")
            self.opened = [line.removeprefix("ListenStream=") for line in lines[1:]]
            return
        assert words[2].startswith("/etc/systemd/system/sluicegate.service.d/")
        for line in words[0].replace("\\n", "\n").splitlines()[1:]:
            name, _, value = line.partition("=")
            more = [self.properties[name]] if name in LISTS else []
            self.properties[_shown(name)] = " ".join([*more, _told(value)])

    def _mkdir(self, words: list[str], command: str) -> None:
        folders = [f"/etc/systemd/system/{one}.d" for one in (USUAL, SOCKET)]
        assert words[0] == "-p", command
        assert words[1:] in ([folder] for folder in folders), command

    def _echo(self, words: list[str], command: str) -> None:  # asked as the real one is
        assert words[-1].startswith("/etc/sysctl.d/"), command

    def _journalctl(self, words: list[str], command: str) -> None:  # noqa: ARG002  # asked as the real one is
        self.done.append(command)

    def _usermod(self, words: list[str], command: str) -> None:  # noqa: ARG002  # asked as the real one is
        self.done.append(command)

    def _sluicectl(self, words: list[str], command: str) -> None:  # noqa: ARG002  # asked as the real one is
        self.done.append(command)

    def _sluicegate(self, words: list[str], command: str) -> None:  # noqa: ARG002  # asked as the real one is
        self.done.append(command)


def _controlled(link: CanLink, word: str, value: str) -> CanLink:
    """Return a controller that is told one more thing by ``ip link ... type can``."""
    fields = {
        "bitrate": "bitrate", "dbitrate": "data_bitrate", "restart-ms": "restart_ms"
    }  # fmt: skip
    if word == "fd":
        return replace(link, mtu=72 if value == "on" else 16)
    if word == "listen-only":
        modes = link.modes - {word} if value == "off" else link.modes | {word}
        return replace(link, modes=modes)
    return replace(link, **{fields[word]: int(value)})


def _shown(setting: str) -> str:
    """Return what ``systemctl show`` calls a setting."""
    return setting.replace("Sec", "USec") if setting.startswith("Watchdog") else setting


def _told(value: str) -> str:
    if re.fullmatch(r"\d+M", value):
        return str(int(value[:-1]) * 2**20)
    return value
