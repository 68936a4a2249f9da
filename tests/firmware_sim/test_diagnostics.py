"""The diagnostic conversations, put together again by a reader of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_sim.diagnostics import ECU, TESTER, TESTER_ALL, conversation
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic

if TYPE_CHECKING:
    from protocols.frames import FrameBatch

MS = 1_000_000
S = 1000 * MS


def reassembled(frames: FrameBatch) -> list[tuple[int, int, bytes]]:
    """ISO 15765-2 by the letter: single, first and consecutive frames per sender."""
    done: list[tuple[int, int, bytes]] = []
    open_: dict[int, tuple[int, int, bytearray, int]] = {}
    granted: set[int] = set()
    for row in range(len(frames)):
        at, ident = int(frames.time_ns[row]), int(frames.ident[row])
        data = frames.payload[row].tobytes()[:8]
        kind = data[0] >> 4
        if kind == 0:
            done.append((at, ident, data[1 : 1 + data[0]]))
        elif kind == 1:
            total = (data[0] & 0xF) << 8 | data[1]
            open_[ident] = (at, total, bytearray(data[2:]), 1)
        elif kind == 3:
            assert data[0] == 0x30, "clear to send"
            granted.add(ident + 8)
        else:
            first, total, body, number = open_[ident]
            assert ident in granted, "consecutive frame without flow control"
            assert data[0] & 0xF == number & 0xF
            body += data[1:]
            open_[ident] = (first, total, body, number + 1)
            if len(body) >= total:
                done.append((first, ident, bytes(body[:total])))
                granted.discard(ident)
    return done


def test_vin_and_serial_come_over_obd_and_uds_at_their_times() -> None:
    scenario = load_scenario("city-drive")
    assert isinstance(scenario, VehicleScenario)
    traffic = Traffic(scenario)
    frames = traffic.frames(0, 70 * S)
    rows = (frames.bus == 1) & (frames.ident >= 0x7DF) & (frames.ident <= 0x7E8)
    found = [
        (at - traffic.car.start_ns, ident, data)
        for at, ident, data in reassembled(frames.take(rows))
    ]
    vin, serial = scenario.vin.encode(), scenario.ecu_serial.encode()
    obd = [(TESTER_ALL, b"\x09\x02"), (ECU, b"\x49\x02\x01" + vin)]
    uds = [(TESTER, b"\x22\xf1\x90"), (ECU, b"\x62\xf1\x90" + vin)]
    number = [(TESTER, b"\x22\xf1\x8c"), (ECU, b"\x62\xf1\x8c" + serial)]
    assert [(i, d) for _, i, d in found] == [*obd, *uds, *number, *obd]
    requests = [at for at, ident, _ in found if ident != ECU]
    assert requests == [3 * S, 6 * S, 6 * S + 500 * MS, 63 * S]


def test_the_vin_is_nowhere_else_on_the_buses() -> None:
    scenario = load_scenario("city-drive")
    assert isinstance(scenario, VehicleScenario)
    frames = Traffic(scenario).frames(0, 10 * S)
    other = frames.take((frames.ident < 0x7DF) | (frames.bus != 1))
    assert b"CANARY" not in other.payload.tobytes()


def test_a_short_response_is_one_frame_and_a_long_one_wraps_its_numbers() -> None:
    short = conversation(0, TESTER, b"\x3e\x00", b"\x7e\x00")
    assert [frame.data[0] for frame in short] == [2, 2]
    long = conversation(0, TESTER, b"\x22\xf1\x99", bytes(200))
    numbers = [frame.data[0] & 0xF for frame in long[3:]]
    assert numbers == [(i + 1) % 16 for i in range(28)]
    assert [f.time_ns for f in long] == sorted({f.time_ns for f in long})
