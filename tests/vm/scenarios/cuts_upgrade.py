"""From the package before to this one and back with a backlog; purge leaves nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CONFIG, Site
from tests.vm.guest import PACKAGES

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

BARE: Final = True  # the package before this one is installed here first
FRAMES: Final = 400
APT: Final = (
    "apt-get", "-y", "-qq", "--no-install-recommends", "--allow-downgrades",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
TOML: Final = CONFIG / "sluicegate.toml"
# Of the machine and of apt itself; what another package could leave is looked at.
APART: Final = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/mnt", "/srv/operator", "/lost+found",
    "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/tmp",
    "/var/log/apt", "/var/log/dpkg.log", "/var/log/alternatives.log",
    "/var/log/journal", "/root/.cache",
)  # fmt: skip


def host(h: Host) -> None:
    """Run where there is a package before this one."""
    if not (h.packages / "previous.deb").exists():
        h.check("skipped: no package before this one (--previous FILE)", True)
        return
    h.run("guest", h.disk(blank=True), limit_s=900)


def guest(g: Guest) -> None:
    """Walk the whole way."""
    before, packages = files(g), installed(g)
    install(g, "previous")
    site = Site(g)
    site.prepare()
    old = version(g)
    told = hashlib.sha256(TOML.read_bytes()).hexdigest()

    step(site, "upgrade", "sluicegate")
    new = version(g)
    g.check("the version is another one", new != old, old=old, new=new)
    step(site, "rollback", "previous")
    g.check("the version is the old one again", version(g) == old)
    g.check(
        "the owner's configuration is as it was",
        hashlib.sha256(TOML.read_bytes()).hexdigest() == told
        and not list(CONFIG.glob("*.dpkg-*")),
    )
    site.forget()
    purge(g, before, packages)


def step(site: Site, word: str, package: str) -> None:
    """Let a backlog grow, change the package, let the backlog leave."""
    g = site.g
    g.shell("systemctl stop collector broker || true")
    g.until("the gateway sees no broker", lambda: site.status().get("online") is False)
    count = site.metric("samples_total")
    for bus, identifier, length, *more in (
        ("vcan0", "123", "8"), ("vcan1", "124", "64", "-f"),
    ):  # fmt: skip
        words = ["-I", identifier, "-L", length, *more, "-g", "1", "-D", "i"]
        g.run("cangen", bus, *words, "-n", str(FRAMES))
    g.until("read", lambda: site.metric("samples_total") >= count + 2 * FRAMES, 30)
    g.until("spooled", lambda: site.status().get("spool_records", 0) >= 3)
    waiting = site.status()["spool_records"]
    boot = site.status()["boot"]
    install(g, package)
    g.until(
        f"it runs again after the {word}",
        lambda: site.is_active() and site.status().get("boot", boot) != boot,
        60,
    )
    kept = site.status()["spool_records"]
    g.check(f"{word}: the backlog is kept", kept >= waiting, before=waiting, after=kept)
    site.broker()
    site.collector()
    site.drained(90)
    report = site.verified()
    g.check(f"{word}: it leaves, audit verify holds", not report["problems"],
            problems=report["problems"])  # fmt: skip


def install(g: Guest, package: str) -> None:
    """Install a package with apt, as an operator who keeps his files would."""
    g.run(*APT, "install", str(PACKAGES / f"{package}.deb"), limit_s=200)


def version(g: Guest) -> str:
    """Return the installed version."""
    return g.run("dpkg-query", "-W", "-f", "${Version}", "sluicegate")


def installed(g: Guest) -> set[str]:
    """Return the names of the installed packages."""
    return set(g.run("dpkg-query", "-W", "-f", "${Package}\n").split())


def files(g: Guest) -> set[str]:
    """Return every path of the file system that a package could leave."""
    prune = " -o ".join(f"-path {path}" for path in APART)
    return set(g.shell(f"find / -xdev \\( {prune} \\) -prune -o -print").splitlines())


def purge(g: Guest, before: set[str], packages: set[str]) -> None:
    """Purge, and look for what is left."""
    g.shell("ip link del vcan0; ip link del vcan1")
    more = sorted(installed(g) - packages - {"sluicegate"})
    g.run("apt-get", "-y", "-qq", "purge", "sluicegate", *more, limit_s=120)
    g.run("systemctl", "daemon-reload")
    left = sorted(files(g) - before)
    g.check("purge leaves no file", not left, left=left[:20], dependencies=more)
    gone = sorted(before - files(g))
    g.check("purge takes nothing of others", not gone, gone=gone[:20])
    words = {
        "user or group": "getent passwd sluicegate; getent group sluicegate; true",
        "unit": "systemctl list-unit-files --all --no-legend 'sluicegate*'",
        "running unit": "systemctl list-units --all --no-legend 'sluicegate*'",
        # passwd- and the like are copies that userdel makes of what was there before
        "name in /etc": "grep -rIl sluicegate /etc --exclude='*-' || true",
        "name in /run": "find /run -name '*sluicegate*' -not -path '*/credentials/*'",
        "process": "ps -eo args | grep '[/]sluicegate' || true",
    }
    for what, command in words.items():
        told = g.shell(command, ok=False).strip()
        g.check(f"purge leaves no {what}", not told, left=told[:200])
