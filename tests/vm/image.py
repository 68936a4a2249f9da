"""The machine's disk and kernel, built once and kept: Debian 12 and user-mode Linux.

Nothing of the host is changed: mmdebstrap makes the root file system in a folder of
ours, and apt fetches the kernel with sources and lists of its own. The mirror is the
one that the host's own apt uses. The recipe is this file and the folder ``root``; its
digest names the folder in the cache, so that a changed recipe makes another image.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUITE: Final = "bookworm"
# Where user-mode Linux is taken from: the first whose kernel boots here.
KERNEL_SUITES: Final = ("forky", "trixie", "bookworm")
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCES: Final = Path("/etc/apt")
OVERLAY: Final = Path(__file__).with_name("root")
DISK_BYTES: Final = "4G"  # sparse
STEP_LIMIT_S: Final = 600
PACKAGES: Final = (
    "systemd-sysv", "udev", "dbus", "libnss-systemd", "kmod", "iproute2",
    "iputils-ping", "can-utils", "mosquitto", "mosquitto-clients", "python3",
    "sqlite3", "openssl", "ca-certificates", "procps", "psmisc", "curl", "nftables",
    "nmap", "e2fsprogs", "dmsetup", "adduser", "apt",
)  # fmt: skip
TOOLS: Final = {
    "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "dpkg-deb": "dpkg",
    "apt-get": "apt", "unshare": "util-linux", "setpriv": "util-linux",
    "taskset": "util-linux",
}  # fmt: skip
# What no gateway of a test needs, or what would take time at every boot.
MASKED: Final = (
    "getty@tty1.service", "getty.target", "serial-getty@ttyS0.service",
    "console-getty.service", "systemd-firstboot.service", "nftables.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
    "fstrim.timer", "e2scrub_all.timer", "e2scrub_reap.service", "man-db.timer",
    "systemd-pstore.service", "systemd-network-generator.service",
    "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service", "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount", "modprobe@drm.service",
    "modprobe@fuse.service", "modprobe@loop.service", "modprobe@configfs.service",
    "modprobe@efi_pstore.service", "modprobe@dm_mod.service",
)  # fmt: skip
LIBRARIES: Final = ("ld-linux-x86-64.so.2", "libc.so.6", "libgcc_s.so.1")


class CannotRun(RuntimeError):
    """This machine cannot run virtual ones; the text says what is missing."""


def cache_folder() -> Path:
    """Return where images are kept."""
    told = os.environ.get("SLUICEGATE_VM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(told) if told else Path(base) / "sluicegate-vm"


def mirror_of(texts: Iterator[str]) -> str:
    """Return the mirror in apt's sources, of either format; "" where there is none."""
    form = r"^(?:URIs:|deb(?: \[[^\]]*\])?) *(https?://\S+)/debian/?(?:\s.*)?$"
    for text in texts:
        if found := re.search(form, text, re.MULTILINE):
            return found.group(1)
    return ""


def host_mirror() -> str:
    """Return the mirror that the host's own apt uses."""
    files = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]
    return mirror_of(f.read_text() for f in files if f.is_file())


