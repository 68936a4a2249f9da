"""Cases of CAN."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.doctor_case import Act, Case
from tests.support.doctor_machine import can_link, vcan_link

if TYPE_CHECKING:
    from tests.support.doctor_house import House

SECTION = "[[can]] can0"


def _bus(house: House) -> None:
    """A real bus of the kernel instead of python-can's."""
    house.set("interface", '"socketcan"', SECTION)
    house.machine.links["can0"] = can_link()


def _link(**changes: Any) -> Act:
    def seed(house: House) -> None:
        link = house.machine.links["can0"]
        house.machine.links["can0"] = replace(link, **changes)

    return seed


def _configured(**fields: object) -> Act:
    def seed(house: House) -> None:
        for name, value in fields.items():
            house.set(name, str(value).lower(), SECTION)

    return seed


def _renamed(house: House) -> None:
    house.machine.links["can7"] = house.machine.links.pop("can0")


def _virtual(house: House) -> None:
    house.set("interface", '"socketcan"', SECTION)
    house.set("channel", '"vcan0"', SECTION)
    house.machine.links["vcan0"] = vcan_link()


def _gone(house: House) -> None:
    house.machine.links.clear()


def _passive(house: House) -> None:
    _link(state="error-passive")(house)


WIRING = (
    r"check bit rate, wiring and the two 120 ohm terminators",
    _link(state="error-active"),
)
CAN = [
    Case(
        "can.kernel",
        "none",
        "bad",
        "no CAN socket",
        lambda house: setattr(house.machine, "has_can", False),
        _bus,
    ),
    Case("can.interface", "renamed", "bad", "no such interface", _renamed, _bus),
    Case(
        "can.interface",
        "unplugged",
        "bad",
        "no such interface",
        _gone,
        _bus,
        mend=(
            r"plug the adapter of (can0) in",
            lambda house, name: house.machine.links.update({name: can_link()}),
        ),
    ),
    Case("can.interface", "vcan", "bad", "no such interface", _gone, _virtual),
    Case("can.up", "down", "bad", "can0: is down", _link(up=False), _bus),
    Case(
        "can.interface",
        "no CAN",
        "bad",
        "is no CAN interface",
        _link(is_can=False, kind="", state=""),
        _bus,
        mend=(
            r"plug the adapter of (can0) in",
            lambda house, name: house.machine.links.update({name: can_link()}),
        ),
    ),
    Case(
        "can.up",
        "never set",
        "bad",
        "can0: is down",
        _link(up=False, bitrate=0),
        _bus,
        given={"BITRATE": "250000"},
    ),
    Case(
        "can.up",
        "expected",
        "bad",
        "can0: is down",
        _link(up=False, bitrate=0),
        lambda house: (_bus(house), _configured(bitrate=500000)(house)),
        also=(),
    ),
    Case(
        "can.bitrate",
        "wrong",
        "bad",
        "250000 bit/s, and bitrate says 500000",
        _link(bitrate=250_000),
        lambda house: (_bus(house), _configured(bitrate=500000)(house)),
    ),
    Case(
        "can.data_bitrate",
        "wrong",
        "bad",
        "0 bit/s, and data_bitrate says 2000000",
        _configured(data_bitrate=2_000_000),
        _bus,
    ),
    Case("can.state", "bus-off", "bad", "bus-off", _link(state="bus-off"), _bus),
    Case("can.state", "passive", "bad", "error-passive", _passive, _bus, mend=WIRING),
    Case(
        "can.state",
        "warning",
        "warn",
        "error-warning",
        _link(state="error-warning"),
        _bus,
        mend=WIRING,
    ),
    Case("can.restart", "zero", "warn", "restart-ms is 0", _link(restart_ms=0), _bus),
    Case(
        "can.listen_only",
        "off",
        "notice",
        "acknowledges",
        _link(modes=frozenset()),
        _bus,
    ),
    Case("can.fd", "classic", "bad", "mtu 16", _configured(fd=True), _bus),
    Case("can.fd", "vcan", "bad", "mtu 16", _configured(fd=True), _virtual),
    Case(
        "can.queue",
        "small",
        "warn",
        "212992",
        lambda house: house.machine.settings.update({"net.core.rmem_max": 212992}),
        _bus,
    ),
    Case(
        "can.open",
        "none",
        "bad",
        "no-such",
        _configured(interface='"no-such"'),
        mend=(
            r"mend `interface`, .* under `(\[\[can\]\] can0)`",
            lambda house, section: house.set("interface", '"virtual"', section),
        ),
        whole=("can",),
    ),
]


CASES = CAN
