"""The tree that is built from: files, version, time. Standard library only."""

from __future__ import annotations

import email.utils
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SKIPPED: Final = {".git", ".venv", "build", "dist", "__pycache__"}
CHANGELOG: Final = Path("systemd/debian/changelog")


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


def source_epoch(root: Path = ROOT) -> int:
    """Return the time, in seconds, of all we build: of the newest changelog entry."""
    text = (root / CHANGELOG).read_text("utf-8")
    found = re.search(r"^ -- .*>  (.+)$", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{CHANGELOG}: no entry with a date")
    return int(email.utils.parsedate_to_datetime(found[1]).timestamp())


def version(root: Path = ROOT) -> str:
    """Return the version that the code says."""
    text = (root / "agent" / "__init__.py").read_text("utf-8")
    found = re.search(r'^VERSION: Final = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise SystemExit("agent/__init__.py: no VERSION")
    return found[1]


def changelog_version(root: Path = ROOT) -> str:
    """Return the version of the newest changelog entry: the package's."""
    text = (root / CHANGELOG).read_text("utf-8")
    found = re.match(r"sluicegate \(([^)]+)\)", text)
    if found is None:
        raise SystemExit(f"{CHANGELOG}: no entry of sluicegate")
    return found[1]


def cache_folder() -> Path:
    """Return where fetched wheels are kept between builds."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "sluicegate", "wheels")
