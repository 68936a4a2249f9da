"""THE POLICY PATH: from files to a policy that may decide, or a refusal with its rule.

To let a policy decide (DESIGN sections 2 and 6): (1) it parses, within limits, and
compiles against the bindings  (2) lint finds nothing that regulation refuses  (3) it is
not below the local floor  (4) every recipient it names has a key card. (1) and (4) end
in one line and exit code 2; (2) and (3) name the rule. What was active stays active
until the new one has passed all four; recipients whose card is not good *now* close
their destinations, which only tightens.

Policies pushed over MQTT will enter here too: same steps, after their signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.errors import Refused
from policies.tables import NO_RULE, Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.compile import Compiled
    from policies.files import Loaded
    from policies.tables import CompiledPolicy
    from protocols.recipients import RecipientCard


@dataclass(frozen=True, slots=True)
class Accepted:
    """A policy that may decide."""

    compiled: Compiled
    cards: Mapping[str, RecipientCard]
    state: str  # active | lockdown: what telemetry says


def judge(
    loaded: Loaded, cards: Mapping[str, RecipientCard], lockdown: str
) -> Accepted:
    """Return the policy that may decide; Refused names the rule that it breaks.

    ``loaded`` has passed step (1) and ``cards`` step (4). ``lockdown``: name of the
    built-in policy.
    """
    if loaded.errors:  # (2)
        first = loaded.errors[0]
        more = len(loaded.errors) - 1
        raise Refused("lint", f"{first}" + (f" (and {more} more)" if more else ""))
    if loaded.violations:  # (3)
        raise Refused("floor", str(loaded.violations[0]))
    name = loaded.compiled.policy.name
    return Accepted(
        loaded.compiled, cards, "lockdown" if name == lockdown else "active"
    )


LEAVES: Final = frozenset({Action.ALLOW, Action.ENCRYPT})
IN_THE_OPEN: Final = frozenset({Action.ALLOW})


def permitted(
    policy: CompiledPolicy, actions: frozenset[Action] = LEAVES
) -> set[tuple[str, int]]:
    """Return every (destination, packed label) that may leave by one of ``actions``.

    What is spooled for any other place has lost its permission (DESIGN section 8); what
    is spooled in the open needs a rule that still allows it in the open.
    """
    places: set[tuple[str, int]] = set()
    for destination in policy.destinations:
        for number in np.unique(destination.chain).tolist():
            if number == NO_RULE:
                continue
            rule = policy.rules[number]
            if rule.action in actions:
                items = (destination.chain == number).any(axis=1)
                labels = np.unique(rule.label_out[items]).tolist()
                places |= {(destination.name, label) for label in labels}
    return places
