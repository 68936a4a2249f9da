"""Cases of Modbus."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from tests.support.broker import free_port
from tests.support.certificates import certificate, saved
from tests.support.doctor_case import Act, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.doctor_house import House


def _policy(*rules: dict[str, Any], **more: Any) -> Act:
    return lambda house: house.policy(*rules, **more)


# --- Modbus ---------------------------------------------------------------------------


@contextlib.contextmanager
def _plc(house: House) -> Iterator[None]:
    """A device that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        house.port = server.getsockname()[1]
        yield


def _linked(mode: str = "poll", **more: str) -> Act:
    def prepare(house: House) -> None:
        house.set("port", str(house.port), "[[modbus]] plc")
        house.set("mode", f'"{mode}"', "[[modbus]] plc")
        for name, value in more.items():
            house.set(name, value, "[[modbus]] plc")

    return prepare


def _proxied(house: House) -> None:
    _linked("proxy", listen=f'"127.0.0.1:{free_port()}"')(house)


def _listening_here(house: House) -> None:
    house.set("listen", f'"127.0.0.1:{house.port}"', "[[modbus]] plc")


def _ended(house: House, _: str) -> None:
    house.set("listen", f'"127.0.0.1:{free_port()}"', "[[modbus]] plc")


def _secure(house: House) -> None:
    _proxied(house)
    house.set("device_tls", '{ca_file = "plc-ca.pem"}', "[[modbus]] plc")
    saved(house.folder, "plc-ca", certificate("plc-ca"))


def _tapped(house: House) -> None:
    (house.folder / "ttyUSB0").symlink_to("/dev/ptmx")
    house.set("device", f'"{house.folder}/ttyUSB0"', "[[tap]] t")


FIREWALL = {
    "clients": {"hmi": "10.0.0.7"},
    "rules": [{"name": "poll", "from": "hmi", "unit": 1, "fc": [3, 4]}],
}
MODBUS = [
    Case(
        "modbus.device",
        "off",
        "bad",
        "Connection refused",
        lambda house: house.set("port", str(free_port()), "[[modbus]] plc"),
        _linked(),
        _plc,
        mend=(
            r"set `port = PORT` and `host` under `(\[\[modbus\]\] plc)`",
            lambda house, section: house.set("port", str(house.port), section),
        ),
    ),
    Case(
        "modbus.device",
        "line",
        "bad",
        "is not there",
        lambda house: (
            house.set("kind", '"rtu"', "[[modbus]] plc"),
            house.set("device", '"/dev/no-such"', "[[modbus]] plc"),
        ),
        _linked(),
        _plc,
        mend=(
            r"set `device = \"FILE\"` under `(\[\[modbus\]\] plc)`",
            lambda house, section: house.set("device", '"/dev/null"', section),
        ),
    ),
    Case(
        "modbus.watched",
        "unheard",
        "warn",
        "no tap hears it",
        lambda house: house.set("mode", '"watch"', "[[modbus]] plc"),
        _linked(),
        _plc,
    ),
    Case(
        "modbus.listener",
        "taken",
        "notice",
        "Address already in use",
        _listening_here,
        _proxied,
        _plc,
        mend=(
            r"^end what listens there.*: run `(ss -ltnp sport = :\d+)`$",
            _ended,
        ),
    ),
    Case(
        "modbus.listener",
        "foreign",
        "bad",
        "192.0.2.1:1502",
        lambda house: house.set("listen", '"192.0.2.1:1502"', "[[modbus]] plc"),
        _proxied,
        _plc,
    ),
    Case(
        "modbus.tls",
        "absent",
        "bad",
        "plc-ca.pem",
        lambda house: (house.folder / "plc-ca.pem").unlink(),
        _secure,
        _plc,
        mend=(
            r"^copy the right file to (\S+plc-ca\.pem)",
            lambda house, _: saved(house.folder, "plc-ca", certificate("plc-ca")),
        ),
    ),
    Case(
        "modbus.tap",
        "absent",
        "bad",
        "no-such",
        lambda house: house.set("device", '"/dev/no-such"', "[[tap]] t"),
        _tapped,
        mend=(
            r"^set `device = \"NAME\"` under `\[\[tap\]\] t`",
            lambda house: house.set("device", f'"{house.folder}/ttyUSB0"', "[[tap]] t"),
        ),
    ),
    Case(
        "modbus.firewall",
        "none",
        "warn",
        "refuse writes",
        _policy(),
        lambda house: (_proxied(house), house.policy(modbus=FIREWALL)),
        _plc,
        mend=(
            r"^add a `modbus:` section to \S+policy\.yaml",
            lambda house: house.policy(modbus=FIREWALL),
        ),
    ),
]
CASES = MODBUS
