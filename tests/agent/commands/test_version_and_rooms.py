"""What `sluicegate` says where it is asked for its version, or lacks the other side."""

from __future__ import annotations

import importlib.util

import pytest

from agent import VERSION
from agent.commands.demo import play
from agent.errors import Unavailable
from agent.main import run


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"sluicegate {VERSION}\n"


def test_the_demo_says_in_one_line_that_a_gateway_cannot_play_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="operator's side is not installed"):
        play(None, 1.0, is_terminal=False)
