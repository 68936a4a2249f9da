"""Suricata's names of function codes."""

from __future__ import annotations

import pytest

from agent.inspection.eve_words import access_type, category, function_code
from protocols.modbus.functions import FUNCTIONS


@pytest.mark.parametrize(
    ("function", "name", "group"),
    [
        (1, "RdCoils", "PUBLIC_ASSIGNED"),
        (43, "MEI", "PUBLIC_ASSIGNED"),
        (90, "Unknown", "RESERVED"),
        (65, "Unknown", "USER_DEFINED"),
        (110, "Unknown", "USER_DEFINED"),
        (64, "Unknown", "PUBLIC_UNASSIGNED"),
    ],
)
def test_names_and_categories(function: int, name: str, group: str) -> None:
    assert function_code(function) == name
    assert category(function) == group


def test_every_public_function_has_a_name_and_those_with_a_table_an_access() -> None:
    for one in FUNCTIONS.values():
        if one.is_public:
            assert function_code(one.code) != "Unknown"
            assert (access_type(one.code) != "NONE") == (one.table != 255)
            assert ("WRITE" in access_type(one.code)) <= one.is_write
