"""What the outside is told of CAN buses: states for people, numbers for Prometheus.

Names, states and counts; never an identifier or a payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent.telemetry.prometheus import Family
from protocols.telemetry import BusState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from protocols.can.netlink import CanLink


class Book(Protocol):
    """What is known of a bus; see ``agent.sources.bus_book``."""

    name: str
    frames: int
    error_frames: int
    since_ns: int
    link: CanLink | None

    @property
    def packets(self) -> int:
        """Return frames that the interface received."""

    @property
    def changes(self) -> Mapping[str, int]:
        """Return how often the controller's state changed, by state."""

    def controller_lost(self) -> int:
        """Return frames lost before the socket."""


class Bus(Protocol):
    """One bus as it is read."""

    @property
    def book(self) -> Book:
        """Return its book."""

    @property
    def condition(self) -> str:
        """Return the state of its interface."""

    @property
    def buffer_bytes(self) -> int:
        """Return the kernel's buffer for it."""

    @property
    def passes(self) -> int:
        """Return how many pairs of the kernel's filter let through; -1: all."""

    def lost(self) -> Mapping[str, int]:
        """Return what was lost, by cause."""


def bus_states(buses: Sequence[Bus]) -> tuple[BusState, ...]:
    """Return how every bus is."""
    return tuple(_state(bus) for bus in buses)


def _state(bus: Bus) -> BusState:
    book, link = bus.book, bus.book.link
    lost = dict(bus.lost())
    return BusState(
        name=book.name,
        state=bus.condition,
        since_ns=book.since_ns,
        bitrate=link.bitrate if link is not None else 0,
        data_bitrate=link.data_bitrate if link is not None else 0,
        listen_only=link is not None and link.listen_only,
        frames=book.frames,
        lost=lost.pop("", 0),
        controller_lost=book.controller_lost(),
        skipped=sum(lost.values()),
        passes=bus.passes,
        packets=book.packets,
        buffer_bytes=bus.buffer_bytes,
    )


def bus_families(buses: Sequence[Bus]) -> Iterator[Family]:
    """Yield what Prometheus is told of buses; nothing where there is none."""
    if not buses:
        return
    yield Family(
        "bus_info", "gauge", "State and bit rate of each CAN bus; always 1.",
        [(_info(bus), 1) for bus in buses],
    )  # fmt: skip
    books = [bus.book for bus in buses]
    yield Family(
        "bus_frames_total", "counter", "Frames taken from each bus, since the start.",
        [({"bus": book.name}, book.frames) for book in books],
    )  # fmt: skip
    yield Family(
        "bus_error_frames_total", "counter", "Error frames among them.",
        [({"bus": book.name}, book.error_frames) for book in books],
    )  # fmt: skip
    yield Family(
        "bus_interface_frames_total", "counter",
        "Frames that the interface received, also those that a filter keeps off.",
        [({"bus": book.name}, book.packets) for book in books],
    )  # fmt: skip
    yield Family(
        "bus_state_changes_total", "counter",
        "Changes of the controller to a state, since the start.",
        [
            ({"bus": bus.book.name, "state": state.replace("_", "-")}, count)
            for bus in buses
            for state, count in bus.book.changes.items()
        ],
    )  # fmt: skip
    yield Family(
        "bus_buffer_bytes", "gauge", "What the kernel keeps for us at most.",
        [({"bus": bus.book.name}, bus.buffer_bytes) for bus in buses],
    )  # fmt: skip


def _info(bus: Bus) -> dict[str, str]:
    link = bus.book.link
    bitrate = str(link.bitrate) if link is not None else "0"
    return {"bus": bus.book.name, "state": bus.condition, "bitrate": bitrate}
