"""What the device says of itself: retained state, and compliance counters.

Both travel as msgpack ``[body, signature]``: body is JSON text (people read it in a
broker's console), the signature is Ed25519 over a domain-separated form of it
(``protocols/signed.py``). No field holds a value that was read from a bus.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from protocols.errors import WireError
from protocols.plain import printable

T = TypeVar("T")

STATE_BYTES_MAX = 64 * 1024
COUNTERS_BYTES_MAX = 1024 * 1024


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """How a Modbus link is; all but name and mode: of a proxied one."""

    name: str
    mode: str  # poll | watch | proxy
    listening: bool = False
    connected: bool = False  # to the device
    masters: int = 0  # connected now
    forwarded: int = 0  # requests, since the agent started
    refused: int = 0  # by the firewall, since then
    last_reason: str = ""  # of the last refusal


class BusState(msgspec.Struct, frozen=True, kw_only=True):
    """How a CAN bus is; counts are of this start of the agent."""

    name: str
    # absent | down | up | unknown, or the controller's: error-active | error-warning |
    # error-passive | bus-off | stopped | sleeping
    state: str
    since_ns: int = 0  # when that was first seen; 0: never looked at
    bitrate: int = 0  # bit/s; 0: the interface has none
    data_bitrate: int = 0
    listen_only: bool = False
    frames: int = 0  # taken
    lost: int = 0  # between kernel and us
    controller_lost: int = 0  # before that, at least
    skipped: int = 0  # CAN XL, or malformed
    passes: int = -1  # pairs of the kernel's filter that let through; -1: all
    packets: int = 0  # that the interface received, filtered ones included
    buffer_bytes: int = 0  # of the kernel, for us


class TapState(msgspec.Struct, frozen=True, kw_only=True):
    """How a Modbus tap is."""

    name: str
    open: bool  # it listens
    exchanges: int  # that it saw, since the agent started


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The applied state (retained): late messages never show an older one as newer.

    ``number`` rises with every state of a device, across restarts.
    """

    v: int = 1
    device: str
    number: int
    time_ns: int
    boot: str
    agent: str
    policy_name: str
    policy_version: int
    policy_digest: str
    policy_state: str  # active | trial | lockdown
    policy_source: str = "local"  # local | pushed | built-in
    candidate_version: int = 0  # of a pushed policy; 0: none is offered
    candidate_state: str = ""  # as in the ack (protocols/acks.py)
    clock: str  # good | low
    online: bool
    autonomy_h: float  # hours of spool left at the present rate; -1 unknown
    spool_records: int
    spool_bytes: int
    spool_bytes_max: int
    oldest_ns: int
    evidence_size: int
    coverage: float  # classified / read, 0..1
    certificate_ns: int = 0  # when the uplink's certificate ends; 0: it has none
    links: tuple[LinkState, ...] = ()  # Modbus
    taps: tuple[TapState, ...] = ()
    buses: tuple[BusState, ...] = ()  # CAN
    problems: tuple[str, ...] = ()  # what is wrong, in words, without values


class CounterLine(msgspec.Struct, frozen=True, array_like=True):
    """One cell: destination, label, rule, action, outcome, samples, bytes."""

    destination: str
    label: str
    rule: str
    action: str
    outcome: str
    samples: int
    bytes_used: int


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compliance counters of one interval: the growth that one count.snap holds.

    ``evidence_index`` is the index of that count.snap in the evidence log, so that a
    reader can check that the two say the same.
    """

    v: int = 1
    device: str
    boot: str
    start_ns: int
    end_ns: int
    evidence_index: int
    rows: tuple[CounterLine, ...]
    held: int
    losses: dict[str, int]
    policy_digest: str


def encode_state(state: State) -> bytes:
    """Return the JSON body of a state."""
    return msgspec.json.encode(state)


def decode_state(body: bytes) -> State:
    """Return the state; WireError where the body is none."""
    return _decode(body, State, STATE_BYTES_MAX, "state")


def encode_telemetry(telemetry: Telemetry) -> bytes:
    """Return the JSON body of counters."""
    return msgspec.json.encode(telemetry)


def decode_telemetry(body: bytes) -> Telemetry:
    """Return the counters; WireError where the body is none."""
    return _decode(body, Telemetry, COUNTERS_BYTES_MAX, "telemetry")


def _decode(body: bytes, kind: type[T], bytes_max: int, what: str) -> T:
    if len(body) > bytes_max:
        raise WireError(what, f"larger than {bytes_max} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec names the field and the type it wanted, never the value.
        raise WireError(what, printable(str(error))[:200]) from None
