"""The owner's files: a pipe, a device, a name that is none; whose mode is looked at."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.adapters import files
from agent.adapters.device_key import load_or_create
from agent.adapters.files import read_limited, read_secret
from agent.errors import BadInput, Unavailable
from fleet import files as fleet_files
from fleet.errors import BadInput as FleetBadInput
from fleet.keys import load as load_keys
from policies.errors import PolicyError
from policies.files import load as load_policy

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: dict[str, Callable[[Path], object]] = {
    "agent": lambda path: read_limited(path, 100),
    "secret": lambda path: read_secret(path, 100),
    "fleet": lambda path: fleet_files.read_limited(path, 100),
    "keys": load_keys,
    "policy": load_policy,
    "floor": lambda path: load_policy(None, floor=path),
    "bindings": lambda path: load_policy(None, [path]),
}
REFUSALS = (BadInput, FleetBadInput, PolicyError)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_that_nobody_writes_to_holds_nobody_up(
    tmp_path: Path, reader: str
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    with pytest.raises(REFUSALS, match="no regular file"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_a_device_is_no_file(reader: str) -> None:
    with pytest.raises(REFUSALS, match="no regular file"):
        READERS[reader](Path("/dev/zero"))


@pytest.mark.parametrize("reader", [name for name in READERS if name != "keys"])
def test_a_name_with_a_zero_byte_is_no_name(tmp_path: Path, reader: str) -> None:
    with pytest.raises(REFUSALS, match="no name of a file"):
        READERS[reader](tmp_path / "a\0b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o001])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"s")
    path.chmod(0o600)
    assert read_secret(path, 1) == b"s"
    path.chmod(mode)
    with pytest.raises(BadInput, match="others may read"):
        read_secret(path, 1)


def test_who_holds_the_folders_lock_holds_up_no_start_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.05)
    place = tmp_path / "device.key"
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another process locks its folder"):
            load_or_create(place, "gw")
        assert not place.exists()
    finally:
        os.close(folder)
    assert load_or_create(place, "gw").device == "gw"
