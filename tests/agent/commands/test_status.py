"""`status` and the metrics page, asked of an agent that runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.commands.status import _rows, bus_line
from agent.main import run
from protocols.telemetry import BusState
from tests.support.broker import free_port, needs_mosquitto
from tests.support.gateway import Gateway
from tests.support.status_stub import StatusStub

if TYPE_CHECKING:
    from pathlib import Path


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_running_agent_says_how_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "gw.toml")  # the socket's name is relative to its folder
    with Gateway(tmp_path) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: gateway.metric("samples_total") > 100)
        code = run(["status", "--json", "-c", file])
        out, err = capfd.readouterr()
        state = json.loads(out)
        assert err == ""
        assert code == (1 if state["problems"] else 0)
        assert state["device"] == "gw-1"
        assert state["policy_name"] == "whole-gateway"
        assert state["policy_state"] == "active"
        assert len(bytes.fromhex(state["policy_digest"])) == 32
        assert {"clock", "autonomy_h", "coverage", "spool_bytes"} <= state.keys()

        run(["status", "-c", file])
        shown = capfd.readouterr().out
        assert [
            row for row in shown.splitlines() if row.split()[:2] == ["policy", "name"]
        ]

        page = gateway.page("/metrics")
        rows = [line for line in page.splitlines() if not line.startswith("#")]
        for row in rows:  # text format 0.0.4: name{labels} value
            name, value = row.rsplit(" ", 1)
            assert name.startswith("sluicegate_")
            float(value)
        typed = {line.split()[2] for line in page.splitlines() if "# TYPE" in line}
        assert {row.split("{")[0].split()[0] for row in rows} <= typed
        gateway.stop()


@pytest.mark.parametrize(
    ("metrics", "code", "says"),
    [
        ("", 2, "no status socket"),
        ("port = {port}", 1, "is it running"),
        ('socket = "none.sock"', 1, "is it running"),
    ],
    ids=["none", "port", "socket"],
)
def test_no_agent_is_one_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    metrics: str,
    code: int,
    says: str,
) -> None:
    config = tmp_path / "gw.toml"
    config.write_text(
        'device = "gw-1"\nfleet = "test"\nstate_dir = "state"\n[metrics]\n'
        + metrics.format(port=free_port())
    )
    assert run(["status", "-c", str(config)]) == code
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert says in err


def test_what_there_is_none_of_is_no_number() -> None:
    state = {"online": True, "oldest_ns": 0, "certificate_ns": 10**18, "links": []}
    assert _rows(state) == [
        ("online", "yes"), ("oldest", "none"),
        ("certificate", "2001-09-09 01:46:40+00:00"), ("links", "none"),
    ]  # fmt: skip


PAGES = {
    "another program": "<html>", "no object": "[]", "nothing": "null", "text": "\\u1",
    "deep": "[" * 100_000, "number": '{"time_ns":' + "9" * 6000 + "}",
    "a bus before an upgrade": '{"buses": [{"buffer_bytes": 1}]}',
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_what_answers_and_is_no_agent_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    config = tmp_path / "gw.toml"
    config.write_text(
        'device = "gw-1"\nfleet = "test"\nstate_dir = "state"\n'
        '[metrics]\nsocket = "s"\n'
    )
    with StatusStub(tmp_path / "s", lambda: PAGES[name]):
        assert run(["status", "-c", str(config)]) == 1
        told = capfd.readouterr().err
        assert "no agent of this version" in told
        assert run(["top", "-c", str(config), "--every", "0.2"]) == 1
        assert "no agent of this version" in capfd.readouterr().err
        if "upgrade" not in name:
            only = ["--only", "status.answers", "-c", str(config)]
            assert run(["doctor", *only]) == 0
            assert "no agent of this version" in capfd.readouterr().out


def test_a_time_beyond_all_calendars_is_a_number() -> None:
    assert _rows({"time_ns": 10**26}) == [("time", f"{10**26} ns")]


def test_a_bus_reads_as_one_line() -> None:
    state = BusState(name="body", state="error-passive", since_ns=10**18,
                     bitrate=500_000, listen_only=True, frames=7, lost=1,
                     controller_lost=2, skipped=3,
                     passes=4, packets=20, buffer_bytes=425_984)  # fmt: skip
    assert bus_line(msgspec.to_builtins(state)) == (
        "body error-passive since 2001-09-09 01:46:40+00:00, 500000 bit/s, listen-only,"
        " 7 frames, 4 filters pass, of 20 frames, 1 lost here,"
        " 2 lost by the controller, 3 skipped, buffer 425984 bytes (net.core.rmem_max)"
    )
    away = BusState(name="body", state="absent")
    assert bus_line(msgspec.to_builtins(away)) == "body absent, 0 frames"
