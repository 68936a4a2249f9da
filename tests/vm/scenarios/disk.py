"""A full disk, no inodes, a read-only file system: alive, told, counted, recovered."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CLASSIC, SERVICE, STATE, Site
from tests.vm.guest import Failed

if TYPE_CHECKING:
    from tests.vm.guest import Guest

MEGABYTES: Final = 96
SPOOL: Final = 4 << 20
INODES: Final = 64
IMAGE: Final = Path("/srv/state.ext4")
FRAMES: Final = 300


def guest(g: Guest) -> None:
    """Give the state a small file system of its own, and spoil it in three ways."""
    site = Site(g)
    small_state(site)
    site.configure(more=f"[spool]\nmax_bytes = {SPOOL}\n")
    site.begin()
    g.need("all is well before", not site.problems(), told=site.problems())
    pid = site.pid()
    site.send(range(FRAMES))
    site.drained()
    full(site)
    no_inodes(site)
    g.check("it was the same process all the time", site.pid() == pid)
    values = site.opened(CLASSIC)
    g.check("nothing came twice", len(values) == len(set(values)), samples=len(values))
    read_only(site)
    site.drained()
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"],
            boots=report["boots"], logs=report["logs"])  # fmt: skip


def small_state(site: Site) -> None:
    """Move the state onto an ext4 of its own, on a loop device."""
    user = pwd.getpwnam("sluicegate")
    owner = f"root_owner={user.pw_uid}:{user.pw_gid}"
    site.g.shell(
        f"systemctl stop {SERVICE}; modprobe loop; cp -a {STATE} /srv/state.before;"
        f" truncate -s {MEGABYTES}M {IMAGE};"
        f" mke2fs -q -t ext4 -m 0 -N {INODES} -E {owner} {IMAGE};"
        f" mount -o loop,errors=remount-ro {IMAGE} {STATE};"
        f" chmod 0700 {STATE}; rmdir {STATE}/lost+found;"
        f" cp -a /srv/state.before/. {STATE}"
    )


def full(site: Site) -> None:
    """Leave no byte free; again when the daemon has given its reserve away."""
    g = site.g
    for number, what in enumerate(("disk full", "disk full, the reserve too")):
        fill(STATE / f"filler-{number}")
        told = told_while_sending(site, 10_000 + number * FRAMES)
        g.check(
            f"{what}: alive, and status tells", site.is_active() and told, told=told
        )
    for filler in STATE.glob("filler-*"):
        filler.unlink()
    recovered(site, "disk full", 20_000)


def fill(filler: Path) -> None:
    """Write until the file system takes no byte more."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        free = os.statvfs(STATE)
        os.posix_fallocate(file.fileno(), 0, (free.f_bavail - 64) * free.f_frsize)
        file.seek(0, os.SEEK_END)
        while True:
            file.write(b"\0" * 4096)


def no_inodes(site: Site) -> None:
    """Leave no inode free: files that are open go on, new ones are refused."""
    g, made = site.g, []
    with contextlib.suppress(OSError):
        for number in range(10 * INODES):
            made.append(STATE / f"inode-{number}")
            made[-1].touch()
    left = os.statvfs(STATE).f_ffree
    g.need("no inode is left", left == 0, left=left)
    site.send(range(30_000, 30_000 + FRAMES))
    g.until("what was sent came out", lambda: arrived(site, 30_000))
    told = site.problems()
    g.check("no inodes: alive, and data go on", site.is_active(), told=told)
    for path in made:
        path.unlink(missing_ok=True)
    recovered(site, "no inodes", 40_000)


def read_only(site: Site) -> None:
    """Let the kernel remount it read-only, as after an error of the disk."""
    g = site.g
    device = g.run("findmnt", "-no", "SOURCE", str(STATE)).strip()
    name = Path(device).name
    Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("vm-test")
    told = told_while_sending(site, 50_000)
    state = site.shown("ActiveState")
    g.check("read-only: told, or systemd tries again", told or state != "active",
            told=told, unit=state, restarts=site.shown("NRestarts"))  # fmt: skip
    # What an operator does; the service waits for its folder meanwhile.
    g.shell(
        f"systemctl stop {SERVICE}; umount {STATE}; e2fsck -fy {IMAGE} >/dev/null || :;"
        f" mount -o loop,errors=remount-ro {IMAGE} {STATE}"
    )
    site.restart()
    recovered(site, "read-only, repaired", 60_000)


def told_while_sending(site: Site, first: int) -> str:
    """Send until status names a problem; return what it says, "" where it does not."""
    site.send(range(first, first + FRAMES))
    with contextlib.suppress(Failed):
        site.g.until("status tells", site.problems, 30)
    return site.problems()


def recovered(site: Site, what: str, first: int) -> None:
    """See that the problem goes away, and that new frames come out."""
    g = site.g
    g.until(f"{what}: recovered", lambda: site.status() and not site.problems())
    site.send(range(first, first + FRAMES))
    g.until("what was sent came out", lambda: arrived(site, first))
    lost = {
        line.split('"')[1]: int(float(line.rsplit(" ", 1)[1]))
        for line in site.page("metrics").splitlines()
        if line.startswith("sluicegate_lost_total{") and not line.endswith(" 0")
    }
    free = os.statvfs(STATE)
    g.check(f"{what}: recovers by itself when there is room", True, lost=lost,
            free_kb=free.f_bavail * free.f_frsize // 1024)  # fmt: skip


def arrived(site: Site, first: int) -> bool:
    """Tell whether the collector has opened all of a burst."""
    return site.came(CLASSIC, range(first, first + FRAMES)) == FRAMES
