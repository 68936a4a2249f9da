"""Two processes change the enrolment folder: one after the other, and one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.adapters import enrolment_changes
from agent.adapters.enrolment import Enrolments, Standing
from agent.adapters.enrolment_changes import changing
from agent.main import run as sluicegate
from protocols.enrolment import decode_answer
from tests.support.enrolling import PATIENCE_S, ROOT, Enrolling

if TYPE_CHECKING:
    from pathlib import Path

# holds before a step until a line comes, and says so; says so where it waits for others
CHILD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from agent.adapters import files
from agent.adapters.enrolment import Enrolments
from agent.adapters.enrolment_changes import Changes, changing
from agent.main import run

def waits(seconds):
    print("waits", flush=True)
    time.sleep(seconds)


files.time = SimpleNamespace(monotonic=time.monotonic, sleep=waits)
step, *words = sys.argv[1:]
if step:
    really = getattr(Changes, step)

    def held(*given):
        print("held", flush=True)
        sys.stdin.readline()
        return really(*given)

    setattr(Changes, step, held)
if words[0] == "prove":
    with changing(Enrolments(Path(words[1]))) as folder:
        folder.prove(words[2])
    sys.exit(0)
sys.exit(run(words))
"""


class Child:
    """One process that changes the folder; held before ``step`` where one is named."""

    def __init__(self, step: str, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, step, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if step:
            self.says("held")

    def says(self, word: str) -> None:
        """Wait for a line."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def end(self) -> int:
        """Let it go on; return its exit code."""
        self.process.communicate("\n", PATIENCE_S)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def place(tmp_path: Path) -> Enrolling:
    """One enrolment that no broker has taken yet."""
    found = Enrolling(tmp_path)
    found.enrol(8883)
    return found


def install_words(place: Enrolling) -> list[str]:
    answer = place.answer(place.begin(), 8884)
    digits = decode_answer(answer.read_bytes()).fingerprint()
    return [
        "provision", "install", str(answer), "-c", str(place.config),
        "--fingerprint", digits,
    ]  # fmt: skip


def check(place: Enrolling, standing: Standing, *folders: str) -> None:
    """Nothing but what is named is there, and every one of it is whole."""
    found = Enrolments(place.state)
    assert found.standing() == standing
    names = {one.name for one in place.enrolment.iterdir() if one.name.isdecimal()}
    assert names == {*folders}
    for name in names:
        one = found.installed(name)
        assert one.key_file.exists()
        assert one.cert_file.exists()


@pytest.mark.parametrize("killed", [False, True])
def test_a_new_one_waits_for_the_proof_of_the_former(
    place: Enrolling, *, killed: bool
) -> None:
    words = install_words(place)
    proving = Child("_stand", "prove", str(place.state), "0001")
    installing = Child("", *words)
    installing.says("waits")
    if killed:
        proving.kill()
    else:
        assert proving.end() == 0
    assert installing.end() == 0
    check(place, Standing(current="0002", former="0001"), "0001", "0002")
    assert not (place.enrolment / "pending").exists()


@pytest.mark.parametrize("killed", [False, True])
def test_the_proof_of_the_former_takes_no_new_one_away(
    place: Enrolling, *, killed: bool
) -> None:
    words = install_words(place)
    installing = Child("_put", *words)  # whole in its folder, and not counted
    proving = Child("", "prove", str(place.state), "0001")
    proving.says("waits")
    if killed:
        installing.kill()
        assert proving.end() == 0
        check(place, Standing(current="0001", proved=True), "0001", "0002")
        assert sluicegate(words) == 0  # the same words again bring it to its end
    else:
        assert installing.end() == 0
        assert proving.end() == 0
    check(place, Standing(current="0002", former="0001"), "0001", "0002")


def test_a_proof_that_was_cut_short_is_brought_to_its_end(place: Enrolling) -> None:
    place.enrol(8884)
    proving = Child("_names", "prove", str(place.state), "0002")
    proving.kill()
    with changing(Enrolments(place.state)) as folder:
        folder.prove("0002")
    check(place, Standing(current="0002", proved=True), "0002")


def test_one_that_holds_on_is_told_in_one_line(
    place: Enrolling,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = install_words(place)
    monkeypatch.setattr(enrolment_changes, "PATIENCE_S", 0.0)
    with changing(Enrolments(place.state)):
        assert sluicegate(words) == 1
    assert "enrolment: another process is changing it" in capsys.readouterr().err
    assert sluicegate(words) == 0
