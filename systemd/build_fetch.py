"""Fetch the locked wheels of one architecture into a folder; pip checks every hash.

    python systemd/build_fetch.py amd64 FOLDER

What lies in the folder already is not fetched again, so that a second build needs no
package registry.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from build_platforms import MACHINES, pip_target

LOCK: Final = Path(__file__).with_name("debian") / "requirements.lock"


def locked(lock: Path) -> dict[str, tuple[str, set[str]]]:
    """Return name -> (version, SHA-256 digests that are allowed)."""
    found: dict[str, tuple[str, set[str]]] = {}
    name = ""
    for line in lock.read_text("utf-8").splitlines():
        if pinned := re.match(r"([a-z0-9-]+)==([^\s\\]+)", line):
            name = pinned[1]
            found[name] = (pinned[2], set())
        elif digest := re.match(r"\s+--hash=sha256:([0-9a-f]{64})", line):
            found[name][1].add(digest[1])
    return found


def held(folder: Path, lock: Path) -> dict[str, Path]:
    """Return digest -> wheel, of the wheels in ``folder`` that the lock names."""
    wanted = {digest for _, digests in locked(lock).values() for digest in digests}
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in sorted(folder.glob("*.whl"))
    }
    return {digest: path for digest, path in found.items() if digest in wanted}


def wheel_name(wheel: Path) -> str:
    """Return the normalised name of the distribution in a wheel."""
    return re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()


def chosen(folder: Path, lock: Path) -> list[Path]:
    """Return one wheel per locked name; SystemExit where one is missing."""
    have = held(folder, lock)
    wheels = []
    for name, (version, digests) in locked(lock).items():
        found = [have[digest] for digest in sorted(digests) if digest in have]
        if len(found) != 1:
            raise SystemExit(
                f"{folder}: {len(found)} wheels of {name} {version}, not one; "
                "run systemd/build_fetch.py, or `make lock` where the lock is old"
            )
        wheels += found
    return wheels


def fetch(architecture: str, folder: Path, lock: Path = LOCK) -> None:
    """Fill ``folder``; ask the registry only where a wheel is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(held(folder, lock)) == len(locked(lock)):
        return
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
            "--require-hashes", "--dest", str(folder), *pip_target(architecture),
            "--requirement", str(lock),
        ],
        check=True,
    )  # fmt: skip
    chosen(folder, lock)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MACHINES:
        raise SystemExit(__doc__)
    fetch(sys.argv[1], Path(sys.argv[2]))
