"""One request as somebody wants to send it; what was sent; what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_sim.network.pdus import Asked


@dataclass(slots=True)
class Ask:
    """A request. ``at_ns`` since the start; it may leave later, never earlier."""

    at_ns: int
    source: str  # host whose address it bears
    plc: str
    unit: int
    pdu: bytes
    attack: str = ""  # its name; empty: legitimate
    channel: int = 0  # which connection of that host to that PLC
    tid: int | None = None  # None: the next one
    protocol: int = 0
    joined: bool = False  # in one segment with the request that follows
    waits: bool = True  # for the answer, before the connection takes another
    problems: int = 0  # Problem bits that this request shows


@dataclass(slots=True)
class Reply:
    """An ADU that goes back, ``after_ns`` behind the device's own time.

    Without ``data`` nothing goes back: ``attack`` tells who kept it.
    """

    data: bytes
    after_ns: int = 0
    problems: int = 0  # of the exchange
    attack: str = ""  # who altered it
    pairs: bool = True  # False: it answers no request


@dataclass(slots=True)
class Transaction:
    """One line of the truth: a request, with its reply if one came; or a lone reply."""

    time_ns: int
    source: str
    plc: str
    port: int  # of the client
    unit: int
    tid: int
    asked: Asked
    attack: str
    problems: int = 0
    reply_ns: int = 0
    exception: int = 0
    has_request: bool = True
    pdu: bytes = b""  # the request's
    reply: bytes = b""  # the reply's PDU
