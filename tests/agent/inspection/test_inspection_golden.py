"""Events about CAN stay as they were before findings learned of Modbus."""

from __future__ import annotations

from pathlib import Path

from tests.support.can_golden import can_events

GOLDEN = Path(__file__).with_name("can-events.jsonl")


def test_events_about_can_are_the_same_byte_for_byte() -> None:
    assert b"".join(one + b"\n" for one in can_events()) == GOLDEN.read_bytes()
