"""Put the gateway's virtual environment together: the locked wheels and our own code.

    python3.11 systemd/build_tree.py --wheels FOLDER --into ROOT/usr/lib/sluicegate

Standard library only, no network: `debian/rules` and the Containerfile run it. The
interpreter is the system's; nothing of pip is in the result. What is written depends on
the lock, the source and the interpreter's bytecode, on nothing else: names are sorted,
times are SOURCE_DATE_EPOCH, modes are fixed.

Bytecode is shipped, as the daemon sees a read-only file system and starts in half the
time with it. It is `unchecked-hash`: no time stamp in it, and no look at the source at
each import; so a source file changed by hand has no effect.
"""

from __future__ import annotations

import argparse
import importlib.util
import marshal
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from build_fetch import LOCK, chosen, wheel_name
from build_platforms import PYTHON_VERSION
from build_source import ROOT, version
from build_trim import DISTRIBUTIONS, is_kept

PACKAGES: Final = ("agent", "policies", "protocols")  # never fleet, never firmware_sim
SUFFIXES: Final = (".py", ".yaml", ".json")  # of our own files
PREFIX: Final = "/usr/lib/sluicegate"
SITE: Final = "lib/python{}.{}/site-packages".format(*PYTHON_VERSION)


def unpack(wheel: Path, site: Path) -> None:
    """Unpack one wheel: purelib, platlib; scripts and data stay out."""
    with zipfile.ZipFile(wheel) as archive:
        for info in sorted(archive.infolist(), key=lambda one: one.filename):
            path = re.sub(r"^[^/]+\.data/(pure|plat)lib/", "", info.filename)
            parts = PurePosixPath(path).parts
            if info.is_dir() or parts[0].endswith(".data") or not is_kept(path):
                continue
            if ".." in parts or path.startswith("/"):
                raise SystemExit(f"{wheel.name}: {path} leaves the folder")
            target = site / path
            if target.exists():
                raise SystemExit(f"{wheel.name}: {path} comes twice")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(info))


def copy_ours(source: Path, site: Path) -> None:
    """Copy the gateway's packages, and say which version they are."""
    for package in PACKAGES:
        for path in sorted((source / package).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES:
                target = site / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    folder = site / f"sluicegate-{version(source)}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: sluicegate\nVersion: {version(source)}\n"
        "License-Expression: Apache-2.0\n",
        "utf-8",
    )


def compile_all(site: Path) -> None:
    """Write the bytecode of every module, of one process and in sorted order."""
    for path in sorted(site.rglob("*.py")):
        source = path.read_bytes()
        place = f"{PREFIX}/{SITE}/{path.relative_to(site).as_posix()}"
        try:
            code = compile(source, place, "exec", dont_inherit=True)
        except SyntaxError:  # templates and Python 2 remains that nobody imports
            continue
        target = Path(importlib.util.cache_from_source(str(path)))
        target.parent.mkdir(exist_ok=True)
        flags = (0b01).to_bytes(4, "little")  # PEP 552: hash-based, not checked
        digest = importlib.util.source_hash(source)
        head = importlib.util.MAGIC_NUMBER + flags + digest
        target.write_bytes(head + marshal.dumps(code))


def settle(root: Path, epoch: int) -> None:
    """Give every file its mode and time, whatever the umask and the clock are."""
    for path in [root, *sorted(root.rglob("*"))]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def build(wheels: Path, source: Path, into: Path, epoch: int) -> None:
    """Write the environment to ``into``, which must not exist."""
    site = into / SITE
    site.mkdir(parents=True)
    for wheel in chosen(wheels, LOCK):
        if wheel_name(wheel) not in DISTRIBUTIONS:
            unpack(wheel, site)
    copy_ours(source, site)
    compile_all(site)
    (into / "bin").mkdir()
    (into / "bin" / "python3").symlink_to(
        "/usr/bin/python{}.{}".format(*PYTHON_VERSION)
    )
    (into / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\n", "utf-8"
    )
    settle(into, epoch)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the gateway's environment.")
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--source", type=Path, default=ROOT)
    parser.add_argument("--into", type=Path, required=True)
    asked = parser.parse_args()
    if sys.version_info[:2] != PYTHON_VERSION:
        raise SystemExit(f"needs Python {PYTHON_VERSION}: Debian 12's")
    if os.environ.get("PYTHONHASHSEED") != "0":
        raise SystemExit("needs PYTHONHASHSEED=0: sets are written in their order")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    build(asked.wheels, asked.source, asked.into, epoch)


if __name__ == "__main__":
    main()
