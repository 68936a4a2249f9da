"""docs/policy-tools.md: its commands, run as typed, print what the page shows."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from policies.model_test import Expectation, Never, PolicyTest, Run, Whole

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/policy-tools.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
ELIDED = "..."


def commands(page: str) -> list[tuple[str, list[str]]]:
    """Return every command of the page with the lines below it."""
    out: list[tuple[str, list[str]]] = []
    for line in "".join(BLOCK.findall(page)).splitlines():
        if line.startswith("$ "):
            out.append((line[2:], []))
        else:
            out[-1][1].append(line)
    return out


def place(folder: Path, root: Path) -> dict[str, str]:
    """Make a folder that looks like a checkout; return the environment in it."""
    for name in ("policies", "firmware_sim"):
        (folder / name).symlink_to(root / name)
    bin_ = folder / "bin"
    bin_.mkdir()
    for name, module in (("sluicectl", " -m fleet.main"), ("python", "")):
        script = bin_ / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(root)}


def said(command: str, folder: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    return done.stdout.splitlines()


def agrees(shown: list[str], real: list[str]) -> bool:
    """Tell whether lines are as shown; ``...`` stands for any text of a line.

    On a line of its own it stands for any number of lines.
    """
    pattern = "".join(
        r"(?:[^\n]*\n)*?"
        if line == ELIDED
        else r"[^\n]*".join(map(re.escape, line.rstrip().split(ELIDED))) + r"\n"
        for line in shown
    )
    text = "".join(f"{line.rstrip()}\n" for line in real)
    return re.fullmatch(pattern, text) is not None


@pytest.mark.slow
def test_the_page_shows_what_the_commands_print(root: Path, tmp_path: Path) -> None:
    environment = place(tmp_path, root)
    wrong: list[str] = []
    for command, shown in commands((root / PAGE).read_text(encoding="utf-8")):
        real = said(command, tmp_path, environment)
        if not agrees(shown, real):
            wrong.append("\n".join([f"$ {command}", *real]))
    assert not wrong, "\n\n".join(wrong)


def test_the_page_names_every_field_of_a_tests_file(root: Path) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    for model in (PolicyTest, Run, Expectation, Never, Whole):
        for name in model.__struct_fields__:
            assert re.search(rf"`{name}`|`{name}:", page), name
