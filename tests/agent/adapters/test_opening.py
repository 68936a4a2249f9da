"""Sources from the configuration: opened, or one line that says what is wrong."""

from __future__ import annotations

import pytest

from agent.adapters.opening import open_bus
from agent.config import Can
from agent.errors import BadInput, Unavailable


def test_a_python_can_bus_is_opened_by_its_interface() -> None:
    source = open_bus(Can(name="can0", interface="virtual", channel="opening"), 3)
    assert source.name == "virtual:opening"
    assert source.lost() == 0
    source.close()


@pytest.mark.parametrize(
    ("can", "error", "told"),
    [
        (Can(name="can0", interface="nothing"), BadInput, "no such interface"),
        (Can(name="no-such-bus0"), Unavailable, "no-such-bus0"),
        (Can(name="c", interface="slcan", channel="/nowhere"), Unavailable, "slcan"),
        (
            Can(name="c", interface="virtual", options={"receive_own_messages": "?"}),
            None,
            "",
        ),
    ],
    ids=["unknown", "absent", "no-device", "odd-option"],
)
def test_what_is_wrong_with_a_bus_is_said_in_one_line(
    can: Can, error: type[Exception] | None, told: str
) -> None:
    if error is None:
        open_bus(can, 0).close()
        return
    with pytest.raises(error, match=told) as caught:
        open_bus(can, 0)
    assert "\n" not in str(caught.value)
