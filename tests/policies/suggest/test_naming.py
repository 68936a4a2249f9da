"""Names of drafts: unique, however alike the signals are, and never too long."""

from __future__ import annotations

import pytest

from policies.quantities import NAME_CHARACTERS_MAX
from policies.suggest.facts import Facts
from policies.suggest.naming import Namer
from policies.suggest.suggesting import Proposal

FORM = "Vehicle.Speed"


def _proposal(group: str, name: str, form: str) -> Proposal:
    return Proposal(Facts("file", group, name), "speed", "speed", "", 1.0, form)


def test_the_signal_then_the_message_then_a_number_tell_the_difference() -> None:
    namer = Namer()
    names = [namer.name(_proposal("ABS", "speed", FORM)) for _ in range(5)]
    numbers = ["", "_2", "_3", "_4"]
    assert names == [FORM, *(f"Vehicle.ABS.Speed{one}" for one in numbers)]


@pytest.mark.parametrize("length", [1, 79, 80, 400])
def test_thousands_of_one_name_are_all_unique_and_short_enough(length: int) -> None:
    form = f"Vehicle.{'.'.join(['Part' * 20] * 4)}.{{Name}}"
    namer = Namer()
    names = [
        namer.name(_proposal("G" * length, "n" * length, form)) for _ in range(3000)
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= NAME_CHARACTERS_MAX
