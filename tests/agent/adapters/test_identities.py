"""What makes a device itself is made once, or told in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.adapters.identities import master_of
from agent.adapters.policy.loader import Paths
from agent.config import parse_config
from agent.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path


def test_the_master_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "gw.toml")
    config = parse_config(b'device = "gw-1"\nfleet = "n"\nstate_dir = "state"\n', file)
    paths = Paths(file, config)
    with pytest.raises(Unavailable, match=r"^pseudonyms: pseudonym.key: No such file"):
        master_of(paths)  # no folder
    (tmp_path / "state").mkdir()
    master = master_of(paths)
    assert (len(master), master_of(paths)) == (32, master)
    monkeypatch.setattr("pathlib.Path.exists", lambda _: False)  # looked too early
    assert master_of(paths) == master
    assert [one.name for one in (tmp_path / "state").iterdir()] == ["pseudonym.key"]
