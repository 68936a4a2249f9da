"""Whether the clock is kept: the kernel's word, or a helper's where that is hidden."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from agent.adapters.timekeeping import (
    ASK_AGAIN_S,
    KEPT,
    NOT_KEPT,
    Timekeeping,
    ask,
    kernel_says,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("said", [True, False])
def test_the_kernel_is_asked_first(said: bool) -> None:
    assert Timekeeping(lambda: said, helper=lambda: not said).is_kept() is said


def test_the_helper_is_asked_beside_and_its_answer_gets_old() -> None:
    answers, now, asked = [False, True, False], [0.0], []

    def helper() -> bool:
        asked.append(now[0])
        return answers[len(asked) - 1]

    timekeeping = Timekeeping(lambda: None, helper, lambda: now[0])

    def answered() -> bool:
        timekeeping.is_kept()
        assert timekeeping._asking is not None
        timekeeping._asking.join()
        return timekeeping.is_kept()

    assert not timekeeping.is_kept()  # nobody waits for the first answer
    assert not answered()
    now[0] = ASK_AGAIN_S
    assert answered()
    now[0] = 2 * ASK_AGAIN_S  # a good one is believed longer
    assert answered()
    now[0] = 5 * ASK_AGAIN_S
    assert not answered()
    assert asked == [0.0, ASK_AGAIN_S, 5 * ASK_AGAIN_S]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (KEPT, True),
        (NOT_KEPT, False),
        (b"", False),
        (b"kept", False),
        (b"k" * 99, False),
    ],
)
def test_an_answer_is_one_line_and_nothing_else(
    tmp_path: Path, said: bytes, kept: bool
) -> None:
    path = str(tmp_path / "clock.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask(path) is kept
        thread.join()


def test_no_helper_is_no_kept_clock(tmp_path: Path) -> None:
    assert not ask(str(tmp_path / "none.sock"))


def test_the_helper_is_a_command_and_says_what_the_kernel_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.main", "clock"], capture_output=True, check=True
    )
    assert done.stdout == (KEPT if kernel_says() else NOT_KEPT)
