"""Scenario files of networks: shipped ones load, wrong ones are told where."""

from __future__ import annotations

import pytest

from firmware_sim.errors import ScenarioError
from firmware_sim.network.model import EXPECTED, NetworkScenario
from firmware_sim.scenario import FOLDER, load_scenario, parse_scenario, shipped

SHORT = (FOLDER / "plant-attacks-short.yaml").read_text(encoding="utf-8")


def test_shipped_networks_load_and_show_every_attack() -> None:
    loaded = [load_scenario(name) for name in shipped()]
    networks = [one for one in loaded if isinstance(one, NetworkScenario)]
    assert len(networks) == 5
    kinds = {attack.kind for one in networks for attack in one.attacks}
    assert kinds == set(EXPECTED)
    families = {
        family for one in networks for a in one.attacks for family in a.expected
    }
    assert families == {f"M{number}" for number in range(1, 12)}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("kind: overwrite, at: 200s", "kind: overwrit, at: 200s", "Invalid enum value"),
        ("from: engineer, to: plc3", "from: nobody, to: plc3", "no host is called"),
        (
            "to: plc3, setpoint: speed1",
            "to: plc9, setpoint: speed1",
            "no PLC is called",
        ),
        ("setpoint: speed1}", "setpoint: speed9}", "needs the name of a setpoint"),
        ("local: 127.0.0.2", "local: 127.0.0.1", "already"),
        ("address: 10.20.0.12", "address: 10.20.0.512", "no IPv4 address"),
        ("local: 127.0.0.2", "local: 10.0.0.2", "regex"),
        ("count: 52", "count: 152", "reads fewer"),
        ("address: 40069, count", "address: 65530, count", "beyond address"),
        ("unit: 5, serial", "unit: 1, serial", "is there already"),
        ("every: 200ms", "every: 9ms", "below 10ms"),
        ("values: [405]", "values: []", "needs values"),
        ("low: 350, high: 450", "low: 450, high: 350", "low < high"),
        ("seed: 45", "seed: 45\nport: 502", "unknown field"),
    ],
)
def test_wrong_files_are_refused_with_place_and_reason(
    old: str, new: str, reason: str
) -> None:
    assert old in SHORT
    with pytest.raises(ScenarioError, match=reason) as caught:
        parse_scenario(SHORT.replace(old, new, 1).encode(), "own.yaml")
    assert caught.value.place.isdecimal()
    assert caught.value.reason.startswith("$")
