"""A clock at 1970 or ten years ahead: promises 4 and 7."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import OTHER_WORLD, Gateway, Settings

if TYPE_CHECKING:
    from pathlib import Path

YEAR_S = 365 * 86_400
SINCE_1970 = -56 * YEAR_S
DECADE = 10 * YEAR_S


def wrong_by(gateway: Gateway, seconds: int) -> None:
    whole = gateway.folder / "clock.new"
    whole.write_text(str(seconds), encoding="ascii")
    whole.replace(gateway.folder / "clock")


def envelopes(gateway: Gateway) -> int:
    return len(gateway.collector.entries("flow.out"))


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("seconds", [SINCE_1970, DECADE], ids=["1970", "plus-10-years"])
def test_a_wrong_clock_at_start_permits_nothing_new(
    tmp_path: Path, seconds: int
) -> None:
    """Cards are not yet, or no longer, good: their destinations are closed."""
    settings = Settings(program=OTHER_WORLD)
    with Gateway(tmp_path, settings) as gateway:
        gateway.drive()
        gateway.start()  # one good life: committed data that must not be lost
        gateway.until(lambda: gateway.metric("samples_total") > 500)
        gateway.kill()
        wrong_by(gateway, seconds)
        gateway.start()
        gateway.until(lambda: gateway.metric("samples_total") > 5000)
        told = gateway.problems()
        assert gateway.status()["clock"] == "low"
        assert "clock: not believed" in told
        gateway.park()
        gateway.drained()
        boot = gateway.collector.entries("boot")[-1]
        assert boot["clock"] == "low"
        new = [
            entry
            for entry in gateway.collector.entries("flow.out")
            if entry["boot"] == boot["boot"]
        ]
        if seconds == DECADE:
            assert "oem closed: recipient oem-2026: card expired" in told
            assert new == []
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_clock_that_jumps_closes_and_opens_again(tmp_path: Path) -> None:
    settings = Settings(program=OTHER_WORLD)
    with Gateway(tmp_path, settings) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: envelopes(gateway) > 10)
        for seconds in (DECADE, 0, SINCE_1970, 0):
            wrong_by(gateway, seconds)
            if seconds:
                gateway.until(lambda: "not believed" in gateway.problems())
                assert gateway.status()["clock"] == "low"
            if seconds == DECADE:
                gateway.until(lambda: "oem closed" in gateway.problems())
                before = gateway.metric("samples_total")
                gateway.until(
                    lambda: gateway.metric("samples_total") > before + 1000  # noqa: B023  # used at once
                )
            elif seconds == 0:
                gateway.until(lambda: "closed" not in gateway.problems())
                sent = envelopes(gateway)
                gateway.until(lambda: envelopes(gateway) > sent)  # noqa: B023  # the same
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
        entries = gateway.collector.entries()
        steps = [n for n, one in enumerate(entries) if one["type"] == "cfg.change"]
        reasons = [entries[number]["reason"] for number in steps]
        assert reasons == ["start", "cards", "cards"]
        between = {entry["type"] for entry in entries[steps[1] : steps[2]]}
        assert "flow.out" not in between
        assert "count.snap" in between
