"""Whether the clock is kept: the kernel's word, or a helper's where that is hidden."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from agent.adapters.timekeeping import (
    ANSWERS_SAME,
    ASK_AGAIN_S,
    ASK_SELDOM_S,
    BELIEVED_S,
    KEPT,
    NOT_KEPT,
    STEP_S,
    Timekeeping,
    ask,
    kernel_says,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("said", [True, False])
def test_the_kernel_is_asked_first(said: bool) -> None:
    assert Timekeeping(lambda: said, helper=lambda: not said).is_kept() is said


class Asked:
    """A helper that answers what the test says, and a clock that the test moves."""

    def __init__(self, *answers: bool) -> None:
        self.answers = [*answers]
        self.at: list[float] = []  # when it was asked
        self.now_s = self.ahead_s = 0.0
        self.timekeeping = Timekeeping(
            lambda: None, self._helper, lambda: self.now_s,
            lambda: self.now_s + self.ahead_s,
        )  # fmt: skip

    def _helper(self) -> bool:
        self.at.append(self.now_s)
        return self.answers.pop(0) if self.answers else False

    def look(self) -> bool:
        """Look once, wait until who is asked has answered, and look again."""
        self.timekeeping.is_kept()
        asking = self.timekeeping._asking
        assert asking is not None
        asking.join()
        return self.timekeeping.is_kept()


def test_the_helper_is_asked_beside_and_its_answer_gets_old() -> None:
    asked = Asked(False, True, False)
    assert not asked.timekeeping.is_kept()  # nobody waits for the first answer
    assert not asked.look()
    asked.now_s = ASK_AGAIN_S
    assert asked.look()
    asked.now_s = 2 * ASK_AGAIN_S  # a good one is believed longer
    assert asked.look()
    asked.now_s = ASK_AGAIN_S + BELIEVED_S
    assert not asked.look()
    assert asked.at == [0.0, ASK_AGAIN_S, ASK_AGAIN_S + BELIEVED_S]


def test_who_hears_the_same_again_and_again_asks_seldom() -> None:
    asked = Asked()
    for second in range(3600):
        asked.now_s = float(second)
        asked.look()
    last_often = (ANSWERS_SAME - 1) * ASK_AGAIN_S
    assert asked.at[:ANSWERS_SAME] == [n * ASK_AGAIN_S for n in range(ANSWERS_SAME)]
    assert asked.at[ANSWERS_SAME] == last_often + ASK_SELDOM_S
    assert len(asked.at) == 16  # an hour; 120 otherwise


@pytest.mark.parametrize("ahead_s", [STEP_S + 1, -86_400.0])
def test_a_step_of_the_clock_has_it_ask_often_again(ahead_s: float) -> None:
    asked = Asked()
    for second in range(600):
        asked.now_s = float(second)
        asked.look()
    seldom = len(asked.at)
    asked.ahead_s = ahead_s
    asked.look()
    assert asked.at[seldom:] == [599.0]
    for second in range(600, 600 + int(2 * ASK_AGAIN_S)):
        asked.now_s = float(second)
        asked.look()
    assert asked.at[seldom:] == [599.0, 599.0 + ASK_AGAIN_S, 599.0 + 2 * ASK_AGAIN_S]


def test_a_clock_that_steps_all_the_time_is_asked_about_no_more_often() -> None:
    asked = Asked()
    for second in range(61):
        asked.now_s, asked.ahead_s = float(second), 10.0 * second
        asked.look()
    assert asked.at == [0.0, ASK_AGAIN_S, 2 * ASK_AGAIN_S]


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


def test_an_asker_that_has_gone_is_no_failure_of_the_helper() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        done = subprocess.run(
            [sys.executable, "-m", "agent.main", "clock"],
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
