"""The books of a bus: conditions, troubles, and counters that begin anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.sources.bus_book import UNKNOWN, BusBook
from protocols.can.netlink import CanCounters, CanLink, Traffic
from protocols.frames import CAN_ERR_FLAG, FrameBatch

UP = CanLink(
    name="can0", index=5, is_can=True, kind="can", up=True, state="error-active"
)
ABSENT = CanLink(name="can0", exists=False)


def counted(link: CanLink = UP, **traffic: int) -> CanLink:
    return replace(link, traffic=Traffic(**traffic))


def errors(*rows: tuple[int, int]) -> FrameBatch:
    """Frames of (can_id, data[1])."""
    payload = np.zeros((len(rows), 8), np.uint8)
    payload[:, 1] = [second for _, second in rows]
    return FrameBatch(
        np.zeros(len(rows), np.int64), np.zeros(len(rows), np.uint8),
        np.array([ident for ident, _ in rows], np.uint32),
        np.full(len(rows), 8, np.uint8), np.zeros(len(rows), np.uint8), payload,
    )  # fmt: skip


def test_conditions_and_since_when() -> None:
    book = BusBook("body", "can0")
    assert (book.condition, book.trouble()) == (UNKNOWN, "")
    story = [
        (ABSENT, 1, True, "absent"), (UP, 2, True, "error-active"),
        (UP, 3, False, "error-active"),
        (replace(UP, state="bus-off"), 4, True, "bus-off"),
        (replace(UP, up=False, state="stopped"), 5, True, "down"),
        (replace(UP, state="", kind="vcan"), 6, True, "up"),
    ]  # fmt: skip
    for link, now, changed, condition in story:
        assert book.saw(link, now) == changed
        assert book.condition == condition
        assert book.since_ns == (now if changed else now - 1)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (UP, ""),
        (replace(UP, state="error-warning"), ""),
        (ABSENT, "no such CAN interface"),
        (replace(UP, up=False), "interface is down"),
        (replace(UP, state="error-passive"), "error-passive: errors on the bus"),
        (replace(UP, state="bus-off"), "`ip link set can0 type can restart` brings"),
        (replace(UP, state="bus-off", restart_ms=100), "restarted after 100 ms"),
        (replace(UP, state="stopped"), "the controller is stopped"),
    ],
)
def test_troubles_say_what_to_do(link: CanLink, says: str) -> None:
    book = BusBook("body", "can0")
    book.saw(link, 1)
    assert says in book.trouble()
    assert bool(says) == bool(book.trouble())


def test_an_interface_with_another_name_is_told() -> None:
    book = BusBook("body", "can0")
    book.saw(ABSENT, 1, "diag")
    assert book.trouble() == "its interface is called diag now"
    book.saw(UP, 2, "diag")
    assert book.trouble() == ""


def test_only_what_grew_while_we_looked_is_lost() -> None:
    book = BusBook("body", "can0")
    book.saw(counted(rx_over_errors=100, rx_packets=1000), 1)
    assert (book.controller_lost(), book.packets) == (0, 0)
    book.saw(counted(rx_over_errors=103, rx_packets=1500), 2)
    assert (book.controller_lost(), book.packets) == (3, 500)
    # The interface went, and another device took its name.
    book.saw(ABSENT, 3)
    book.saw(counted(replace(UP, index=9), rx_over_errors=2, rx_packets=7), 4)
    assert (book.controller_lost(), book.packets) == (5, 507)
    # The driver began anew under the same index.
    book.saw(counted(replace(UP, index=9), rx_over_errors=1), 5)
    assert book.controller_lost() == 6


def test_one_that_comes_later_has_counted_for_us() -> None:
    book = BusBook("body", "can0")
    book.saw(ABSENT, 1)
    book.saw(counted(rx_over_errors=4), 2)
    assert book.controller_lost() == 4
    other = BusBook("body", "can0")
    other.saw(ABSENT, 1)
    other.saw(counted(replace(UP, index=7), rx_over_errors=4), 2, is_new=False)
    assert other.controller_lost() == 0  # it was lost under another name


def test_one_loss_in_two_counters_is_one_loss() -> None:
    book = BusBook("body", "can0")
    book.saw(counted(), 1)
    # can_rx_offload counts a full queue in both.
    book.saw(counted(rx_dropped=5, rx_fifo_errors=5), 2)
    assert book.controller_lost() == 5
    book.saw(counted(rx_dropped=5, rx_fifo_errors=5, rx_over_errors=2), 3)
    assert book.controller_lost() == 7
    # Error frames tell of the same two overruns, and of a third that is not counted.
    overflow = (CAN_ERR_FLAG | 0x4, 0x1)
    book.took(errors(overflow, overflow, (CAN_ERR_FLAG | 0x4, 0x10), (0x123, 1)))
    assert book.controller_lost() == 7
    book.took(errors(overflow))
    assert book.controller_lost() == 8
    assert (book.frames, book.error_frames) == (5, 4)
    book.saw(counted(rx_dropped=5, rx_fifo_errors=5, rx_over_errors=2,
                     rx_missed_errors=1), 4)  # fmt: skip
    assert book.controller_lost() == 9


def test_changes_of_state_are_counted_though_nobody_saw_them() -> None:
    book = BusBook("body", "can0")
    book.saw(replace(UP, counters=CanCounters(bus_off=7)), 1)
    book.saw(replace(UP, counters=CanCounters(bus_off=9, restarts=2)), 2)
    assert book.changes == {
        "error_warning": 0, "error_passive": 0, "bus_off": 2, "restarts": 2,
    }  # fmt: skip
