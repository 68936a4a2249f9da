"""One virtual machine: user-mode Linux in a jail, its console, and its plug.

All of it runs in a process namespace of its own: killing the namespace's first process
ends everything at once, as pulling the plug would, and leaves nothing behind, also
where this program itself is killed (PR_SET_PDEATHSIG). A mount namespace of its own
holds the folders that guest and host share, so there is nothing to unmount.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PANIC: Final = re.compile(r"^(\[ *[\d.]+\] )?Kernel panic")
KERNEL: Final = (
    "rw", "root=/dev/ubda", "lsm=yama", "panic=-1", "pty.legacy_count=0",
    "net.ifnames=0", "quiet", "loglevel=3", "systemd.show_status=false",
)  # fmt: skip


class Ended(RuntimeError):
    """The machine stopped, or did not come to where it should, before its limit."""


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of."""

    image: Path  # the folder that ``image.image_ready`` returned
    disk: Path  # what differs from the image; made where absent
    shares: Mapping[str, Path]  # name -> host folder, in the guest /mnt/host/<name>
    name: str = "gateway"
    memory_mb: int = 768
    cpu: int | None = None  # the host CPU it is pinned to: 1.5 times faster than none

    def command(self) -> list[str]:
        """Return the command line that is this machine."""
        pin = [] if self.cpu is None else ["taskset", "-c", str(self.cpu)]
        words = "setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child"
        return [
            *pin,
            *words.split(),
            "--propagation",
            "private",
            "sh",
            "-c",
            self._sh(),
        ]

    def _sh(self) -> str:
        """Return what the namespace's first process does: mounts, then the kernel."""
        jail = shlex.quote(str(self.image / "jail"))
        lines = ["set -e", f"mount -t tmpfs tmpfs {jail}/share"]
        for name, folder in self.shares.items():
            lines.append(f"mkdir {jail}/share/{name}")
            lines.append(f"mount --bind {shlex.quote(str(folder))} {jail}/share/{name}")
            if name != "run":  # the only folder that a guest writes to
                lines.append(f"mount -o remount,bind,ro {jail}/share/{name}")
        kernel = " ".join(
            (
                f"mem={self.memory_mb}M seccomp=auto hostfs=/share",
                f"ubd0=/run/{shlex.quote(self.disk.name)},/img/root.ext4",
                "con=null con0=null,fd:1 ssl=null",
                f"vm.name={self.name}",
                *KERNEL,
            )
        )
        lines += [
            f"mount -t proc proc {jail}/proc",
            f"mount --rbind /dev {jail}/dev",
            f"mount --bind {shlex.quote(str(self.image))} {jail}/img",
            f"mount --bind {shlex.quote(str(self.disk.parent))} {jail}/run",
            f"mount -t tmpfs tmpfs {jail}/tmp",
            f"HOME=/tmp chroot {jail} /usr/bin/linux.uml {kernel} &",
            "wait $!",
        ]
        return "\n".join(lines)


class Machine:
    """A machine that runs from construction until it is off, or is cut."""

    def __init__(self, hardware: Hardware, log: Path) -> None:
        """Pull the switch; the console goes line by line to ``log``."""
        self._process = subprocess.Popen(
            hardware.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._log = log
        self._changed = threading.Condition()
        self._off = False
        self.lines: list[str] = []  # of the console, so far
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with self._log.open("a") as log:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                log.write(line + "\n")
                log.flush()
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
        with self._changed:  # end of file: every process that held the console is gone
            self._off = True
            self._changed.notify_all()

    def until(self, pattern: str, limit_s: float, start: int = 0) -> re.Match[str]:
        """Wait for a line of the console from ``start`` on; Ended where none comes."""
        wanted, end_s = re.compile(pattern), time.monotonic() + limit_s
        with self._changed:
            while True:
                for line in self.lines[start:]:
                    if found := wanted.search(line):
                        return found
                    if PANIC.match(line):
                        raise Ended(f"the guest's kernel panicked: {line}")
                start = len(self.lines)
                if self._off:
                    raise Ended(f"the machine is off before {pattern!r}")
                if not self._changed.wait(end_s - time.monotonic()):
                    raise Ended(f"not {pattern!r} within {limit_s:.0f} s")

    def wait_off(self, limit_s: float) -> None:
        """Wait until the guest has powered off; Ended where it does not."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._off, limit_s):
                raise Ended(f"not off within {limit_s:.0f} s")
        self._process.wait()

    def cut(self) -> None:
        """Cut the power, and wait until nothing of the machine is left."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
