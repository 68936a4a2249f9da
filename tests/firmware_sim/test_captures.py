"""Captures, ground truth and live buses, each read back by somebody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import can
import numpy as np
import pytest
from pymodbus.client import ModbusTcpClient

from firmware_sim.captures import truth_path, write_capture
from firmware_sim.errors import OutputError
from firmware_sim.live import VehicleSender, places
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from firmware_sim.wiring import ITEMS
from protocols.frames import CAN_EFF_MASK

S = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    scenario = load_scenario("crash")
    assert isinstance(scenario, VehicleScenario)
    return Traffic(scenario)


@pytest.mark.parametrize("suffix", [".log", ".blf", ".asc"])
def test_python_can_reads_the_capture_back(
    traffic: Traffic, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"drive{suffix}"
    counts = write_capture(traffic, out, 4 * S)
    frames = traffic.frames(0, 4 * S)
    assert counts.total == len(frames)
    with can.LogReader(out) as reader:
        read = list(reader)
    assert len(read) == len(frames)
    assert [m.arbitration_id for m in read] == (frames.ident & CAN_EFF_MASK).tolist()
    for row in range(0, len(read), 7):
        size = int(frames.size[row])
        assert bytes(read[row].data) == frames.payload[row, :size].tobytes()
        assert read[row].is_fd == bool(frames.flags[row] & 4)
    steps = np.diff([m.timestamp for m in read])
    assert np.allclose(steps, np.diff(frames.time_ns) / 1e9, atol=2e-6)


def test_truth_beside_the_capture(traffic: Traffic, tmp_path: Path) -> None:
    out = tmp_path / "drive.log"
    write_capture(traffic, out, 31 * S)
    lines = [json.loads(row) for row in truth_path(out).read_text().splitlines()]
    header, records = lines[0], lines[1:]
    assert header["schema"] == "sluicegate/truth/1"
    assert header["vin"] == traffic.scenario.vin
    text = out.read_text().splitlines()
    for bus, idents in header["frames"].items():
        for ident, count in idents.items():
            assert sum(f" {bus} {ident}#" in row for row in text) == count
    assert sum(map(sum, (x.values() for x in header["frames"].values()))) == len(text)
    times = [record["t_ns"] for record in records]
    assert times == sorted(times)
    states = [record for record in records if "values" in record]
    assert len(states) == 310
    assert set(states[0]["values"]) == set(ITEMS)
    events = [record["event"] for record in records if "event" in record]
    assert events == [
        "lights-on", "crash", "open-door", "unbelt-driver", "read-vin-uds",
    ]  # fmt: skip
    after = states[-1]["values"]
    assert after["Vehicle.Safety.CrashDetected"] == 1.0
    assert after["Vehicle.Speed"] == 0.0
    assert after["Vehicle.Cabin.Door.Row1.DriverSide.IsOpen"] == 1.0


def test_same_scenario_same_file(traffic: Traffic, tmp_path: Path) -> None:
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    for out in files:
        write_capture(traffic, out, 2 * S)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_capture_that_ends_early_is_whole(traffic: Traffic, tmp_path: Path) -> None:
    out = tmp_path / "long.blf"
    counts = write_capture(traffic, out, 3600 * S, go_on=lambda _: False)
    with can.LogReader(out) as reader:
        assert sum(1 for _ in reader) == counts.total
    header = json.loads(truth_path(out).read_text().splitlines()[0])
    assert header["seconds"] == 20.0  # one slice


def test_an_output_that_cannot_be_written_is_one_line(
    traffic: Traffic, tmp_path: Path
) -> None:
    for out in (tmp_path / "no" / "x.log", tmp_path / "x.csv"):
        with pytest.raises(OutputError, match=r"^[^\n]+$"):
            write_capture(traffic, out, S)


def test_live_frames_arrive_on_virtual_buses(traffic: Traffic) -> None:
    """Everything that was sent arrives, in order and bit for bit."""
    channels = [f"sim-{os.getpid()}-{n}" for n in range(3)]
    receivers = [can.Bus(interface="virtual", channel=name) for name in channels]
    buses = [place.open() for place in places(traffic, "virtual", channels, 0)]
    try:
        sender = VehicleSender(traffic, buses, speed=20.0)
        sender.run(2 * S, threading.Event())
        assert sender.failed == 0
        frames = traffic.frames(0, 2 * S)
        assert sender.counts.total == len(frames)
        for number, receiver in enumerate(receivers):
            mine = frames.take(frames.bus == number)
            got = [receiver.recv(0) for _ in range(len(mine))]
            assert receiver.recv(0) is None
            assert [m and m.arbitration_id for m in got] == mine.ident.tolist()
            sent = [mine.payload[r, : mine.size[r]].tobytes() for r in range(len(mine))]
            assert [m and bytes(m.data) for m in got] == sent
    finally:
        for bus in [*buses, *receivers]:
            bus.shutdown()


def test_a_live_run_can_be_stopped(traffic: Traffic) -> None:
    stop = threading.Event()
    stop.set()
    sender = VehicleSender(traffic, [], 1.0)
    sender.run(None, stop)
    assert sender.counts.total == 0


def test_channels_must_match_the_buses(traffic: Traffic) -> None:
    with pytest.raises(OutputError, match="3 channels are needed"):
        places(traffic, "socketcan", ["vcan0"], 0)
    ports = [place.port for place in places(traffic, "udp_multicast", [], 43113)]
    assert ports == [43113, 43114, 43115]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "firmware_sim", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_plant_command_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    port_file, truth = tmp_path / "port", tmp_path / "plant.truth.jsonl"
    process = start(
        "plant", "tank-line", "--port-file", str(port_file), "--truth", str(truth),
        "--forever", "--speed", "5",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("PLC on 127.0.0.1:")
        port = int(port_file.read_text())
        with ModbusTcpClient("127.0.0.1", port=port, timeout=30) as client:
            answer = client.read_input_registers(0, count=2)
            assert not answer.isError()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert err == ""
    assert "steps of 50ms" in out
    header = json.loads(truth.read_text().splitlines()[0])
    assert header["scenario"] == "tank-line"


def multicast_works(group: str, port: int) -> bool:
    """Sandboxes without a multicast route exist: then nothing here can be shown."""
    try:
        with (
            can.Bus(interface="udp_multicast", channel=group, port=port) as one,
            can.Bus(interface="udp_multicast", channel=group, port=port) as other,
        ):
            one.send(can.Message(arbitration_id=1, is_extended_id=False))
            return other.recv(2) is not None
    except (can.CanError, OSError):
        return False


@pytest.mark.slow
def test_vehicle_command_ends_on_sigterm_and_tells_what_it_sent(tmp_path: Path) -> None:
    if not multicast_works("239.74.163.77", 43712):
        pytest.skip("no multicast on this machine")
    truth = tmp_path / "live.truth.jsonl"
    process = start(
        "vehicle", "parked", "--interface", "udp_multicast", "--port", "43713",
        "--channel", "239.74.163.77", "--forever", "--truth", str(truth),
    )  # fmt: skip
    receiver = can.Bus(
        interface="udp_multicast", channel="239.74.163.77", port=43713, fd=False
    )
    try:
        assert receiver.recv(20) is not None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        receiver.shutdown()
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    header = json.loads(truth.read_text().splitlines()[0])
    sent = sum(sum(x.values()) for x in header["frames"].values())
    assert out.startswith(f"{sent} frames sent, 0 refused")
