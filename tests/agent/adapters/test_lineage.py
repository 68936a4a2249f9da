"""Twins of a live sealer: no key and nonce is used by both, where there is a sign."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.adapters import lineage as module
from agent.adapters.lineage import VM_GENERATION, Lineage

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000

TWINS = """
import os, pickle, secrets, sys
from agent.adapters.lineage import Lineage
from agent.protection.sealer import Sealer
from tests.support.sealing import *
oem = keys("oem-2026", 10)
cards = {"oem-2026": oem.card(), "keeper": keys("keeper", 20).card()}
rules = policy()
told = Lineage() if sys.argv[1] == "told" else lambda: 0
one = Sealer(rules, Device(), secrets.token_bytes, bytes(16), cards, told)
def seal(*values):
    made = one.seal(
        rules.destinations[0], bundle(rules, [numbers(SPEED, values)]), NOW_NS
    )
    return [(r.epoch, r.sequence, r.body) for r in made.records]
before = seal(1, 2)
ours, theirs = os.pipe()
if os.fork() == 0:
    os.close(ours)
    os.write(theirs, pickle.dumps([*seal(3, 4), *seal(5, 6)]))
    os._exit(0)
os.close(theirs)
parent = [*before, *seal(7, 8), *seal(9, 10)]
with open(ours, "rb") as child:
    sys.stdout.buffer.write(pickle.dumps((parent, pickle.load(child))))
os.wait()
"""


def twins(root: Path, told: str) -> tuple[set[object], set[object], int]:
    """Return (epoch, sequence) of the batches of a parent and of its child."""
    done = subprocess.run(
        [sys.executable, "-c", TWINS, told], cwd=root, capture_output=True, check=True
    )
    parent, child = pickle.loads(done.stdout)
    keys = sum(1 for _, sequence, _ in child if sequence == 0)
    both = [{(e, s) for e, s, _ in one if s} for one in (parent, child)]
    return both[0], both[1], keys


def test_a_forked_sealer_uses_no_nonce_of_its_parent(root: Path) -> None:
    parent, child, announced = twins(root, "told")
    assert len(parent) == 3
    assert len(child) == 2
    assert announced == 1  # new keys, told before the first batch
    assert not parent & child


def test_without_the_look_a_forked_sealer_would(root: Path) -> None:
    """The control: this is what the look prevents, and what the test above sees."""
    parent, child, announced = twins(root, "untold")
    assert announced == 0
    assert child <= parent | child
    assert len(parent & child) == 2


class Clocks:
    def __init__(self) -> None:
        self.wall, self.boot, self.awake = 1_000 * SECOND, 10 * SECOND, 10 * SECOND

    def __call__(self) -> tuple[int, int, int]:
        return self.wall, self.boot, self.awake

    def run(self, ns: int) -> None:
        self.wall, self.boot, self.awake = (
            self.wall + ns, self.boot + ns, self.awake + ns,
        )  # fmt: skip


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def one(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> Lineage:
    """Return a lineage that hears this test and not this machine's kernel."""
    monkeypatch.setattr(module, "_kernel_events", lambda: None)
    return Lineage(clocks)


def test_time_that_passes_changes_nothing(one: Lineage, clocks: Clocks) -> None:
    before = one()
    for ns in (1, SECOND, 86_400 * SECOND):
        clocks.run(ns)
        clocks.wall += SECOND // 10  # slewed
        assert one() == before
    assert not one.causes


@pytest.mark.parametrize("step", [2 * SECOND, -2 * SECOND, 86_400 * SECOND])
def test_a_step_of_the_wall_clock_is_a_sign(
    one: Lineage, clocks: Clocks, step: int
) -> None:
    """A snapshot goes on with its old time until somebody sets the clock."""
    before = one()
    clocks.wall += step
    after = one()
    assert after != before
    assert one() == after
    assert one.causes == {"clock step": 1}


def test_a_suspend_is_a_sign(one: Lineage, clocks: Clocks) -> None:
    """What was written to a disk to sleep can be woken up twice."""
    before = one()
    clocks.run(SECOND)
    clocks.wall += 60 * SECOND
    clocks.boot += 60 * SECOND
    assert one() != before
    assert one.causes == {"suspend": 1}


class Events:
    """What the kernel sends, where no machine with a generation is at hand."""

    def __init__(self, *said: tuple[bytes, int] | OSError) -> None:
        self.said = list(said)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        if not self.said:
            raise BlockingIOError
        one = self.said.pop(0)
        if isinstance(one, OSError):
            raise one
        return one[0], (one[1], 1)


UEVENT = b"change@/devices/vmgenid\0ACTION=change" + VM_GENERATION + b"SEQNUM=9\0"
OTHER = b"add@/devices/virtual/net/can0\0ACTION=add\0SUBSYSTEM=net\0SEQNUM=8\0"


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ((UEVENT, 0), True),
        ((OTHER, 0), False),
        ((UEVENT, 4711), False),  # not the kernel
        (OSError(105, "No buffer space available"), True),  # it may have been among
    ],
)
def test_the_kernels_word_is_a_sign(
    one: Lineage, said: tuple[bytes, int] | OSError, changes: bool
) -> None:
    before = one()
    one._events = Events((OTHER, 0), said)  # type: ignore[assignment]  # a double
    assert (one() != before) is changes
    assert one.causes == ({"machine generation": 1} if changes else {})


def test_other_events_of_the_kernel_in_any_number_change_nothing(one: Lineage) -> None:
    before = one()
    one._events = Events(*[(OTHER, 0)] * 1_000)  # type: ignore[list-item,assignment]  # a double
    assert {one() for _ in range(20)} == {before}


def test_the_kernels_events_are_a_socket_that_does_not_block() -> None:
    events = module._kernel_events()
    if events is None:
        pytest.skip("this sandbox gives no AF_NETLINK")
    with events:
        assert events.family == socket.AF_NETLINK
        assert not events.getblocking()
        assert events.getsockname()[1] == 1


def test_a_process_id_alone_is_enough(
    one: Lineage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = one()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    after = one()
    assert after != before
    assert one() == after
    assert one.causes == {"fork": 1}
