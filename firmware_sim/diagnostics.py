"""Diagnostic conversations as frames: OBD-II mode 09 and UDS over ISO-TP.

ISO 15765-2 with normal addressing: single frame, first frame, flow control, consecutive
frames. The tester asks, the ECU answers, the tester grants, the ECU goes on: each frame
at its own time. Low rate by nature, so this part works frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_sim.schema import nanoseconds
from protocols.frames import FrameBatch, empty_frames

if TYPE_CHECKING:
    from firmware_sim.scenario import VehicleEvent, VehicleScenario

MS: Final = 1_000_000
TESTER_ALL: Final = 0x7DF  # functional request (ISO 15765-4)
TESTER: Final = 0x7E0
ECU: Final = 0x7E8
PAD: Final = 0xAA
ST_MIN_MS: Final = 5
ANSWER_MS: Final = 12
GRANT_MS: Final = 3
LASTS_NS: Final = 500 * MS  # no conversation here takes longer

READS: Final = ("read-vin-obd", "read-vin-uds", "read-ecu-serial")


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """One diagnostic frame, ns since the scenario's start."""

    time_ns: int
    ident: int
    data: bytes


def _exchange(
    event: VehicleEvent, scenario: VehicleScenario
) -> tuple[int, bytes, bytes]:
    """Return the request's identifier, request and response."""
    vin, serial = scenario.vin.encode(), scenario.ecu_serial.encode()
    if event.do == "read-vin-obd":
        # SAE J1979: mode 09, InfoType 02, one data item.
        return TESTER_ALL, b"\x09\x02", b"\x49\x02\x01" + vin
    if event.do == "read-vin-uds":
        # ISO 14229-1: ReadDataByIdentifier, DID F190.
        return TESTER, b"\x22\xf1\x90", b"\x62\xf1\x90" + vin
    return TESTER, b"\x22\xf1\x8c", b"\x62\xf1\x8c" + serial


def _padded(data: bytes) -> bytes:
    return data.ljust(8, bytes([PAD]))


def conversation(
    at_ns: int, ident: int, request: bytes, response: bytes
) -> list[TimedFrame]:
    """Return the frames of one request and its response (at most 4095 bytes)."""
    frames = [TimedFrame(at_ns, ident, _padded(bytes([len(request)]) + request))]
    now = at_ns + ANSWER_MS * MS
    if len(response) <= 7:
        single = _padded(bytes([len(response)]) + response)
        return [*frames, TimedFrame(now, ECU, single)]
    head = bytes([0x10 | len(response) >> 8, len(response) & 0xFF])
    frames.append(TimedFrame(now, ECU, head + response[:6]))
    now += GRANT_MS * MS
    # Clear to send, no block size, ST_MIN_MS between consecutive frames.
    frames.append(TimedFrame(now, TESTER, _padded(bytes([0x30, 0, ST_MIN_MS]))))
    for number, place in enumerate(range(6, len(response), 7), start=1):
        now += ST_MIN_MS * MS
        data = bytes([0x20 | number & 0xF]) + response[place : place + 7]
        frames.append(TimedFrame(now, ECU, _padded(data)))
    return frames


def request_times(event: VehicleEvent, t0_ns: int, t1_ns: int) -> list[int]:
    """Return when the event happens in [t0_ns, t1_ns), ns since the start."""
    at = nanoseconds(event.at)
    if event.every is None:
        return [at] if t0_ns <= at < t1_ns else []
    every = nanoseconds(event.every)
    first = max(0, -((at - t0_ns) // every))
    return list(range(at + first * every, t1_ns, every))


def diagnostic_frames(
    scenario: VehicleScenario, bus: int, t0_ns: int, t1_ns: int
) -> FrameBatch:
    """Return the diagnostic frames in [t0_ns, t1_ns), ns since the start, by time."""
    found = [
        frame
        for event in scenario.events
        if event.do in READS
        for at in request_times(event, t0_ns - LASTS_NS, t1_ns)
        for frame in conversation(at, *_exchange(event, scenario))
        if t0_ns <= frame.time_ns < t1_ns
    ]
    if not found:
        return empty_frames()
    found.sort(key=lambda frame: frame.time_ns)
    data = np.frombuffer(b"".join(f.data for f in found), np.uint8)
    return FrameBatch(
        np.array([f.time_ns for f in found], np.int64),
        np.full(len(found), bus, np.uint8),
        np.array([f.ident for f in found], np.uint32),
        np.full(len(found), 8, np.uint8),
        np.zeros(len(found), np.uint8),
        data.reshape(-1, 8).copy(),
    )
