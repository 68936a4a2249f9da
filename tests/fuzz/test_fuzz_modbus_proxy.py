"""Mutated ADUs through a proxy's core, in small; ``modbus_proxy.py`` runs a million."""

from __future__ import annotations

import pytest

from tests.fuzz.modbus_masters import framed, permitted, well_formed
from tests.fuzz.modbus_policy import judge
from tests.fuzz.modbus_proxy import Broken, run
from tests.support.proxying import allowing, read, write


@pytest.mark.parametrize("in_flight", [1, 16])
def test_nothing_forbidden_passes_and_nothing_breaks(in_flight: int) -> None:
    found = run(6_000, 20_261_126, judge(), in_flight)
    assert found.forwarded > 1_000
    assert found.writes > 300
    assert found.passed > 500
    assert found.closed > 10


def test_the_slow_judge_sees_a_proxy_that_lets_everything_through() -> None:
    with pytest.raises(Broken, match="forbidden"):
        run(6_000, 1, allowing())


def test_the_slow_judge_knows_its_policy() -> None:
    assert permitted(1, read(199))
    assert not permitted(1, read(199, 2))
    assert not permitted(3, read(1))
    assert permitted(2, write(109, 500))
    assert not permitted(2, write(109, 501))
    assert not permitted(1, b"\x10\0\x64\0\1\2\0")
    assert well_formed(b"\x17\0\0\0\1\0\x64\0\1\2\0\1")
    with pytest.raises(ValueError, match="half"):
        list(framed(b"\0\1\0\0\0\6\1\3"))
