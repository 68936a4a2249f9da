"""Real brokers for the doctor's cases, with and without TLS."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.support.broker import Broker, Tls
from tests.support.certificates import certificate, saved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.doctor_house import House

PLUGIN = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
BOTH = ("broker", "tls")


@contextlib.contextmanager
def with_broker(house: House) -> Iterator[None]:
    """A plain broker on the port that is configured; `restart` makes another of it."""
    port = int(house.sections["[mqtt]"]["port"])
    house.brokers = contextlib.ExitStack()
    with house.brokers:
        start(house, port)
        yield


def start(house: House, port: int = 0, **more: object) -> None:
    port = port or int(house.sections["[mqtt]"]["port"])
    house.brokers.close()
    broker = Broker(house.folder, port=port, **more)
    house.brokers.enter_context(broker)


@contextlib.contextmanager
def with_tls(house: House) -> Iterator[None]:
    """A broker with TLS, and a device with a certificate of the same authority."""
    house.brokers = contextlib.ExitStack()
    house.ca = certificate("ca", days=400)
    saved(house.folder, "ca", house.ca)
    with house.brokers:
        certified(house)
        own_certificate(house)
        for field, name in (
            ("ca_file", "ca.pem"),
            ("cert_file", "own.pem"),
            ("key_file", "own.key"),
        ):
            house.set(field, f'"{name}"', "[mqtt]")
        for file in house.folder.glob("*.pem"):
            file.chmod(0o644)
        yield


def certified(house: House, *_: str, days: int = 300, **more: bool) -> None:
    """Give the broker a certificate, and start it."""
    saved(house.folder, "broker", certificate("broker", house.ca, days=days, **more))
    start(
        house,
        tls=Tls(
            house.folder / "ca.pem",
            house.folder / "broker.pem",
            house.folder / "broker.key",
        ),
    )


def own_certificate(house: House, *_: str, days: int = 300) -> None:
    """Give the device a certificate and its key."""
    saved(house.folder, "own", certificate("gw-1", house.ca, days=days))
    (house.folder / "own.key").chmod(0o600)
