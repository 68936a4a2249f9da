"""Which attacks of a scenario run: all, none, or some, one behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from firmware_sim.errors import ScenarioError
from firmware_sim.network.attacks import lasts_ns
from firmware_sim.schema import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware_sim.network.model import AttackSpec, NetworkScenario

FIRST_NS: Final = 10 * NS  # let the network be seen as it is
BETWEEN_NS: Final = 10 * NS


def chosen_attacks(scenario: NetworkScenario, names: Sequence[str]) -> list[AttackSpec]:
    """Return the named attacks, the first after 10 s; all as they stand without names.

    ``none`` is no attack. Raises ScenarioError for a name that no attack bears.
    """
    if not names:
        return list(scenario.attacks)
    known = {attack.name: attack for attack in scenario.attacks}
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in known:
            there = ", ".join(known) or "it has no attacks"
            raise ScenarioError(
                scenario.name, "", f"no attack is called {name}: {there}"
            )
    at = FIRST_NS
    found = []
    for name in dict.fromkeys(names):
        attack = known[name]
        found.append(msgspec.structs.replace(attack, at=f"{at // 1_000_000}ms"))
        at += lasts_ns(attack) + BETWEEN_NS
    return found
