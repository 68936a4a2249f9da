"""Tutorials, run as they are written.

All ```sh blocks go through one bash, in order, in an empty folder, with nothing changed
but PORT. A ```text block is what the block before it prints; a block without one prints
nothing. Before both are compared,

* keys and digests (16 or more hexadecimal digits, or four groups of four), base64 keys,
  dates and times become ``#``;
* so do numbers with a decimal point, numbers of two or more digits and seconds, but not
  shares (``100 %``): those are promises;
* runs of spaces become one, and spaces at the end of a line go;
* ``...`` in the document stands for any text of a line, alone on a line for any lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARK = "=== end of a block, exit code "
PATIENCE_S = 840  # fifteen minutes are what a document promises
MASKS = (
    re.compile(r"\b[0-9a-f]{16,}\b|\b[0-9a-f]{4}(?: [0-9a-f]{4}){3}\b"),
    re.compile(r"[A-Za-z0-9+/]{43}="),
    re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\dZ?)?"),
    re.compile(r"\b\d+\.\d+|\b\d{2,}\b(?! ?%)|\b\d+(?= s\b)"),
)


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return (commands, what they print) of a document, in order."""
    found: list[tuple[str, str]] = []
    for kind, body in FENCE.findall(document.read_text(encoding="utf-8")):
        if kind == "sh":
            found.append((body, ""))
        else:
            assert kind == "text"
            assert not found[-1][1], "two outputs of one block"
            found[-1] = (found[-1][0], body)
    return found


def masked(text: str) -> list[str]:
    for mask in MASKS:
        text = mask.sub("#", text)
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def matches(shown: str, printed: str) -> bool:
    """Tell whether a block printed what the document shows."""
    parts = [
        r"(?:.*\n)*?"
        if line == "..."
        else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in masked(shown)
    ]
    return bool(
        re.fullmatch("".join(parts), "".join(f"{s}\n" for s in masked(printed)))
    )


def run(script: str, folder: Path) -> tuple[str, bool]:
    """Return what a script prints, and whether all that it had started was ended.

    What was not is ended here.
    """
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "printed").open("w+", encoding="utf-8") as printed:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env={**os.environ, "PATH": places},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                shell.wait(PATIENCE_S)
        finally:
            is_ended = was_ended(shell.pid)
        shell.wait()
        printed.seek(0)
        return printed.read(), is_ended


def was_ended(group: int) -> bool:
    """End what is left of a process group; True where nothing was."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return True
    return False


def differences(
    written: list[tuple[str, str]], commands: list[str], folder: Path
) -> str:
    """Run commands in place of those written; return what is not as it is shown."""
    script = "".join(f'{body}printf "%s%s\\n" "{MARK}" $?\n' for body in commands)
    printed, is_ended = run(script, folder)
    told = re.split(rf"{MARK}(\d+)\n", printed)
    other = [
        f"{body}\nshown:\n{shown}\nprinted:\n{output}"
        for (body, shown), output in zip(written, told[0::2], strict=False)
        if not matches(shown, output)
    ]
    if not other and (told[-2:] != ["0", ""] or len(told) != 2 * len(written) + 1):
        other = [f"it did not come to its end:\n{printed[-2000:]}"]
    if not is_ended:
        other.append("the last block has not ended everything")
    return "\n".join(other)


def prints_what_it_shows(name: str, folder: Path, port_line: str, port: int) -> None:
    """Run a tutorial with another port; assert that all is as it says."""
    written = blocks(TUTORIALS / name)
    assert written[0][0].startswith(port_line)
    commands = [body for body, _ in written]
    commands[0] = commands[0].replace(port_line, f"PORT={port}\n")
    other = differences(written, commands, folder)
    assert not other, other
