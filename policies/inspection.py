"""From the ``inspection:`` section to what the agent's detectors are told.

Names of clients are resolved here. ``CompiledInspection()`` is a policy that says
nothing: every detector, with the thresholds of the model.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.errors import nearest, shown
from policies.firewall.compile import addresses_of
from policies.model_inspection import Inspection
from policies.quantities import NS, duration_ns

if TYPE_CHECKING:
    from policies.model import Policy
    from policies.parse import Document
    from policies.yaml_tree import Path

LEARN_S_MIN: Final = 60
LEARN_S_MAX: Final = 7 * 86_400
REPEAT_NS_MIN: Final = 10 * NS
REPEAT_NS_MAX: Final = 86_400 * NS
_PLAIN: Final = Inspection()


@dataclass(frozen=True, slots=True)
class CompiledInspection:
    """What the detectors of one policy are told."""

    off: frozenset[str] = frozenset()
    engineering: tuple[str, ...] = ()  # networks, in the notation of CIDR
    learn_s: int = 1800
    repeat_ns: int = 600 * NS
    thresholds: Inspection = _PLAIN  # the numbers, as the section has them


def compile_inspection(document: Document[Policy]) -> CompiledInspection:
    """Return the section, compiled; PolicyError for the first thing that is wrong."""
    told = document.model.inspection
    learn = _span(document, "learn", told.learn, LEARN_S_MIN * NS, LEARN_S_MAX * NS)
    repeat = _span(document, "repeat", told.repeat, REPEAT_NS_MIN, REPEAT_NS_MAX)
    networks = [
        one
        for number, name in enumerate(told.engineering)
        for one in _networks(document, ("inspection", "engineering", number), name)
    ]
    return CompiledInspection(
        frozenset(told.off), tuple(networks), learn // NS, repeat, told
    )


def _span(
    document: Document[Policy], field: str, text: str, least: int, most: int
) -> int:
    path: Path = ("inspection", field)
    try:
        span = duration_ns(text)
    except ValueError as error:
        raise document.error(path, str(error)) from None
    if not least <= span <= most:
        low, high = least // NS, most // (86_400 * NS)
        raise document.error(path, f"must be {low} s to {high} d")
    return span


def _networks(document: Document[Policy], path: Path, name: str) -> tuple[str, ...]:
    """Return the networks of a client by name, or of an address."""
    firewall = document.model.modbus
    clients = {} if firewall is None else firewall.clients
    if name in clients:
        return addresses_of(clients[name])[0]
    try:
        return (str(ipaddress.ip_network(name)),)
    except ValueError:
        reason = f"no client, no address and no network: {shown(name)}"
        raise document.error(path, reason, nearest(name, clients)) from None
