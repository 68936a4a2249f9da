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
from build_platforms import MACHINES

ROOT: Final = Path(__file__).resolve().parents[1]
NEEDED: Final = {
    "dpkg-buildpackage": "dpkg-dev",
    "dh": "debhelper",
    "python3.11": "python3",
}
SKIPPED: Final = {".git", ".venv", "build", "dist", "__pycache__"}
RECIPE: Final = "systemd/debian"
UNIT_FILES: Final = ("sluicegate.sysusers", "sluicegate.tmpfiles")


def missing_tools() -> list[str]:
    """Return the Debian packages that the build lacks here."""
    return [package for tool, package in NEEDED.items() if shutil.which(tool) is None]


def tracked(root: Path) -> list[str]:
    """Return the files of the tree, by git where it knows them."""
    if (root / ".git").exists() and shutil.which("git"):
        asked = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
        found = subprocess.run(
            [*asked, "--exclude-standard"], check=True, capture_output=True
        ).stdout.decode()
        names = [name for name in found.split("\0") if name]
    else:
        names = [
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_file() and not SKIPPED & {*path.relative_to(root).parts}
        ]
    return sorted(name for name in names if (root / name).is_file())


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
    lock = into / RECIPE / LOCK.name  # where the scripts look for it
    lock.parent.mkdir()
    shutil.copyfile(into / "debian" / LOCK.name, lock)


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
        (tree / "wheels").mkdir()
        for wheel in chosen(wheels, LOCK):
            shutil.copyfile(wheel, tree / "wheels" / wheel.name)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME", "TMPDIR"}
        }
        subprocess.run(
            [
                "dpkg-buildpackage", "--build=binary", "--no-sign",
                "--no-check-builddeps",
                f"--host-arch={architecture}",
            ],
            check=True,
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        built = sorted(Path(folder).glob("sluicegate_*.deb"))
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(built[0], out / built[0].name)
    return out / built[0].name


def main() -> None:
    """Read the command line and build."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser = argparse.ArgumentParser(description="Build the Debian package.")
    parser.add_argument("--architecture", choices=MACHINES, default="amd64")
    parser.add_argument("--version", default="", help="not that of debian/changelog")
    parser.add_argument("--wheels", type=Path, default=cache / "sluicegate" / "wheels")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    if missing := missing_tools():
        sys.exit(f"the package needs Debian's tools: apt install {' '.join(missing)}")
    wheels = asked.wheels / asked.architecture
    print(build(asked.architecture, wheels, asked.version, asked.out))


if __name__ == "__main__":
    main()
