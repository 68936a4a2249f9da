"""Build the two wheels: the gateway's, and the operator's on top of it.

    python systemd/build_wheels.py [--out dist] [--cache FOLDER]

A checkout is one project, and its editable install holds everything. What is handed out
is two: `sluicegate` without `fleet` and `firmware_sim`, and `sluicegate-fleet` with
them, which asks for exactly the same version of the first (docs/adr/0007). Each is
built from a copy of the tree that holds only its own rooms, by a locked setuptools
in a process of its own; times are those of `debian/changelog`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

from build_fetch import chosen, fetch
from build_sbom import beside
from build_source import ROOT, cache_folder, source_epoch, tracked

LOCK: Final = ROOT / "systemd" / "build.lock"
TOP: Final = ("README.md", "LICENSE")  # what both metadata name
SUFFIXES: Final = (".py", ".yaml", ".json", ".dbc")
OPERATOR: Final = ("fleet", "firmware_sim")
GATEWAY: Final = ("agent", "policies", "protocols")
BACKEND: Final = """\
import sys
sys.path.insert(0, sys.argv[1])
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[2]))
"""


def gateway_project(project: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of the gateway's wheel: nothing of the operator's side."""
    extras = project["optional-dependencies"]
    return project | {
        "scripts": {"sluicegate": project["scripts"]["sluicegate"]},
        "optional-dependencies": {
            name: extras[name] for name in ("mf4", "pkcs11", "gm")
        },
    }


def operator_project(project: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of the operator's wheel."""
    extras = project["optional-dependencies"]
    return project | {
        "name": "sluicegate-fleet",
        "description": "The operator's side of Sluicegate, and its simulator.",
        "dependencies": [f"sluicegate=={project['version']}"],
        "scripts": {"sluicectl": project["scripts"]["sluicectl"]},
        "optional-dependencies": {"sim": extras["sim"]},
    }


def toml(table: dict[str, Any], path: str = "") -> str:
    """Write tables of texts and lists of texts: JSON's own notation, TOML's too."""
    plain = {k: v for k, v in table.items() if not isinstance(v, dict)}
    lines = [f"[{path}]"] if path and (plain or not table) else []
    lines += [f"{json.dumps(k)} = {json.dumps(v)}" for k, v in plain.items()]
    text = "".join(f"{line}\n" for line in lines)
    for key, value in table.items():
        if isinstance(value, dict):
            text += toml(value, f"{path}.{json.dumps(key)}" if path else key)
    return text


def stage(into: Path, rooms: tuple[str, ...], project: dict[str, Any]) -> None:
    """Copy these rooms of the tree, with a pyproject.toml of their own."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    tools = whole["tool"]["setuptools"]
    data = {k: v for k, v in tools["package-data"].items() if k in rooms}
    table = {
        "build-system": whole["build-system"],
        "project": project,
        "tool": {
            "setuptools": {
                "packages": {"find": {"include": [f"{room}*" for room in rooms]}},
                "package-data": data,
            }
        },
    }
    for name in tracked(ROOT):
        room = name.partition("/")[0]
        if name in TOP or (room in rooms and name.endswith(SUFFIXES)):
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    (into / "pyproject.toml").write_text(toml(table), "utf-8")
    for path in sorted(into.rglob("*")):  # whatever the umask is
        path.chmod(0o755 if path.is_dir() else 0o644)


def build(backend: Path, rooms: tuple[str, ...], project: dict[str, Any]) -> bytes:
    """Return one wheel, as setuptools writes it."""
    with tempfile.TemporaryDirectory(prefix="sluicegate-wheel-") as folder:
        tree, out = Path(folder, "tree"), Path(folder, "out")
        tree.mkdir()
        out.mkdir()
        stage(tree, rooms, project)
        environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(source_epoch()),
        }
        subprocess.run(
            [sys.executable, "-IBc", BACKEND, str(backend), str(out)],
            check=True,
            cwd=tree,
            umask=0o022,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        return next(out.glob("*.whl")).read_bytes()


def build_both(cache: Path, out: Path) -> list[Path]:
    """Build the gateway's and the operator's wheel into ``out``."""
    fetch("any", cache / "any", LOCK)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    out.mkdir(parents=True, exist_ok=True)
    built = []
    with tempfile.TemporaryDirectory(prefix="sluicegate-backend-") as folder:
        for wheel in chosen(cache / "any", LOCK):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)  # the lock's hashes say whose it is
        for rooms, told in (
            (GATEWAY, gateway_project(project)),
            (OPERATOR, operator_project(project)),
        ):
            stem = told["name"].replace("-", "_")
            path = out / f"{stem}-{told['version']}-py3-none-any.whl"
            path.write_bytes(build(Path(folder), rooms, told))
            beside(path, cache)
            built.append(path)
    return built


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build both wheels.")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    for path in build_both(asked.cache, asked.out):
        print(path)


if __name__ == "__main__":
    main()
