"""What bounds a broker stands twice, as agent and fleet share no code: the same."""

from __future__ import annotations

import inspect

import pytest

from agent.adapters import mqtt_bounds
from fleet import link_bounds


@pytest.mark.parametrize("name", ["bound", "enter", "hang_up", "PacketTooLargeError"])
def test_a_mend_of_one_side_is_made_on_the_other(name: str) -> None:
    ours, theirs = getattr(mqtt_bounds, name), getattr(link_bounds, name)
    assert inspect.getsource(ours) == inspect.getsource(theirs)


@pytest.mark.parametrize("name", ["COLLECTED_BYTES_MAX", "WITH_WILL"])
def test_their_limits_are_the_same(name: str) -> None:
    assert getattr(mqtt_bounds, name) == getattr(link_bounds, name)
