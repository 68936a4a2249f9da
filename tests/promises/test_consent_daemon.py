"""Consents and a whole gateway: given, it flows; taken back, it stops (COL-02, PI-06).

``speed`` leaves under a consent, ``brakes`` under another that may survive ignition
cycles; the rest of the policy never asks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import OTHER_WORLD, POLICY, REST, Gateway, Settings

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
  - {name: speed, match: {category: location.deadreckoning, consent: logbook},
     to: oem, purpose: logbook, do: [{every: 200ms}, encrypt]}
  - {name: window, match: {item: "Vehicle.Chassis.**", max_tier: G2, pi: none,
     consent: quality}, to: supplier, purpose: warranty,
     do: [{aggregate: {window: 1h, of: [min, max]}}, encrypt]}
  - {name: driving, match: {category: chassis.controls, consent: quality}, to: oem,
     purpose: quality, do: [encrypt]}
"""
CONSENTS = """\
consents:
  logbook: {about: Your way goes to the maker., categories: [location.deadreckoning],
    purpose: logbook, at_most: 30d}
  quality: {about: How you drive., categories: [chassis], at_most: 30d,
    survives_ignition: true}
"""
TEXT = POLICY.format(version=1, rules=RULES) + CONSENTS
SETTINGS = Settings(policy=TEXT)


def consent(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from agent.main import main; main()", "consent",
         *words, "-c", "gw.toml"],
        cwd=gateway.folder, capture_output=True, text=True, check=False, timeout=60,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p)),
    )  # fmt: skip


def _replace(file: Path, body: bytes) -> None:
    """Write a file that the daemon looks at any time: never half of it."""
    new = file.with_suffix(".new")
    new.write_bytes(body)
    new.replace(file)


def sent(gateway: Gateway, rule: str = "speed") -> float:
    rows = gateway.page("/metrics").splitlines()
    return sum(
        float(row.rsplit(" ", 1)[1])
        for row in rows
        if f'rule="{rule}"' in row and 'outcome="sent"' in row
    )


def state(gateway: Gateway, name: str) -> str:
    consents = gateway.status()["consents"]
    assert isinstance(consents, list)
    (found,) = [one for one in consents if one["name"] == name]
    return f"{found['state']}: {found['reason']}"


def changes(gateway: Gateway) -> list[tuple[str, str, str, str]]:
    return [
        (e["consent"], e["state"], e["set_by"], e["cause"])
        for e in gateway.collector.entries("consent.state")
    ]


