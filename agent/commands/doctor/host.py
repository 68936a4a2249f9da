"""What the checks ask of this machine. A test gives a machine of its own.

Each question is answered from the kernel's own files or by one system call; nothing
here judges.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.can_link import can_links, link_facts
from agent.adapters.clock import SystemClock
from agent.adapters.socketcan import AF_CAN, CAN_RAW
from agent.adapters.timekeeping import HELPER
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.adapters.watch import WallClock
    from protocols.can.netlink import CanLink

UNITS: Final = ("sluicegate.service", "sluicegate-proxy.service")
UNIT_FIELDS: Final = (
    "Id", "LoadState", "ActiveState", "UnitFileState", "User", "Restart",
    "WatchdogUSec", "LimitNOFILE", "MemoryMax", "AmbientCapabilities",
    "PrivateDevices", "ProtectSystem", "ReadWritePaths", "ProtectClock", "TriggeredBy",
)  # fmt: skip
HELPER_S: Final = 5.0
SYSTEMCTL_S: Final = 15.0
ZONES: Final = "zoneinfo/"
UTC_NAMES: Final = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Universal", "Zulu", "GMT"})


@dataclass(frozen=True, slots=True)
class Mount:
    """The file system that a path is on."""

    point: str
    kind: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on a file system, bytes and inodes; ``inodes`` 0: it does not count them."""

    free: int
    total: int
    inodes_free: int
    inodes: int


class Host:
    """The machine that the doctor runs on."""

    clock: WallClock = SystemClock()

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    # --- CAN ------------------------------------------------------------------------

    def can_reason(self) -> str:
        """Return why no raw CAN socket can be had; "" where one can."""
        try:
            socket.socket(AF_CAN, socket.SOCK_RAW, CAN_RAW).close()
        except OSError as error:
            return error.strerror or errno.errorcode.get(error.errno or 0, "unknown")
        return ""

    def link(self, interface: str) -> CanLink:
        """Return what the kernel says of an interface; BadInput, Unavailable."""
        return link_facts(interface)

    def can_interfaces(self) -> list[str]:
        """Return the names of all CAN interfaces; Unavailable."""
        return [link.name for link in can_links()]

    def sysctl(self, name: str) -> int:
        """Return a number of /proc/sys, such as ``net.core.rmem_max``; -1: none."""
        try:
            text = (Path("/proc/sys") / name.replace(".", "/")).read_text("ascii")
        except OSError:
            return -1
        return int(text)

    # --- clock ----------------------------------------------------------------------

    def zone(self) -> str:
        """Return the name of the machine's time zone, as /etc/localtime has it."""
        try:
            target = os.readlink("/etc/localtime")  # noqa: PTH115  # the text of the link is meant
        except OSError:
            return "UTC"  # no such file means UTC (localtime(5))
        name = target.partition(ZONES)[2]
        return "UTC" if name in UTC_NAMES else name or target

    def rtc(self) -> bool:
        """Tell whether the machine has a clock that runs while it is off."""
        return any(Path("/sys/class/rtc").glob("rtc*"))

    # --- disk -----------------------------------------------------------------------

    def mount(self, path: Path) -> Mount:
        """Return the file system of a path (/proc/self/mountinfo, proc(5))."""
        place = str(path.resolve())
        found = Mount("/", "", False)
        text = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
        for line in text.splitlines():
            words, _, more = line.partition(" - ")
            point = _unescaped(words.split()[4])
            inside = place == point or place.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(found.point):
                kind, _, options = more.split(" ")[:3]
                flags = {*words.split()[5].split(","), *options.split(",")}
                found = Mount(point, kind, "ro" in flags)
        return found

    def disk(self, path: Path) -> Disk:
        """Return the room that we may use on the file system of a path."""
        told = os.statvfs(path)
        return Disk(
            told.f_bavail * told.f_frsize,
            told.f_blocks * told.f_frsize,
            told.f_favail,
            told.f_files,
        )

    # --- network --------------------------------------------------------------------

    def resolve(self, name: str, port: int) -> None:
        """Look a name up; OSError where it has no address."""
        socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)

    # --- systemd --------------------------------------------------------------------

    def clock_helper(self) -> bool:
        """Tell whether who may ask the kernel of its clock answers (timekeeping)."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as helper:
                helper.settimeout(HELPER_S)
                helper.connect(HELPER)
        except OSError:
            return False
        return True

    def unit(self) -> dict[str, str]:
        """Return properties of the agent's unit; {} where no systemd runs, or no unit.

        Of several variants the one that runs, else the one that starts at boot.
        """
        if not Path("/run/systemd/system").is_dir():
            return {}
        said = _shown(UNITS, UNIT_FIELDS)
        found = [one for one in parse_units(said) if one["LoadState"] == "loaded"]
        found.sort(key=lambda one: one["UnitFileState"] != "enabled")
        found.sort(key=lambda one: one["ActiveState"] == "inactive")
        return found[0] if found else {}

    def listening(self, units: Sequence[str]) -> list[str]:
        """Return the addresses that socket units open, as 10.0.0.1:502, [::1]:502."""
        return parse_listening(_shown(units, ("Listen",)))


def _shown(units: Sequence[str], fields: Sequence[str]) -> str:
    """Return what systemd says of units; Unavailable where it does not answer."""
    try:
        done = subprocess.run(  # noqa: S603  # fixed argv, no shell
            ["systemctl", "show", *units, f"--property={','.join(fields)}"],  # noqa: S607  # wherever the system has it
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SYSTEMCTL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("systemd", type(error).__name__) from None
    return done.stdout.decode("utf-8", "replace")


def parse_listening(text: str) -> list[str]:
    """Return the addresses of ``Listen=127.0.0.1:502 (Stream)``, a line each."""
    lines = [line.partition("=") for line in text.splitlines()]
    return [value.split(" ")[0] for name, _, value in lines if name == "Listen"]


def parse_units(text: str) -> list[dict[str, str]]:
    """Return what ``systemctl show`` printed: a block of properties for each unit."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.strip()]
    return [
        dict.fromkeys(UNIT_FIELDS, "")
        | {name: value for name, _, value in (line.partition("=") for line in block)}
        for block in blocks
    ]


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)