def recipe_key(mirror: str) -> str:
    """Return the digest of everything that decides what the image holds."""
    digest = hashlib.sha256(mirror.encode())
    files = sorted(path for path in OVERLAY.rglob("*") if path.is_file())
    for path in (Path(__file__), *files):
        digest.update(str(path.relative_to(Path(__file__).parent)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def check_host() -> None:
    """Refuse a host where nothing of this can work: CannotRun says why."""
    if os.geteuid():
        raise CannotRun("not root")
    if os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        raise CannotRun("not Linux on amd64")
    if not Path("/etc/debian_version").exists():
        raise CannotRun("not a Debian system")
    missing = sorted({TOOLS[t] for t in TOOLS if shutil.which(t) is None})
    if missing:
        raise CannotRun(f"apt-get install {' '.join(missing)} is wanted first")
    if not Path(KEYRING).exists():
        raise CannotRun("no Debian keyring: apt-get install debian-archive-keyring")
    if not host_mirror():
        raise CannotRun("no Debian mirror in apt's sources")


def image_ready(boots: Callable[[Path], bool], say: Callable[[str], None]) -> Path:
    """Return the folder of the image, built first where it is not there.

    ``boots`` tries a kernel: good is what boots here and now.
    """
    check_host()
    mirror = host_mirror()
    cache = cache_folder()
    folder = cache / recipe_key(mirror)
    if (folder / "done").exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one build at a time, whoever asks
        if (folder / "done").exists():
            return folder
        start_s = time.monotonic()
        say("building the machine's image (a minute or two; kept afterwards)")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _build(folder, mirror, boots)
        (folder / "done").touch()
        say(f"image built in {time.monotonic() - start_s:.0f} s: {folder}")
    return folder


def _build(folder: Path, mirror: str, boots: Callable[[Path], bool]) -> None:
    root = folder / "rootfs"
    _root_file_system(root, mirror)
    for suite in KERNEL_SUITES:
        jail = folder / "jail"
        shutil.rmtree(jail, ignore_errors=True)
        try:
            _kernel(jail, suite, mirror)
        except CannotRun:
            continue
        _disk(folder, root, next((jail / "usr/lib/uml/modules").iterdir()))
        shutil.rmtree(jail / "usr/lib/uml")
        if boots(folder):
            shutil.rmtree(root)
            return
    raise CannotRun("no user-mode Linux of Debian boots here")


def _run(*command: str) -> None:
    """Run a command to its end; CannotRun with its last line where it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=STEP_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{command[0]} took more than {STEP_LIMIT_S} s") from None
    if done.returncode:
        last = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CannotRun(f"{command[0]} failed: {''.join(last)}")


# --- the root file system -------------------------------------------------------------


def _root_file_system(root: Path, mirror: str) -> None:
    sources = [
        f"deb [signed-by={KEYRING}] {mirror}/debian {SUITE} main",
        f"deb [signed-by={KEYRING}] {mirror}/debian {SUITE}-updates main",
        f"deb [signed-by={KEYRING}] {mirror}/debian-security {SUITE}-security main",
    ]
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=apt",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=force-unsafe-io",
        SUITE, str(root), *sources,
    )  # fmt: skip
    shutil.copytree(OVERLAY, root, dirs_exist_ok=True)
    for name in ("host", "project"):
        (root / "mnt" / name).mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost gateway\n::1 localhost\n")
    for name in ("machine-id", "fstab", "resolv.conf"):  # nobody to ask
        (root / "etc" / name).write_text("")
    (root / "etc/systemd/system.conf.d").mkdir(exist_ok=True)
    (root / "etc/systemd/system.conf.d/vm.conf").write_text(
        "[Manager]\nRebootWatchdogSec=off\n"
    )
    _units(root)


def _units(root: Path) -> None:
    units = root / "etc/systemd/system"
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    # At boot udev looks at disks and network interfaces only, not at 300 terminals.
    drop_in = units / "systemd-udev-trigger.service.d/vm.conf"
    drop_in.parent.mkdir()
    matches = "--subsystem-match=block --subsystem-match=net"
    drop_in.write_text(
        f"[Service]\nExecStart=\nExecStart=udevadm trigger --action=add {matches}\n"
    )
    wants = "multi-user.target.wants"
    (root / f"usr/lib/systemd/system/{wants}/systemd-logind.service").unlink(
        missing_ok=True  # it comes when it is asked for, over D-Bus
    )
    (units / wants / "mosquitto.service").unlink(missing_ok=True)  # scenarios start one
    for name, target in (("vm-setup", "sysinit"), ("vm-step", "multi-user")):
        folder = units / f"{target}.target.wants"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.service").symlink_to(f"../{name}.service")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")


# --- the kernel -----------------------------------------------------------------------


def _kernel(jail: Path, suite: str, mirror: str) -> None:
    """Make the jail that user-mode Linux runs in, with the C library it wants."""
    for name in ("proc", "dev", "tmp", "usr/lib64", "share", "img", "run"):
        (jail / name).mkdir(parents=True)
    libraries = jail / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("lib", "lib64"):
        (jail / name).symlink_to(f"usr/{name}")
    with tempfile.TemporaryDirectory(dir=jail.parent) as temporary:
        place = Path(temporary)
        _fetch(place, suite, mirror)
        for package in place.glob("*.deb"):
            into = (
                jail if package.name.startswith("user-mode-linux") else place / "libc"
            )
            _run("dpkg-deb", "-x", str(package), str(into))
        for name in LIBRARIES:
            found = next((place / "libc").rglob(name), None)
            if found is None:
                raise CannotRun(f"no {name} in {suite}")
            shutil.copy(found, libraries / name)
    shutil.copy(libraries / LIBRARIES[0], jail / "usr/lib64")
    shutil.rmtree(jail / "usr/share", ignore_errors=True)


def _fetch(place: Path, suite: str, mirror: str) -> None:
    """Fetch packages of another suite; the host's own lists stay as they are."""
    for name in ("lists/partial", "cache/archives/partial", "none"):
        (place / name).mkdir(parents=True)
    sources = place / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror}/debian {suite} main\n")
    apt = (
        "apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={sources}",
        "-o", f"Dir::Etc::sourceparts={place}/none",
        "-o", f"Dir::Etc::preferencesparts={place}/none",
        "-o", f"Dir::State::lists={place}/lists", "-o", f"Dir::Cache={place}/cache",
        "-o", "APT::Sandbox::User=root", "-o", "APT::Default-Release=",
    )  # fmt: skip
    _run(*apt, "update")
    words = ("download", "user-mode-linux", "libc6", "libgcc-s1")
    _run("env", "-C", str(place), *apt, *words)


def _disk(folder: Path, root: Path, modules: Path) -> None:
    """Make the disk: the root file system with this kernel's modules."""
    into = root / "lib/modules"
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(modules, into / modules.name, symlinks=True)
    _run("chroot", str(root), "depmod", modules.name)
    (folder / "root.ext4").unlink(missing_ok=True)
    _run(
        "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1",
        "-m", "0", "-d", str(root), str(folder / "root.ext4"), DISK_BYTES,
    )  # fmt: skip
