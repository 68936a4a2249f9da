"""Tables: colours on a terminal only, and not for who wants none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from agent.commands.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = [["good", "clock"], ["bad", "disk"]]
GREEN = "\x1b[32mgood\x1b[0m"


@pytest.fixture
def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[bool], str]:
    def run(on_terminal: bool) -> str:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
        print_table((), ROWS, {"good": 32})
        return capsys.readouterr().out

    return run


def test_a_terminal_is_given_colours_and_a_pipe_none(
    printed: Callable[[bool], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert GREEN in printed(True)
    assert printed(False).splitlines() == ["good  clock", "bad   disk"]


def test_no_color_takes_them_off(
    printed: Callable[[bool], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(True)
    monkeypatch.setenv("NO_COLOR", "")  # as if it were not set: no-color.org
    assert GREEN in printed(True)
