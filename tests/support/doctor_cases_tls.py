"""Cases of TLS towards the broker: a real mosquitto, real certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.broker import Broker, free_port
from tests.support.certificates import certificate, saved
from tests.support.doctor_brokers import (
    BOTH,
    certified,
    own_certificate,
    with_tls,
)
from tests.support.doctor_case import Case
from tests.support.doctor_machine import Clock

if TYPE_CHECKING:
    from tests.support.doctor_house import House

PLUGIN = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
DAY_NS = 86_400 * 10**9


def _other_key(house: House) -> None:
    saved(house.folder, "other", certificate("other", house.ca))
    (house.folder / "own.key").write_bytes((house.folder / "other.key").read_bytes())


def _other_ca(house: House) -> None:
    saved(house.folder, "ca", certificate("another", days=400))


def _right_ca(house: House, issuer: str, file: str) -> None:
    assert (issuer, file) == ("CN=ca", str(house.folder / "ca.pem"))
    saved(house.folder, "ca", house.ca)


def _old_ca(house: House) -> None:
    key = house.ca[1]
    saved(house.folder, "ca", certificate("ca", (certificate("ca")[0], key), days=-1))


def _saved_ca(house: House, file: str) -> None:
    assert file == str(house.folder / "ca.pem")
    saved(house.folder, "ca", house.ca)


def _named_localhost(house: House) -> None:
    house.set("host", '"localhost"', "[mqtt]")


def _early(house: House) -> None:
    house.machine.clock = Clock(house.machine.clock.now_ns() - 150 * DAY_NS)


def _plain_port(house: House) -> None:
    port = free_port()
    house.brokers.enter_context(Broker(house.folder, port=port))
    house.set("port", str(port), "[mqtt]")


def _right_port(house: House, port: int) -> None:
    house.set("port", str(port), "[mqtt]")


def _plain(house: House) -> None:
    house.set("host", '"192.0.2.1"', "[mqtt]")
    house.set("allow_plaintext", "true", "[mqtt]")


TLS = [
    Case(
        "tls.plaintext",
        "plain",
        "warn",
        "not hidden",
        _plain,
        whole=("tls.plaintext",),
        given={"FILE": "ca.pem"},
    ),
    Case(
        "tls.files",
        "absent",
        "bad",
        "ca.pem",
        lambda house: (house.folder / "ca.pem").unlink(),
        around=with_tls,
        whole=BOTH,
        mend=(
            r"^copy the certificate of the authority .*, as PEM, to (\S+ca\.pem)$",
            _saved_ca,
        ),
    ),
    Case(
        "tls.files",
        "key",
        "bad",
        "no private key",
        lambda house: (house.folder / "own.key").write_text("no key"),
        around=with_tls,
        whole=BOTH,
        mend=(
            r"^copy the device's private key, as PEM, to (\S+own\.key)$",
            own_certificate,
        ),
    ),
    Case(
        "tls.secret",
        "mode",
        "bad",
        "others may read this key",
        lambda house: (house.folder / "own.key").chmod(0o644),
        around=with_tls,
        whole=BOTH,
    ),
    Case(
        "tls.key",
        "another",
        "bad",
        "does not belong",
        _other_key,
        around=with_tls,
        whole=BOTH,
        mend=(r"^copy the key of (\S+own\.pem) to (\S+own\.key)$", own_certificate),
    ),
    Case(
        "tls.expiry",
        "over",
        "bad",
        "expired at",
        lambda house: own_certificate(house, days=-1),
        around=with_tls,
        whole=BOTH,
        mend=(r"copy the new certificate to (\S+own\.pem)$", own_certificate),
    ),
    Case(
        "tls.expiry",
        "soon",
        "warn",
        "ends at",
        lambda house: own_certificate(house, days=9),
        around=with_tls,
        whole=BOTH,
        mend=(r"copy the new certificate to (\S+own\.pem)$", own_certificate),
    ),
    Case(
        "tls.expiry",
        "early",
        "bad",
        "not valid before",
        _early,
        around=with_tls,
        whole=("tls.expiry",),
    ),
    Case(
        "tls.authority",
        "over",
        "bad",
        "expired at",
        _old_ca,
        around=with_tls,
        whole=BOTH,
        mend=(
            r"^copy the authority's new certificate, as PEM, to (\S+ca\.pem)$",
            _saved_ca,
        ),
    ),
    Case(
        "tls.handshake",
        "plain",
        "bad",
        "no TLS there",
        _plain_port,
        around=with_tls,
        whole=BOTH,
        mend=(
            r"^set `port = PORT` under `\[mqtt\]`, where PORT is the broker's for TLS$",
            certified,
        ),
    ),
    Case(
        "tls.ca",
        "another",
        "bad",
        "is not the authority",
        _other_ca,
        around=with_tls,
        whole=BOTH,
        mend=(r"^copy the certificate of (\S+), as PEM, to (\S+ca\.pem)$", _right_ca),
    ),
    Case(
        "tls.name",
        "another",
        "bad",
        "is for 127.0.0.1, not for localhost",
        _named_localhost,
        lambda house: certified(house, addresses_only=True),
        around=with_tls,
        whole=BOTH,
    ),
    Case(
        "tls.server",
        "over",
        "bad",
        "expired at",
        lambda house: certified(house, days=-1),
        around=with_tls,
        whole=BOTH,
        mend=(r"^give the broker at 127\.0\.0\.1:\d+ a new certificate$", certified),
    ),
    Case(
        "tls.server",
        "soon",
        "warn",
        "ends at",
        lambda house: certified(house, days=9),
        around=with_tls,
        whole=BOTH,
        mend=(r"^give the broker at 127\.0\.0\.1:\d+ a new certificate$", certified),
    ),
]
CASES = TLS
