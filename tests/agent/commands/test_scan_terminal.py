"""`scan` before a terminal of 100 columns, and in pipes that close early."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

from tests.promises.scan_kit import MAIN

if TYPE_CHECKING:
    from pathlib import Path


def command(data: Path) -> list[str]:
    folder = data / "can-comma2k19-rav4"
    return [
        sys.executable, "-c", MAIN, "scan", str(folder / "rav4_5s.candump.log"),
        "--policy", "passenger-fleet", "-b", "toyota-rav4-2017",
        "--databases", str(folder),
    ]  # fmt: skip


def test_a_terminal_of_100_columns_takes_every_line(data: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    with subprocess.Popen(
        command(data), stdout=theirs, stderr=subprocess.PIPE, env=environment
    ) as child:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        assert child.stderr is not None
        assert child.stderr.read() == b""  # no bar where stderr is a pipe
    os.close(ours)
    assert child.returncode == 0
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert b"\x1b" not in shown
    assert max(map(len, lines[1:])) <= 100  # the first names the file, however long
    name = "Vehicle.Powertrain.Transmission.PerformanceMode"
    (line,) = [line for line in lines if name in line]
    assert "powertrain-thinned encrypt" in line
    assert [line for line in lines if "security.event" in line]


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65_536)
    except OSError:  # EIO: the other end is closed
        return b""


def test_a_reader_that_has_seen_enough_is_no_error(data: Path) -> None:
    with subprocess.Popen(
        command(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert b"Traceback" not in child.stderr.read()
    assert child.returncode == 0
