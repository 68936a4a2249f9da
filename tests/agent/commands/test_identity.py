"""`sluicegate identity`: the key is made once."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from agent.adapters.device_key import load_or_create
from agent.main import run
from tests.support.broker import free_port
from tests.support.doctor_house import House

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_identity_is_made_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path, free_port())
    command = ["identity", "-c", str(house.config)]
    assert run(command) == 0
    device, key = capfd.readouterr().out.split()
    assert (device, len(base64.b64decode(key))) == ("gw-1", 32)
    assert run(command) == 0
    assert capfd.readouterr().out.split() == [device, key]
    stored = load_or_create(house.state / "device.key", "gw-1")
    assert base64.b64decode(key) == stored.public_key()
