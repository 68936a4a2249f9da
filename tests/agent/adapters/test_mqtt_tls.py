"""The MQTT link over TLS, and against rumqttd (iotcore)."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
from typing import TYPE_CHECKING, TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.adapters.mqtt import MqttOptions, check, connect
from agent.errors import BadInput, Unavailable
from agent.records import Outgoing
from tests.support.broker import Broker, Tls, free_port, needs_mosquitto
from tests.support.links import first, options, run

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.mqtt import MqttLink

pytestmark = pytest.mark.broker


# --- TLS --------------------------------------------------------------------------


Signed: TypeAlias = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(
    folder: Path,
    name: str,
    signer: Signed | None,
) -> Signed:
    """Write ``name``.pem and ``name``.key, self-signed where there is no signer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2120, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(signer is None, None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        # Python 3.13 verifies strictly (RFC 5280 section 4.2.1.1 to 4.2.1.3).
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                (signer[1] if signer else key).public_key()
            ),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=signer is None,
                crl_sign=signer is None,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    made = builder.sign(signer[1] if signer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made, key


@pytest.mark.parametrize("place", ["ca_file", "cert_file", "key_file"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(
    tmp_path: Path, place: str
) -> None:
    files = {}
    for name in ("ca_file", "cert_file", "key_file"):
        files[name] = str(tmp_path / name)
        (tmp_path / name).touch()
    (tmp_path / place).unlink()
    os.mkfifo(tmp_path / place)
    with pytest.raises(BadInput, match=f"{place}: is no regular file"):
        check(MqttOptions("broker.example", 8883, "gw", **files))


@needs_mosquitto
def test_tls_with_client_certificates(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "ca", None)
    certificate(tmp_path, "broker", authority)
    certificate(tmp_path, "gw", authority)
    stranger = certificate(tmp_path, "stranger-ca", None)
    certificate(tmp_path, "stranger", stranger)
    tls = Tls(tmp_path / "ca.pem", tmp_path / "broker.pem", tmp_path / "broker.key")

    def with_files(broker: Broker, ca: str, name: str) -> MqttOptions:
        return options(
            broker,
            ca_file=str(tmp_path / f"{ca}.pem"),
            cert_file=str(tmp_path / f"{name}.pem") if name else "",
            key_file=str(tmp_path / f"{name}.key") if name else "",
        )

    async def work(broker: Broker) -> int:
        link = await connect(with_files(broker, "ca", "gw"))
        code = await link.publish(Outgoing("t", b"x"))
        await link.close()
        return code

    with Broker(tmp_path, tls=tls) as broker:
        assert run(work(broker)) == 0x10
        with pytest.raises(Unavailable, match="certificate verify failed"):
            run(connect(with_files(broker, "stranger-ca", "gw")))
        for refused in ("stranger", ""):
            with pytest.raises(Unavailable):
                run(connect(with_files(broker, "ca", refused)))
        with pytest.raises(BadInput, match=r"absent\.pem: No such file"):
            run(connect(with_files(broker, "absent", "gw")))
        (tmp_path / "gw.key").write_text("no key")
        with pytest.raises(BadInput, match="no usable certificate or key"):
            run(connect(with_files(broker, "ca", "gw")))


# --- rumqttd ----------------------------------------------------------------------

RUMQTTD = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2097152
max_inflight_count = 100
dynamic_filters = true
"""


def test_the_embedded_broker_speaks_enough_mqtt_5(tmp_path: Path) -> None:
    iotcore = pytest.importorskip("iotcore")
    port = free_port()
    config = tmp_path / "rumqttd.toml"
    config.write_text(RUMQTTD.format(port=port))
    rumqttd = iotcore.Broker(config_path=str(config))
    rumqttd.start()

    async def work() -> tuple[list[int], list[bytes], MqttLink]:
        where = ("127.0.0.1", port)
        collector = await connect(MqttOptions(*where, "collector"))
        await collector.subscribe(["sg/#"])
        link = await connect(MqttOptions(*where, "gw-1"))
        bodies = [bytes([n]) * 60_000 for n in range(20)]
        answers = asyncio.gather(
            *(
                link.publish(Outgoing("sg/d", b, properties=(("label", "G2"),)))
                for b in bodies
            )
        )
        got = await first(collector, 20)
        codes = await answers
        await collector.close()  # its session stays, and takes what comes meanwhile
        codes.append(await link.publish(Outgoing("sg/late", b"late")))
        collector = await connect(MqttOptions(*where, "collector"))
        assert collector.session_present
        (late,) = await first(collector)
        assert late.body == b"late"
        await link.close()
        await collector.close()
        return codes, [m.body for m in got], link

    try:
        codes, got, _ = run(work())
    finally:
        rumqttd.stop()
    assert codes == [0] * 21
    assert sorted(got) == [bytes([n]) * 60_000 for n in range(20)]
