"""Every check: red by a seeded fault, and green once its fix line is followed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent.commands.doctor.table import CHECKS
from tests.support.broker import free_port
from tests.support.doctor_cases import ALL
from tests.support.doctor_house import House, row_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doctor_case import Case

RED = {"bad", "warn", "notice"}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, free_port())


@pytest.mark.parametrize("case", ALL, ids=str)
def test_red_by_a_fault_and_green_by_its_fix(case: Case, house: House) -> None:
    if case.as_root and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    with case.around(house):
        case.prepare(house)
        before = house.verdicts(*case.looked)
        assert before.get(case.id, "good") in {"good", "skipped"}
        case.seed(house)
        rows = house.examined(*case.looked)
        worse = {
            row.id
            for row in rows
            if row.verdict in RED and row.verdict != before.get(row.id)
        }
        assert worse == {case.id, *case.also}, rows
        row = row_of(rows, case.id)
        assert row.verdict == case.verdict
        assert case.says in row.said
        case.follow(house, row.fix)
        after = house.verdicts(case.id)
        assert after.get(case.id, "good") == "good"


def test_every_check_has_a_case() -> None:
    assert {check.id for check in CHECKS} == {case.id for case in ALL}
