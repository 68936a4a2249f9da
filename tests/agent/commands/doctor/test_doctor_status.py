"""What the running agent says is wrong is sent on to the checks that look at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent import VERSION
from agent.commands.doctor.checks_status import PROBLEMS
from agent.commands.doctor.table import select
from tests.support.broker import free_port
from tests.support.doctor_house import House
from tests.support.status_stub import StatusStub

if TYPE_CHECKING:
    from pathlib import Path


def test_every_place_to_look_is_a_check_or_a_group() -> None:
    assert all(select([group]) for group in PROBLEMS.values())


@pytest.mark.parametrize(
    ("problem", "group"),
    [
        ("clock: not believed: stepped", "clock"),
        ("can0: interface is down (ip link set up)", "can"),
        ("oem closed: recipient oem-key: card expired on 2026-01-01", "recipients"),
        ("certificate: the new one is not taken", "tls"),
        ("EVE log: 3 lines could not be written", "eve"),
        ("something: new", ""),
    ],
)
def test_a_problem_names_the_checks_that_look_at_it(
    tmp_path: Path, problem: str, group: str
) -> None:
    house = House(tmp_path, free_port())
    page = {"agent": VERSION, "problems": [problem]}
    with StatusStub(tmp_path / "status.sock", lambda: json.dumps(page)):
        (row,) = house.examined("status.problems")
    assert row.said == f"the agent says: {problem}"
    wanted = f"run `sluicegate doctor -c {house.config}" + (
        f" --only {group}`" if group else "`"
    )
    assert row.fix.endswith(wanted)
