"""The bench's simulated fleet, small: 1 %, everybody, a halt by itself, an abort.

The same code with 10,000 devices writes the section in docs/performance.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.rollout import Plan, measure, rows_of
from bench.rollout_device import draw
from bench.rollout_plot import drawn
from bench.rollout_site import FLEET
from fleet.trust.journal import check_journal
from tests.support.broker import needs_mosquitto

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = 200
PLAN = Plan(
    devices=DEVICES, workers=2, refusing_first=100, refusing_second=800, reverting=100,
    trial_s=1, narrow="10%", wide="60%", good=("50%", "50%", "100"),
    bad=("2.5%", "50%", "10"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.broker
@needs_mosquitto
def test_two_hundred_gateways_take_a_rollout_and_halt_the_bad_one(
    tmp_path: Path,
) -> None:
    names = [f"gw-{number:05}" for number in range(DEVICES)]
    refusing = sum(draw("floor", one) < PLAN.refusing_first for one in names)
    never = sum(draw("floor", one) < PLAN.refusing_second for one in names)
    reverting = sum(
        draw("uplink", one) < PLAN.reverting
        and draw("floor", one) >= PLAN.refusing_first
        for one in names
    )
    said: list[str] = []
    found = measure(tmp_path, PLAN, said.append)
    few, every, halted, aborted = found.steps
    assert found.connected == DEVICES, said
    assert sum(found.slots) == DEVICES

    assert few.code == 0
    assert 5 < few.report["expected"] < 40  # about 20
    assert few.told["counts"]["bundles"] == DEVICES
    assert few.told["decides"]["0"] >= DEVICES - few.report["expected"]

    told = every.report["outcomes"]
    assert every.code == 0
    assert every.report["expected"] == DEVICES
    assert told.get("refused", 0) == refusing
    assert told.get("reverted", 0) == reverting
    assert told["active"] == DEVICES - refusing - reverting
    assert every.told["decides"]["1"] == told["active"]

    assert (refusing, never) == (4, 23)  # of these names; the shares are 1 % and 8 %
    assert halted.code == 1
    assert "halted: " in halted.error
    assert "the limit is 2.5 %): floor" in halted.error
    assert halted.told["decides"]["2"] < DEVICES - never
    assert halted.told["received"] == 2 * DEVICES  # the step, and its pause

    assert aborted.code == 0
    assert "2" not in aborted.told["decides"]
    journal = check_journal(tmp_path / "repository", FLEET).entries
    assert [one.action.removeprefix("rollout ") for one in journal] == [
        "start", "widen", "start", "halt", "abort",
    ]  # fmt: skip
    assert journal[3].facts["by"] == "limits"
    assert [row.met for row in rows_of(found)].count(False) == 0
    assert drawn(found.steps).count("<polyline") == 16
