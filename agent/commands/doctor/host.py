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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agent.adapters.clock import SystemClock
from agent.adapters.socketcan import AF_CAN, CAN_RAW
from agent.errors import Unavailable

if TYPE_CHECKING:
    from agent.adapters.watch import WallClock

UNIT: Final = "sluicegate.service"
UNIT_FIELDS: Final = (
    "LoadState", "ActiveState", "UnitFileState", "User", "Restart", "WatchdogUSec",
    "LimitNOFILE", "MemoryMax", "AmbientCapabilities",
)  # fmt: skip
IFF_UP: Final = 1  # linux/if.h
ARPHRD_CAN: Final = 280  # linux/if_arp.h
SYSTEMCTL_S: Final = 5.0
ZONES: Final = "zoneinfo/"
UTC_NAMES: Final = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Universal", "Zulu", "GMT"})


class CanLink(Protocol):
    """A CAN interface as the kernel has it (``ip -details link``)."""

    @property
    def up(self) -> bool:
        """Whether it is administratively up."""

    @property
    def state(self) -> str:
        """error-active, error-warning, error-passive, bus-off, ...; "": none."""

    @property
    def bitrate(self) -> int:
        """bit/s; 0: not set, or it has none (vcan)."""

    @property
    def data_bitrate(self) -> int:
        """bit/s of CAN FD's data phase; 0: not set."""

    @property
    def restart_ms(self) -> int:
        """Milliseconds after bus-off; 0: it does not come back."""

    @property
    def listen_only(self) -> bool:
        """Whether the controller cannot send."""

    @property
    def mtu(self) -> int:
        """16: classic frames only; 72: CAN FD, too."""


@dataclass(frozen=True, slots=True)
class SysfsLink:
    """What sysfs tells of a CAN interface: nothing of its controller."""

    up: bool
    mtu: int
    state: str = ""
    bitrate: int = 0
    data_bitrate: int = 0
    restart_ms: int = 0
    listen_only: bool = False


def link_facts(interface: str) -> CanLink | None:
    """Return what sysfs tells of an interface; None where there is none."""
    folder = Path("/sys/class/net") / interface
    try:
        flags = int((folder / "flags").read_text("ascii"), 16)
        mtu = int((folder / "mtu").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return SysfsLink(bool(flags & IFF_UP), mtu)


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

    # --- CAN ------------------------------------------------------------------------

    def can_reason(self) -> str:
        """Return why no raw CAN socket can be had; "" where one can."""
        try:
            socket.socket(AF_CAN, socket.SOCK_RAW, CAN_RAW).close()
        except OSError as error:
            return error.strerror or errno.errorcode.get(error.errno or 0, "unknown")
        return ""

    def link_kind(self, interface: str) -> int:
        """Return the ARPHRD number of an interface; -1 where there is none."""
        try:
            text = (Path("/sys/class/net") / interface / "type").read_text("ascii")
        except (OSError, ValueError):
            return -1
        return int(text)

    def link(self, interface: str) -> CanLink | None:
        """Return the facts of a CAN interface; None where there is none."""
        return link_facts(interface)

    def can_interfaces(self) -> list[str]:
        """Return the names of all CAN interfaces."""
        names = sorted(one.name for one in Path("/sys/class/net").glob("*"))
        return [name for name in names if self.link_kind(name) == ARPHRD_CAN]

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

    def unit(self) -> dict[str, str]:
        """Return properties of our unit; {} where no systemd runs or it has none."""
        if not Path("/run/systemd/system").is_dir():
            return {}
        try:
            done = subprocess.run(  # noqa: S603  # fixed argv, no shell
                ["systemctl", "show", UNIT, f"--property={','.join(UNIT_FIELDS)}"],  # noqa: S607  # wherever the system has it
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SYSTEMCTL_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable("systemd", type(error).__name__) from None
        pairs = (
            line.partition("=") for line in done.stdout.decode("utf-8").splitlines()
        )
        found = {name: value for name, _, value in pairs}
        return found if found.get("LoadState") == "loaded" else {}


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)
