"""Who asks, and what the firewall answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocols.modbus.exchanges import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Caller:
    """A master, as the connection tells it."""

    address: str  # IP address as text, or the name of a serial line
    number: int  # in ``protocols.modbus.peers.Peers``
    roles: tuple[str, ...] = ()  # of its certificate (Modbus/TCP Security, clause 8)


@dataclass(frozen=True, slots=True)
class Decision:
    """One request, judged."""

    verdict: Verdict
    rule: int  # index into the firewall's rules, -1 none
    reason: Reason
    forward: bool  # what is to be done, the mode considered: dry-run forwards all
    exception: int  # the code to answer with where it is not forwarded; 0: say nothing
    alerts: tuple[int, ...] = ()  # rules that only tell
