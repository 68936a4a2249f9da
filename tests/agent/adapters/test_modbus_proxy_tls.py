"""Modbus/TCP Security on both sides of a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.proxy_settings import ClientTls, ServerTls
from agent.errors import BadInput
from protocols.modbus.peers import Peers
from tests.support.certificates import Signed, certificate, master_context, saved
from tests.support.proxying import (
    ALLOW,
    DENY,
    PATIENCE_S,
    Asking,
    Client,
    Device,
    allowing,
    counts,
    link_to,
    proxied,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.firewall.decision import Caller, Decision


@dataclass
class Plant:
    folder: Path
    ca: Signed
    ca_file: str
    tls: ServerTls

    def master(
        self, name: str, *, role: str = "", signer: Signed | None = None, days: int = 30
    ) -> tuple[str, str]:
        signed = certificate(name, signer or self.ca, role=role, days=days)
        return saved(self.folder, name, signed)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    folder = tmp_path_factory.mktemp("plant")
    ca = certificate("plant CA")
    ca_file, _ = saved(folder, "ca", ca)
    cert, key = saved(folder, "gateway", certificate("gateway", ca))
    return Plant(folder, ca, ca_file, ServerTls(cert, key, ca_file))


def by_role(caller: Caller, _: int, request: object) -> Decision:
    engineer = "engineer" in caller.roles
    return ALLOW if engineer or not request.is_write else DENY  # type: ignore[attr-defined]  # a Request


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_role_of_the_certificate_reaches_the_rules(
    plant: Plant, version: ssl.TLSVersion
) -> None:
    engineer = plant.master("engineer", role="engineer")
    nobody = plant.master("nobody")
    with (
        Device() as device,
        proxied(device.port, Asking(by_role), listen_tls=plant.tls) as proxy,
    ):
        port = proxy.port("plc1")
        context = master_context(plant.ca_file, engineer, only=version)
        with Client(port, context) as master:
            assert master.ask(write(1, 2)) == write(1, 2)
        with Client(port, master_context(plant.ca_file, nobody)) as master:
            assert master.ask(write(1, 3)) == b"\x86\1"
            assert master.ask(read(1)) == b"\3\2\0\1"
    assert [pdu for _, pdu in device.adus] == [write(1, 2), read(1)]


def refused(port: int, context: ssl.SSLContext) -> bool:
    """Tell whether the proxy ends the connection; TLS 1.3 tells it on reading."""
    try:
        with Client(port, context) as master:
            master.ask(read(1))
    except (ssl.SSLError, EOFError, ConnectionError):
        return True
    return False


def test_without_a_good_certificate_nobody_comes_in(plant: Plant) -> None:
    stranger = certificate("another CA")
    with (
        Device() as device,
        proxied(device.port, allowing(), listen_tls=plant.tls) as proxy,
    ):
        port = proxy.port("plc1")
        for files in (
            None,
            plant.master("wrong-ca", signer=stranger, role="engineer"),
            plant.master("expired", days=-1),
        ):
            assert refused(port, master_context(plant.ca_file, files))
        old = master_context(plant.ca_file, plant.master("old"))
        with pytest.warns(DeprecationWarning, match="deprecated"):
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="deprecated"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        assert refused(port, old)
        with Client(port) as plain:  # Modbus without TLS
            plain.send(b"\0\1\0\0\0\6\1\3\0\0\0\1")
            plain.until_end()
        assert not device.adus
        assert counts(proxy).tls_refused >= 4
        good = master_context(plant.ca_file, plant.master("good"))
        with Client(port, good) as master:
            assert master.ask(read(1)) == b"\3\2\0\1"


class Splitter:
    """A relay that sends every byte alone: TLS records arrive in pieces."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._to), PATIENCE_S)
        for source, sink in ((near, far), (far, near)):
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(
                target=self._pump, args=(source, sink), daemon=True
            ).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                for byte in data:
                    sink.send(bytes([byte]))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_tls_records_may_come_byte_by_byte(plant: Plant) -> None:
    files = plant.master("split", role="engineer")
    with (
        Device() as device,
        proxied(device.port, Asking(by_role), listen_tls=plant.tls) as proxy,
    ):
        relay = Splitter(proxy.port("plc1"))
        with Client(relay.port, master_context(plant.ca_file, files)) as master:
            for number in range(5):
                assert master.ask(write(number, 2)) == write(number, 2)
        assert len(device.adus) == 5


@pytest.fixture
def secure_device(plant: Plant) -> Iterator[Device]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=plant.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    cert = saved(plant.folder, "plc", certificate("plc", plant.ca))
    context.load_cert_chain(*cert)
    with Device(tls=context) as device:
        yield device


def test_the_device_is_spoken_to_with_our_certificate(
    plant: Plant, secure_device: Device
) -> None:
    ours = plant.master("ours", role="proxy")
    tls = ClientTls(plant.ca_file, *ours, server_name="localhost")
    with (
        proxied(secure_device.port, allowing(), device_tls=tls) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(9)) == b"\3\2\0\x09"


def test_a_device_that_shows_a_wrong_certificate_is_not_spoken_to(
    plant: Plant, secure_device: Device
) -> None:
    other, _ = saved(plant.folder, "other-ca", certificate("other CA"))
    for tls, told in (
        (ClientTls(other), "self-signed|unable to get"),
        (ClientTls(plant.ca_file, server_name="plc9.example"), "mismatch"),
    ):
        with (
            proxied(secure_device.port, allowing(), device_tls=tls) as proxy,
            Client(proxy.port("plc1")) as master,
        ):
            assert master.ask(write(1, 2)) == b"\x86\x0a"
            problem = proxy.statistics().links[0].problem
            assert any(word in problem for word in told.split("|")), problem
    assert not secure_device.adus


def test_files_that_cannot_be_used_are_named(plant: Plant) -> None:
    missing = str(plant.folder / "missing.pem")
    for tls, file in (
        (ServerTls(missing, missing, plant.ca_file), missing),
        (
            ServerTls(plant.tls.cert_file, plant.ca_file, plant.ca_file),
            plant.tls.cert_file,
        ),
        (ServerTls(plant.tls.cert_file, plant.tls.key_file, missing), missing),
    ):
        with pytest.raises(BadInput, match=file):
            ModbusProxy([link_to(1, listen_tls=tls)], Peers())
