"""Build the Debian package from a clean copy of the tree, with dpkg-buildpackage.

    python systemd/build_deb.py [--architecture arm64] [--version 0.1.0+x] [--out dist]

The copy holds what git tracks, as it stands in the tree; without git, all but what
builds and tests leave behind. Everything in the package carries the time of the newest
entry in `debian/changelog`, so that two builds give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from build_fetch import LOCK, chosen, fetch
from build_sbom import beside
from build_source import ROOT, cache_folder, tracked

NEEDED: Final = {
    "dpkg-buildpackage": "dpkg-dev",
    "dh": "debhelper",
    "/usr/bin/python3.11": "python3",
}
STRIP: Final = {  # else libraries would not be stripped, and the bytes be others
    "amd64": ("x86_64-linux-gnu-strip", "binutils-x86-64-linux-gnu"),
    "arm64": ("aarch64-linux-gnu-strip", "binutils-aarch64-linux-gnu"),
}
PASSED: Final = {"PATH", "HOME", "TMPDIR", "SLUICEGATE_DEB_COMPRESSION"}
RECIPE: Final = "systemd/debian"
UNIT_FILES: Final = ("sluicegate.sysusers", "sluicegate.tmpfiles")


def missing_tools(architecture: str = "amd64") -> list[str]:
    """Return the Debian packages that the build lacks here."""
    needed = NEEDED | dict((STRIP[architecture],))
    return [package for tool, package in needed.items() if shutil.which(tool) is None]


def copy_tree(root: Path, into: Path) -> None:
    """Copy the tree; the recipe becomes ``debian/``."""
    for name in tracked(root):
        place = name
        if name.startswith(f"{RECIPE}/"):
            place = f"debian/{name.removeprefix(f'{RECIPE}/')}"
        target = into / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
        target.chmod(0o755 if os.access(root / name, os.X_OK) else 0o644)
    for name in UNIT_FILES:
        shutil.copyfile(into / "systemd" / name, into / "debian" / name)


def head_changelog(changelog: Path, version: str) -> None:
    """Put an entry of ``version`` on top, with the time of the one below it."""
    text = changelog.read_text("utf-8")
    signature = next(line for line in text.splitlines() if line.startswith(" -- "))
    entry = f"sluicegate ({version}) unstable; urgency=medium\n\n  * Built as asked.\n"
    changelog.write_text(f"{entry}\n{signature}\n\n{text}", "utf-8")


def build(architecture: str, wheels: Path, version: str, out: Path) -> Path:
    """Build; return the package."""
    fetch(architecture, wheels)
    with tempfile.TemporaryDirectory(prefix="sluicegate-deb-") as folder:
        tree = Path(folder, "sluicegate")
        tree.mkdir()
        copy_tree(ROOT, tree)
        if version:
            head_changelog(tree / "debian" / "changelog", version)
        (tree / RECIPE).mkdir()
        for name in ("changelog", LOCK.name):  # where the scripts look for them
            shutil.copyfile(tree / "debian" / name, tree / RECIPE / name)
        (tree / "wheels").mkdir()
        for wheel in chosen(wheels, LOCK):
            shutil.copyfile(wheel, tree / "wheels" / wheel.name)
        environment = {
            name: value for name, value in os.environ.items() if name in PASSED
        }
        subprocess.run(
            [
                "dpkg-buildpackage", "--build=binary", "--no-sign",
                "--no-check-builddeps",
                f"--host-arch={architecture}",
            ],
            check=True,
            cwd=tree,
            umask=0o022,
            env=environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        built = sorted(Path(folder).glob("sluicegate_*.deb"))
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(built[0], out / built[0].name)
    beside(out / built[0].name, wheels.parent)
    return out / built[0].name


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the Debian package.")
    parser.add_argument("--architecture", choices=STRIP, default="amd64")
    parser.add_argument("--version", default="", help="not that of debian/changelog")
    parser.add_argument("--wheels", type=Path, default=cache_folder())
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    if missing := missing_tools(asked.architecture):
        sys.exit(f"the package needs Debian's tools: apt install {' '.join(missing)}")
    wheels = asked.wheels / asked.architecture
    print(build(asked.architecture, wheels, asked.version, asked.out))


if __name__ == "__main__":
    main()
