"""Capture files of a simulated vehicle: candump in bulk, BLF and ASC by python-can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import can

from firmware_sim.errors import OutputError
from firmware_sim.truth import FrameCount, vehicle_truth
from protocols.capture.candump import encode_candump
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_RTR_FLAG,
    CANFD_BRS,
    CANFD_ESI,
    CANFD_FDF,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from firmware_sim.traffic import Traffic
    from protocols.frames import FrameBatch

SUFFIXES: Final = (".log", ".blf", ".asc")


def messages(frames: FrameBatch) -> Iterator[can.Message]:
    """Yield python-can messages: its writers and buses take nothing else."""
    columns = zip(
        frames.time_ns.tolist(), frames.bus.tolist(), frames.ident.tolist(),
        frames.size.tolist(), frames.flags.tolist(), frames.payload, strict=True,
    )  # fmt: skip
    for time_ns, bus, ident, size, flags, payload in columns:
        yield can.Message(
            timestamp=time_ns / 1e9,
            arbitration_id=ident & CAN_EFF_MASK,
            is_extended_id=bool(ident & CAN_EFF_FLAG),
            is_remote_frame=bool(ident & CAN_RTR_FLAG),
            is_rx=True,
            channel=bus,
            dlc=size,
            data=payload[:size].tobytes(),
            is_fd=bool(flags & CANFD_FDF),
            bitrate_switch=bool(flags & CANFD_BRS),
            error_state_indicator=bool(flags & CANFD_ESI),
        )


def truth_path(out: Path) -> Path:
    """Return where the truth of an output stands: ``<out>.truth.jsonl``."""
    return out.with_name(out.name + ".truth.jsonl")


def write_capture(
    traffic: Traffic,
    out: Path,
    duration_ns: int,
    go_on: Callable[[int], bool] = lambda _: True,
) -> FrameCount:
    """Write a capture and its truth; return the counts. Raises OutputError.

    ``go_on`` is told the scenario time done, and ends the capture early (whole, with
    the truth of what it holds) by returning False.
    The suffix tells the format: ``.log`` candump, ``.blf``, ``.asc``.
    """
    if out.suffix not in SUFFIXES:
        raise OutputError(f"{out}: suffix must be one of {', '.join(SUFFIXES)}")
    counts = FrameCount(traffic.buses)
    try:
        write = _write_candump if out.suffix == ".log" else _write_objects
        done_ns = write(traffic, out, duration_ns, counts, go_on)
        with truth_path(out).open("wb") as file:
            file.writelines(vehicle_truth(traffic, 0, done_ns, counts))
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or 'cannot be written'}") from None
    return counts


def _write_candump(
    traffic: Traffic,
    out: Path,
    duration_ns: int,
    counts: FrameCount,
    go_on: Callable[[int], bool],
) -> int:
    done_ns = 0
    with out.open("wb") as file:
        for begin, end in traffic.slices(0, duration_ns):
            frames = traffic.frames(begin, end)
            counts.add(frames)
            file.write(encode_candump(frames, traffic.buses))
            done_ns = end
            if not go_on(end):
                break
    return done_ns


def _write_objects(
    traffic: Traffic,
    out: Path,
    duration_ns: int,
    counts: FrameCount,
    go_on: Callable[[int], bool],
) -> int:
    done_ns = 0
    writer = can.BLFWriter(out) if out.suffix == ".blf" else can.ASCWriter(out)
    try:
        for begin, end in traffic.slices(0, duration_ns):
            frames = traffic.frames(begin, end)
            counts.add(frames)
            for message in messages(frames):
                writer.on_message_received(message)
            done_ns = end
            if not go_on(end):
                break
    finally:
        writer.stop()
    return done_ns
