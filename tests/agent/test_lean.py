"""What the daemon leaves out: still asked for by its libraries, and not missed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agent.lean import ABSENT, ANNOTATIONS

pytestmark = pytest.mark.slow  # programs of their own, with everything that they find

LOADED = "import agent.commands.run, json, sys; print(json.dumps(sorted(sys.modules)))"


def _loaded(first: str) -> set[str]:
    """Return the modules that the daemon's program loads after these statements."""
    command = [sys.executable, "-c", f"{first}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout))


def test_what_is_left_out_would_be_loaded() -> None:
    whole = _loaded("import sys; sys.modules['asammdf'] = None")
    assert {*ANNOTATIONS, *ABSENT} <= whole


def test_cantools_brings_python_can_where_it_is_let() -> None:
    assert "can" in _loaded("import can") & _loaded("import cantools")
    assert "can" not in _loaded("import protocols.can.database")


def test_without_it_the_program_loads_and_is_smaller() -> None:
    whole = _loaded("import sys; sys.modules['asammdf'] = None")
    lean = _loaded("import agent.lean; agent.lean.leave_out()")
    assert not {"can", "typer", "rich", "pandas"} & lean
    assert lean < whole | {"agent.lean"}


def test_a_database_is_read_and_python_can_opens_a_bus_all_the_same() -> None:
    code = """
import agent.lean; agent.lean.leave_out()
import agent.commands.run
from protocols.can.database import parse_database
text = 'VERSION ""\\nBU_: A\\nBO_ 1 M: 8 A\\n SG_ S : 0|8@1+ (1,0) [0|255] "" A\\n'
messages = parse_database(text.encode(), "dbc", "x.dbc").messages
assert [one.name for one in messages] == ["M"]
import can, numpy
with can.Bus("lean", interface="virtual") as bus:
    assert bus.recv(0) is None
assert numpy.unique([2, 1, 2]).tolist() == [1, 2]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
