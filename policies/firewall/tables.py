"""What the policy's ``modbus:`` section compiles to: what a judge reads.

Built by ``policies/firewall/compile.py``, read by ``agent/firewall``. Names are
resolved here: links are numbers of the link table, functions are sets of codes, items
are points. Addresses are 0-based; every range holds both its ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from protocols.modbus.values import Point

Spans: TypeAlias = tuple[tuple[int, int], ...]  # first and last, both included

# Broadcast on serial lines, "the device itself" on TCP: allowed only where a rule names
# them. A `deny` or `alert` that names no unit touches them, too.
NAMED_UNITS: Final = frozenset({0, 255})


class Default(IntEnum):
    """What becomes of a request that no rule allows."""

    DENY = 0
    MONITOR = 1  # passes, with the reason why no rule allows it


class Mode(IntEnum):
    """What is done with a verdict."""

    ENFORCE = 0
    DRY_RUN = 1  # judged the same, all that is well formed is forwarded
    READ_ONLY = 2  # no write, whatever the rules say


class Do(IntEnum):
    """What a rule does."""

    ALLOW = 0  # the first that covers a request whole lets it through
    DENY = 1  # the first that touches a request refuses it
    ALERT = 2  # tells of what it touches, and decides nothing


@dataclass(frozen=True, slots=True)
class ClientGroup:
    """Masters that rules name. All that is given must hold."""

    name: str
    networks: tuple[str, ...]  # addresses or CIDR; also names of serial lines
    role: str = ""  # of its certificate (Modbus/TCP Security); "": any or none


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` requests that passed under this rule in ``window_ns``."""

    count: int
    window_ns: int


@dataclass(frozen=True, slots=True)
class Hours:
    """``Mon-Fri 07:00-19:00 +08:00``: weekly, in a fixed offset from UTC.

    ``end_min`` <= ``begin_min``: over midnight, the day is that of its beginning.
    Holds only while the clock is believed.
    """

    days: frozenset[int]  # 0 Monday ... 6 Sunday
    begin_min: int  # minutes from midnight, included
    end_min: int  # excluded; 1440 midnight
    offset_min: int  # of local time from UTC


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """One rule; None means: whatever it is."""

    name: str
    do: Do
    clients: frozenset[int] | None  # indexes into ``CompiledFirewall.clients``
    links: frozenset[int] | None
    units: Spans | None  # None: all, of an allow all but NAMED_UNITS
    functions: frozenset[int] | None  # function codes 1..127
    subs: Spans | None  # sub-functions of 8; MEI type << 8 | read code of 43
    table: int | None  # 0, 1, 3, 4
    addresses: Spans | None
    value: tuple[float, float] | None = None  # of what is written: raw, or by ``point``
    max_delta: float | None = None
    rate: Rate | None = None  # of all requests that pass under this rule, reads too
    hours: Hours | None = None
    point: Point | None = None  # an item rule: table and addresses are the point's
    note: str = ""


@dataclass(frozen=True, slots=True)
class CompiledFirewall:
    """All rules, in order."""

    default: Default
    mode: Mode
    pass_reads_on_failure: bool  # where the judge itself fails; writes are refused
    silent: bool  # a refused request gets no answer, instead of an exception
    clients: tuple[ClientGroup, ...]
    rules: tuple[FirewallRule, ...]
