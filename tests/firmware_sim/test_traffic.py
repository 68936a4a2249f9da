"""Frames of the simulated vehicle against cantools, and against themselves."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import cantools
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.encoder import load_messages
from firmware_sim.scenario import FOLDER, VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic, generate
from firmware_sim.wiring import WIRING
from protocols.frames import FrameBatch, concat_frames
from tests.support.examples import upto

if TYPE_CHECKING:
    from cantools.database.can import Database, Message

MS = 1_000_000
S = 1000 * MS
DATABASES = ("chassis.dbc", "body.dbc", "adas-fd.dbc")


def vehicle(name: str = "city-drive") -> VehicleScenario:
    scenario = load_scenario(name)
    assert isinstance(scenario, VehicleScenario)
    return scenario


def database(name: str) -> Database:
    loaded = cantools.database.load_file(FOLDER / name)
    assert isinstance(loaded, cantools.database.can.Database)
    return loaded


def equal(left: FrameBatch, right: FrameBatch) -> bool:
    return all(
        np.array_equal(getattr(left, column), getattr(right, column))
        for column in ("time_ns", "bus", "ident", "size", "flags", "payload")
    )


@pytest.mark.parametrize("name", ["city-drive", "crash"])
def test_cantools_decodes_every_frame_to_the_truth(name: str) -> None:
    """Each wired signal of each frame, within half its resolution (or its range)."""
    traffic = Traffic(vehicle(name))
    begin = 20 * S
    frames = traffic.frames(begin, begin + 6 * S)
    seen: set[str] = set()
    for number, bus in enumerate(traffic.scenario.buses):
        for message in database(bus.database).messages:
            rows = (frames.bus == number) & (frames.ident == message.frame_id)
            seen |= _agrees(traffic, message, frames.take(rows))
    assert seen == set(WIRING)


def _agrees(traffic: Traffic, message: Message, frames: FrameBatch) -> set[str]:
    assert len(frames), message.name
    moment = traffic.car.at(frames.time_ns - traffic.car.start_ns)
    truth = {
        signal.name: WIRING[key](moment)
        for signal in message.signals
        if (key := f"{message.name}.{signal.name}") in WIRING
    }
    seen = set()
    for row in range(len(frames)):
        data = frames.payload[row, : frames.size[row]].tobytes()
        found = message.decode(data, decode_choices=False)
        for name, column in truth.items():
            if name not in found:
                continue
            signal = message.get_signal_by_name(name)
            half = abs(signal.conversion.scale) / 2.0
            if signal.conversion.is_float:
                half = max(abs(column[row]) * 1e-7, 1e-12)
            low = -np.inf if signal.minimum is None else float(signal.minimum)
            high = np.inf if signal.maximum is None else float(signal.maximum)
            wanted = column[row]
            if low < high:
                wanted = min(max(wanted, low), high)
            assert abs(found[name] - wanted) <= half * (1 + 1e-6), (message.name, name)
            seen.add(f"{message.name}.{name}")
    return seen


@given(data=st.data(), which=st.sampled_from(DATABASES))
@pytest.mark.slow
def test_packing_equals_cantools_bit_for_bit(data: st.DataObject, which: str) -> None:
    code = data.draw(st.sampled_from(load_messages(FOLDER / which)))
    message = database(which).get_message_by_name(code.name)
    values: dict[str, float] = {}
    for signal in code.signals:
        if signal.is_multiplexer:
            values[signal.name] = data.draw(st.sampled_from(code.mux_values))
        elif signal.is_float:
            width = 32 if signal.length == 32 else 64
            values[signal.name] = data.draw(
                st.floats(allow_nan=False, allow_infinity=False, width=width)
            )
        else:
            raw = data.draw(st.integers(int(signal.low), int(signal.high)))
            values[signal.name] = raw * signal.scale + signal.offset
    columns = {name: np.array([value]) for name, value in values.items()}
    ours = code.encode(columns, 1, 64)[0, : code.size].tobytes()
    chooser = next((values[s.name] for s in code.signals if s.is_multiplexer), None)
    sent = {s.name: values[s.name] for s in code.signals if s.mux in {None, chooser}}
    assert ours == message.encode(sent, strict=False, padding=False)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    one, two = Traffic(vehicle()), Traffic(vehicle())
    frames = one.frames(0, 5 * S)
    assert equal(frames, two.frames(0, 5 * S))
    other = Traffic(msgspec_replace(vehicle(), seed=1)).frames(0, 5 * S)
    assert not equal(frames, other)


def msgspec_replace(scenario: VehicleScenario, *, seed: int) -> VehicleScenario:
    import msgspec

    return msgspec.structs.replace(scenario, seed=seed)


@settings(max_examples=upto(30))
@given(cuts=st.lists(st.integers(0, 9 * S), max_size=4))
def test_windows_put_together_are_one_window(cuts: list[int]) -> None:
    """Any cut, also within a conversation or an event's repeats."""
    scenario = vehicle()
    borders = [0, *sorted(cuts), 9 * S]
    parts = [generate(scenario, a, b) for a, b in itertools.pairwise(borders)]
    assert equal(concat_frames(parts), generate(scenario, 0, 9 * S))


def test_frames_come_in_order_at_their_cycle_times() -> None:
    traffic = Traffic(vehicle())
    frames = traffic.frames(0, 20 * S)
    assert (np.diff(frames.time_ns) >= 0).all()
    assert not (frames.time_ns % 1000).any()
    speeds = frames.time_ns[(frames.bus == 0) & (frames.ident == 0xD0)]
    assert len(speeds) == 2000
    gaps = np.diff(speeds)
    assert gaps.min() > 10 * MS - 200_000
    assert gaps.max() < 10 * MS + 200_000
    assert gaps.std() > 10_000  # there is jitter


def test_counters_count_every_frame() -> None:
    """Cyclic and event frames of DOORS share one counter without a jump."""
    frames = generate(vehicle(), 0, 10 * S)
    rows = (frames.bus == 1) & (frames.ident == 0x320)
    counter = frames.payload[rows, 1].astype(np.int64)
    assert len(counter) == 50 + 2 * 3  # two door events, sent three times each
    assert (np.diff(counter) % 16 == 1).all()


def test_an_event_message_goes_out_at_once() -> None:
    scenario = vehicle("crash")
    frames = generate(scenario, 22 * S - 50 * MS, 22 * S + 50 * MS)
    crash = frames.take((frames.bus == 0) & (frames.ident == 0x50))
    at = crash.time_ns - Traffic(scenario).car.start_ns
    assert 22 * S in at
    assert (crash.payload[at >= 22 * S, 0] & 1).all()
    assert not (crash.payload[at < 22 * S, 0] & 1).any()


def test_the_fd_bus_has_64_byte_frames_and_classic_buses_have_not() -> None:
    frames = generate(vehicle(), 0, S)
    assert frames.size[frames.bus == 2].max() == 64
    assert frames.size[frames.bus != 2].max() == 8
    assert ((frames.flags[frames.bus == 2] & 4) != 0).all()
    assert not frames.flags[frames.bus != 2].any()
