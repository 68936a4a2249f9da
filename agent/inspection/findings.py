"""What a detector says: few rows, never values, on two levels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.records import BusChange
    from protocols.can.isotp import DiagnosticMessage
    from protocols.can.uds import Identifier
    from protocols.frames import I32, FrameBatch
    from protocols.modbus.exchanges import ExchangeBatch

ALL_UNITS: Final = -1  # in ``Conversation.unit``: several, or it does not matter
ALL_IDENTS: Final = -1  # in ``CanId.ident``: the bus itself
NO_HOST: Final = ""  # in ``Conversation.server``: many of them


class Level(IntEnum):
    """A notice stays on the device and is counted; an alert leaves as an event."""

    NOTICE = 0
    ALERT = 1


@dataclass(frozen=True, slots=True)
class CanId:
    """What a finding on a CAN bus is about."""

    bus: int
    ident: int  # CAN identifier with flags, or ALL_IDENTS


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a finding about Modbus is about: who asks whom."""

    client: str  # IP address, or the name of a serial line
    server: str  # NO_HOST: many of them
    link: int  # index into the link table, UNLISTED
    unit: int = ALL_UNITS


Subject: TypeAlias = CanId | Conversation


@dataclass(frozen=True, slots=True)
class Finding:
    """One detector's word on one subject in one batch, with how often it was seen."""

    detector: str  # D1, ID1, M1 ... as in the table of ``kinds.py``
    level: Level
    subject: Subject
    count: int
    first_ns: int
    last_ns: int
    detail: str = ""  # names, addresses and sizes; never payload or a register's value
    variant: str = ""  # where a detector tells several things apart: "write", "coil"
    refused: bool = False  # by the firewall's rules
    bound: float | None = None  # false alarms an hour, at most (95 %); None: declared


@dataclass(frozen=True, slots=True)
class View:
    """All that a detector may look at: one batch, decoded as far as the flow did it."""

    frames: FrameBatch
    message: I32  # [N] message row of the plan, -1 unknown id, -2 no data frame
    diagnostics: Sequence[DiagnosticMessage]
    identifiers: Sequence[Identifier]
    exchanges: ExchangeBatch | None = None  # in order of time
    names: Sequence[str] = ()  # what ``client`` and ``server`` number (``Peers.names``)
    changes: Sequence[BusChange] = ()  # buses that went away


class Detector(Protocol):
    """A place in the stage. State lives in the detector; time is in the frames."""

    def inspect(self, view: View) -> list[Finding]:
        """Return the findings of one batch, aggregated per subject."""
