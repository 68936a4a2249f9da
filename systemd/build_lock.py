"""Write the lock of the Debian package: every dependency with the hashes of its wheels.

    python systemd/build_lock.py            resolve anew and write the lock
    python systemd/build_lock.py --keep     the same versions, hashes of more wheels

Resolves what ``pyproject.toml`` asks for, once per architecture, with pip's resolver
(``--dry-run --report``); refuses where two architectures get different versions.
Needs the package registry. No host name goes into the file: hashes say what is meant.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from build_platforms import pip_target

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "systemd" / "debian" / "requirements.lock"
BUILD_LOCK: Final = LOCK.parents[1] / "build.lock"
BUILD_HEAD: Final = "# Made by `make lock`: what builds the wheels.\n"
LOCKED: Final = ("amd64", "arm64")  # armhf: docs/packaging.md says why not
HEAD: Final = """\
# Made by `make lock` from pyproject.toml; do not edit. One hash per wheel: those of
# amd64 and arm64, or one for both.
"""


def resolved(architecture: str, wanted: list[str]) -> dict[str, tuple[str, str]]:
    """Return name -> (version, SHA-256 of the wheel) for one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--dry-run",
                "--ignore-installed", "--target", folder, "--report", str(report),
                *pip_target(architecture), *wanted,
            ],
            check=True,
        )  # fmt: skip
        found = json.loads(report.read_bytes())["install"]
    return {
        re.sub(r"[-_.]+", "-", one["metadata"]["name"]).lower(): (
            one["metadata"]["version"],
            one["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for one in found
    }


def lock_text(tables: list[dict[str, tuple[str, str]]], head: str = HEAD) -> str:
    """Return the lock; SystemExit where architectures disagree about a version."""
    lines = [head]
    for name in sorted({name for table in tables for name in table}):
        found = [table[name] for table in tables if name in table]
        versions = {version for version, _ in found}
        if len(versions) > 1 or len(found) < len(tables):
            raise SystemExit(f"{name}: not the same on all architectures: {versions}")
        hashes = " \\\n    ".join(
            f"--hash=sha256:{one}" for one in sorted({digest for _, digest in found})
        )
        lines.append(f"{name}=={versions.pop()} \\\n    {hashes}\n")
    return "".join(lines)


def main() -> None:
    """Resolve and write."""
    parser = argparse.ArgumentParser(description="Write the lock of the package.")
    parser.add_argument("--keep", action="store_true", help="keep the locked versions")
    keep = parser.parse_args().keep
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = list(project["project"]["dependencies"])
    if keep:
        wanted += re.findall(
            r"^[\w-]+==[^\s\\]+", LOCK.read_text("utf-8"), re.MULTILINE
        )
    tables = [resolved(architecture, wanted) for architecture in LOCKED]
    LOCK.write_text(lock_text(tables), "utf-8")
    backend = resolved("any", list(project["build-system"]["requires"]))
    BUILD_LOCK.write_text(lock_text([backend], BUILD_HEAD), "utf-8")


if __name__ == "__main__":
    main()
