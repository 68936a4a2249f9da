"""The configuration file: every refusal is one line with file, place and reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import is_loopback, parse_config
from agent.errors import BadInput

GOOD = """
device = "gw-1"
fleet = "demo"
state_dir = "/var/lib/sluicegate"
"""
PROXY = "[[modbus]]\nname='p'\nmode='proxy'\n"


def test_defaults_are_safe() -> None:
    config = parse_config(GOOD.encode(), "a.toml")
    assert config.policy == ""
    assert config.mqtt.host == "127.0.0.1"
    assert not config.mqtt.allow_plaintext


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("device = 3", ["a.toml", "device", "str"]),
        (GOOD + "colour = 1", ["a.toml: colour: no such field", "(known: ", "mqtt"]),
        (GOOD + "[mqtt]\nprot = 1", ["mqtt.prot: no such field", "mean 'port'?"]),
        (GOOD + "[[can]]\nname='a'\nBitRate=1", ["can[0].BitRate", "mean 'bitrate'?"]),
        (GOOD + "[mqtt]\nhost = 'broker.example'", ["mqtt.host", "TLS"]),
        (GOOD + "[mqtt]\ncert_file = 'x'", ["mqtt", "go together"]),
        (GOOD + "[[can]]\nname='a'\n[[can]]\nname='a'", ["two sources"]),
        (GOOD + "[[modbus]]\nname='m'\nlisten='0.0.0.0:502'", ["modbus[0].listen"]),
        (GOOD + PROXY + "listen='plc:502'", ["modbus[0].listen", "IP address"]),
        (GOOD + PROXY + "listen='::1:502'", ["modbus[0].listen"]),
        (GOOD + PROXY + "listen='[::1]:0'", ["modbus[0].listen", "1 to 65535"]),
        (GOOD + PROXY + PROXY.replace("'p'", "'q'"), ["modbus[1].listen", "p listens"]),
        (GOOD + PROXY + "kind='rtu'\nin_flight=2", ["modbus[0].in_flight"]),
        (GOOD + PROXY + "masters=0", ["modbus[0].masters"]),
        (GOOD + PROXY + "listen_tls={cert_file='a'}", ["modbus[0].listen_tls"]),
        (GOOD + PROXY + "device_tls={ca_file='a',key_file='b'}", ["go together"]),
        (GOOD + "[[tap]]\nname='t'", ["tap[0].interface", "and not both"]),
        (GOOD + "[[tap]]\nname='t'\ninterface='a/b'", ["tap[0].interface"]),
        (GOOD + "[[tap]]\nname='t'\ninterface='e'\nports=[]", ["tap[0].ports"]),
        (
            GOOD + "[[tap]]\nname='t'\ndevice='/d'\n[[modbus]]\nname='m'\nkind='rtu'\n"
            "device='/d'",
            ["tap[0].device", "link m"],
        ),
        (GOOD + "[[can]]\nname='a/b'", ["can[0].name"]),
        (GOOD + "[spool]\nmax_bytes = 5", ["spool.max_bytes"]),
        (GOOD + "[eve]\nmax_bytes = 100000", ["eve", "file"]),
        (GOOD + "[eve]\nfile='e'\nmax_bytes = 5", ["eve.max_bytes"]),
        (GOOD + "[eve]\nfile='e'\nmodbus = 'some'", ["eve.modbus"]),
        ("device = = 3", ["a.toml", "line 1"]),
        (GOOD.replace("gw-1", "a#b"), ["device"]),
        (GOOD + "[mqtt]\nport = 70000", ["mqtt.port", "65535"]),
        (GOOD + "[mqtt]\nport = 0", ["mqtt.port"]),
        (GOOD + "[mqtt]\nkeepalive_s = 99999999", ["mqtt.keepalive_s"]),
        (GOOD + "[metrics]\nport = -1", ["metrics.port"]),
        (GOOD + "[metrics]\nsocket = 'a\\u0000'".replace("'", '"'), ["control"]),
        (GOOD + '"\\u001b[31m" = 1', ["control"]),
        (GOOD + "[[modbus]]\nname='m'\nport = -1", ["modbus[0].port"]),
        (GOOD + "[[modbus]]\nname='m'\ntimeout_s = nan", ["modbus[0].timeout_s"]),
        (GOOD + "[[modbus]]\nname='m'\npause_s = inf", ["modbus[0].pause_s"]),
        (GOOD + f"[spool]\nmax_bytes = {2**80}", ["spool.max_bytes"]),
        (GOOD + "x = " + "[" * 20_000, ["too deep"]),
        (GOOD + "x = " + "9" * 5_000, ["too long"]),
        (GOOD + "".join(f"[[can]]\nname='c{n}'\n" for n in range(257)), ["256 buses"]),
    ],
)
def test_a_refusal_names_file_place_and_reason(text: str, words: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parse_config(text.encode(), "a.toml")
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words), line


def test_too_large_is_refused_before_parsing() -> None:
    with pytest.raises(BadInput, match="larger"):
        parse_config(b"#" * (300 * 1024), "a.toml")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_configuration_or_one_line(text: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        parse_config(text, "a.toml")
    assert "Traceback" not in str(caught.value)


def test_loopback() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("broker.example")