def flowed_after_its_end(gateway: Gateway, name: str, rule: str) -> list[object]:
    """Return the envelopes of a rule that the log names after its consent's end."""
    log = gateway.collector.entries()
    ends = [
        place
        for place, e in enumerate(log)
        if e["type"] == "consent.state" and (e["consent"], e["state"]) == (name, "off")
    ]
    return [
        e["seq"]
        for e in log[ends[-1] :]
        if e["type"] == "flow.out" and rule in {one for one, _, _ in e["rules"]}
    ]


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_given_it_flows_withdrawn_it_stops_and_a_kill_ends_it(tmp_path: Path) -> None:
    with Gateway(tmp_path, SETTINGS) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: gateway.metric("samples_total") > 500)
        assert sent(gateway) == sent(gateway, "driving") == 0
        assert state(gateway, "logbook") == "off: not given"

        told = consent(gateway, "give", "logbok", "--for", "7d")
        assert (told.returncode, "did you mean 'logbook'?" in told.stderr) == (2, True)
        told = consent(gateway, "give", "logbook", "--for", "60d")
        assert (told.returncode, told.stdout) == (
            1, "logbook refused: longer than the policy allows\n",
        )  # fmt: skip
        told = consent(gateway, "give", "logbook", "--for", "7d", "--opt-in")
        assert "refused: the policy lets it survive no ignition cycle" in told.stdout
        told = consent(gateway, "give", "logbook", "--for", "7d", "--by", "guardian")
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.startswith("logbook on until 20")
        told = consent(gateway, "give", "quality", "--for", "7d", "--opt-in")
        assert told.stdout.endswith("by driver, survives ignition cycles\n")
        gateway.until(lambda: sent(gateway) > 20 and sent(gateway, "driving") > 20)
        assert "guardian" in consent(gateway, "list").stdout

        gateway.kill()
        gateway.start()
        gateway.until(lambda: gateway.metric("samples_total") > 500)
        assert state(gateway, "logbook") == "off: a new ignition cycle began"
        assert state(gateway, "quality") == "on: "
        before = sent(gateway), sent(gateway, "driving")
        gateway.until(lambda: sent(gateway, "driving") > before[1] + 20)
        assert sent(gateway) == before[0]

        began = time.monotonic()
        (gateway.state / "consents.json").unlink()
        gateway.until(lambda: state(gateway, "quality") == "off: not given")
        assert time.monotonic() - began < 10  # 1 s, and a disk that stalls
        seen = gateway.metric("samples_total")
        gateway.until(lambda: gateway.metric("samples_total") > seen + 500)
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
        assert flowed_after_its_end(gateway, "quality", "driving") == []
        assert changes(gateway) == [
            ("logbook", "refused", "driver", "longer than the policy allows"),
            ("logbook", "refused", "driver",
             "the policy lets it survive no ignition cycle"),
            ("logbook", "on", "guardian", "given"),
            ("quality", "on", "driver", "given"),
            ("logbook", "off", "ignition", "a new ignition cycle began"),
            # The statement was still in the file that went: it is taken back, too.
            ("logbook", "off", "guardian", "withdrawn"),
            ("quality", "off", "driver", "withdrawn"),
        ]  # fmt: skip


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_what_waits_goes_with_the_consent_and_only_that(tmp_path: Path) -> None:
    """No broker: everything waits. The rest of the same label stays."""
    text = POLICY.format(version=1, rules=RULES + REST) + CONSENTS
    with Gateway(tmp_path, Settings(policy=text), with_broker=False) as gateway:
        gateway.drive()
        gateway.start()
        assert consent(gateway, "give", "quality", "--for", "1h").returncode == 0
        assert consent(gateway, "give", "logbook", "--for", "1h").returncode == 0
        gateway.until(lambda: sent(gateway) > 20 and sent(gateway, "driving") > 20)
        gateway.until(lambda: sent(gateway, "powertrain") > 5)
        gateway.park()
        assert gateway.metric("spool_records") > 0
        told = consent(gateway, "withdraw", "--all")
        assert told.stdout == "logbook withdrawn\nquality withdrawn\n"
        gateway.broker.start()
        gateway.drained()
        assert gateway.stop() == 0
        destroyed = gateway.collector.entries("destroy.rec")
        assert sum(e["count"] for e in destroyed) > 2
        assert {e["cause"] for e in destroyed} == {"destroyed"}
        came = {
            rule
            for e in gateway.collector.entries("flow.out")
            for rule, _, _ in e["rules"]
            if (e["epoch"], e["seq"]) not in gateway.collector.lost()
        }
        assert {"speed", "driving"}.isdisjoint(came)
        assert "powertrain" in came
        assert gateway.collector.problems() == []


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_consent_expires_by_the_clock_and_a_bad_file_gives_none(
    tmp_path: Path,
) -> None:
    with Gateway(tmp_path, Settings(policy=TEXT, program=OTHER_WORLD)) as gateway:
        gateway.drive()
        gateway.start()
        assert consent(gateway, "give", "quality", "--for", "1h").returncode == 0
        gateway.until(lambda: sent(gateway, "driving") > 5)
        file = gateway.state / "consents.json"
        good = file.read_bytes()
        _replace(file, good[:-20])
        gateway.until(lambda: state(gateway, "quality").endswith("cannot be read"))
        assert "consents.json: is no JSON" in gateway.problems()
        _replace(file, good)
        gateway.until(lambda: state(gateway, "quality") == "on: ")
        assert gateway.problems() == ""

        clock = gateway.folder / "clock.new"
        clock.write_text("7200", encoding="ascii")
        clock.replace(gateway.folder / "clock")
        gateway.until(lambda: state(gateway, "quality") == "off: expired")
        seen = gateway.metric("samples_total")
        gateway.until(lambda: gateway.metric("samples_total") > seen + 500)
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
        assert flowed_after_its_end(gateway, "quality", "driving") == []
        assert [one[1:] for one in changes(gateway)] == [
            ("on", "driver", "given"),
            ("off", "file", "the file cannot be read"),
            ("on", "driver", "again"),
            ("off", "expiry", "expired"),
        ]
