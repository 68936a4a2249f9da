"""What the daemon leaves out: still asked for by its libraries, and not missed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import field
from itertools import product

import pytest

from agent.lean import ABSENT, ANNOTATIONS, DOCSTRINGS, PROXIES, plain_records

pytestmark = pytest.mark.slow  # programs of their own, with everything that they find

LOADED = "import agent.commands.run, json, sys; print(json.dumps(sorted(sys.modules)))"


def _loaded(first: str) -> set[str]:
    """Return the modules that the daemon's program loads after these statements."""
    command = [sys.executable, "-c", f"{first}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout))


def test_what_is_left_out_would_be_loaded() -> None:
    whole = _loaded("import sys; sys.modules['asammdf'] = None")
    assert {*ANNOTATIONS, *ABSENT, *DOCSTRINGS, PROXIES} <= whole


def test_cantools_brings_python_can_where_it_is_let() -> None:
    assert "can" in _loaded("import can") & _loaded("import cantools")
    assert "can" not in _loaded("import protocols.can.database")


def test_without_it_the_program_loads_and_is_smaller() -> None:
    whole = _loaded("import sys; sys.modules['asammdf'] = None")
    lean = _loaded("import agent.lean; agent.lean.leave_out()")
    assert not {"can", "typer", "rich", "pandas", "http.client"} & lean
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


def test_what_asks_for_proxies_is_told_of_none_and_what_asks_for_more_has_it() -> None:
    code = """
import agent.lean; agent.lean.leave_out()
import sys, types, urllib.parse, urllib.request
assert urllib.request.getproxies() == {}, "as paho asks where PySocks is installed"
assert "http.client" not in sys.modules
import paho.mqtt.client as paho
paho.socks = types.SimpleNamespace(HTTP=3, SOCKS4=1, SOCKS5=2, get_default_proxy=dict)
client = paho.Client(paho.CallbackAPIVersion.VERSION2)
client._host = "127.0.0.1"
assert client._get_proxy() is None
from urllib.request import url2pathname, urlopen
import urllib.request
assert urllib.request.urlopen is urlopen
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def _records(*, frozen: bool) -> list[type]:
    """Return records of no field, one, and three; of the last not all counts."""

    @dataclasses.dataclass(frozen=frozen, slots=True)
    class Empty:
        """Nothing."""

    @dataclasses.dataclass(frozen=frozen, slots=True)
    class One:
        """One field."""

        a: object

    @dataclasses.dataclass(frozen=frozen, slots=True)
    class Three:
        """What counts, what does not, and what is made."""

        a: object
        b: object = field(default=0, compare=False)
        c: list[int] = field(default_factory=list, hash=False)

    return [Empty, One, Three]


@pytest.mark.parametrize("frozen", [False, True])
def test_plain_records_compare_and_hash_as_whole_ones_do(*, frozen: bool) -> None:
    whole = _records(frozen=frozen)
    with plain_records():
        plain = _records(frozen=frozen)
    assert dataclasses.dataclass.__module__ == "dataclasses"
    nan, other = float("nan"), float("nan")  # one in two: equal only before 3.13
    made = [
        [empty(), one(1), one(1.0), one(nan), one(other), three(1), three(1, 2),
         three(1, c=[3]), three((1,))]
        for empty, one, three in (whole, plain)
    ]  # fmt: skip
    for i, j in product(range(len(made[0])), repeat=2):
        assert (made[0][i] == made[0][j]) == (made[1][i] == made[1][j])
        assert made[0][i] != made[1][j]  # of other classes
    for first, second in zip(*made, strict=True):
        if frozen:
            assert hash(first) == hash(second)
            if dataclasses.fields(second):
                with pytest.raises(dataclasses.FrozenInstanceError):
                    second.a = 1
        else:
            assert type(second).__hash__ is None
        assert dataclasses.asdict(first) == dataclasses.asdict(second)
        assert "1" not in repr(second).partition(" at ")[0]


def test_plain_records_leave_what_is_ordered_or_compares_itself() -> None:
    with plain_records():

        @dataclasses.dataclass(frozen=True, order=True)
        class Ordered:
            """Compared by the standard library's own methods."""

            a: int

        @dataclasses.dataclass
        class Own:
            """Compares itself."""

            a: int

            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]  # as Python does it

        @dataclasses.dataclass(eq=False)
        class Same:
            """Equal to itself alone."""

            a: int

    assert Ordered(1) < Ordered(2)
    assert Own(1) == Own(2)
    assert Same(1) != Same(1)
    assert len({Same(1), Same(1)}) == 2
