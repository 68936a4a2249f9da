"""The uplink's states as a table. If a transition is not here, it cannot happen.

OFFLINE     no connection; the runtime waits for `backoff.Backoff`, then CONNECT
CONNECTING  the adapter is at it
DRAINING    connected, and there is something to send
IDLE        connected, and everything is sent and confirmed or under way
STALLED     connected, and so much is unconfirmed that nothing more goes out
STOPPED     the daemon ends
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """Where the uplink is; its value is what telemetry says."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    DRAINING = "draining"
    IDLE = "idle"
    STALLED = "stalled"
    STOPPED = "stopped"


class Event(Enum):
    """What happens to the uplink."""

    CONNECT = "connect"
    CONNECTED = "connected"
    FAILED = "failed"
    DISCONNECTED = "disconnected"
    SPOOL_EMPTY = "spool empty"
    RECORDS = "records"
    WINDOW_FULL = "window full"
    RECEIPT = "receipt"
    RECEIPT_OVERDUE = "receipt overdue"
    STOP = "stop"


NEXT: Final[dict[tuple[State, Event], State]] = {
    (State.OFFLINE, Event.CONNECT): State.CONNECTING,
    (State.CONNECTING, Event.CONNECTED): State.DRAINING,
    (State.CONNECTING, Event.FAILED): State.OFFLINE,
    (State.DRAINING, Event.SPOOL_EMPTY): State.IDLE,
    (State.DRAINING, Event.RECORDS): State.DRAINING,
    (State.DRAINING, Event.RECEIPT): State.DRAINING,
    (State.DRAINING, Event.RECEIPT_OVERDUE): State.DRAINING,
    (State.DRAINING, Event.WINDOW_FULL): State.STALLED,
    (State.DRAINING, Event.DISCONNECTED): State.OFFLINE,
    (State.IDLE, Event.SPOOL_EMPTY): State.IDLE,
    (State.IDLE, Event.RECORDS): State.DRAINING,
    (State.IDLE, Event.RECEIPT): State.IDLE,
    (State.IDLE, Event.RECEIPT_OVERDUE): State.DRAINING,
    (State.IDLE, Event.DISCONNECTED): State.OFFLINE,
    (State.STALLED, Event.RECORDS): State.STALLED,
    (State.STALLED, Event.WINDOW_FULL): State.STALLED,
    (State.STALLED, Event.RECEIPT): State.DRAINING,
    (State.STALLED, Event.RECEIPT_OVERDUE): State.DRAINING,
    (State.STALLED, Event.DISCONNECTED): State.OFFLINE,
    **{
        (state, Event.STOP): State.STOPPED
        for state in State
        if state is not State.STOPPED
    },
}

CONNECTED: Final = frozenset({State.DRAINING, State.IDLE, State.STALLED})


def after(state: State, event: Event) -> State:
    """Return the state after ``event``; ValueError where the table lacks it (a bug)."""
    try:
        return NEXT[state, event]
    except KeyError:
        message = f"{event.value!r} cannot happen while {state.value}"
        raise ValueError(message) from None
