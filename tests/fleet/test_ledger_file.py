"""The ledger's file: what was opened lies in it, so nobody else may read it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from fleet.errors import BadInput
from fleet.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_ledger_and_its_log_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        ledger = Ledger(tmp_path / "ledger.db")
    finally:
        os.umask(before)
    files = sorted(tmp_path.iterdir())
    assert [file.name.removeprefix("ledger.db") for file in files] == [
        "",
        "-shm",
        "-wal",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    ledger.close()


def test_a_mode_that_its_owner_chose_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    path.chmod(0o640)
    Ledger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_that_is_none_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be used"):
        Ledger(tmp_path / "none" / "ledger.db")
