"""A pass that a change of policy cuts short: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from agent.records import Arrival, Commit
from agent.runtime import Agent


class Scene:
    """A runtime whose stages only remember; the policy changes after some batches."""

    def __init__(self, after: set[int]) -> None:
        self.after = after
        self.seen: list[tuple[str, int]] = []
        self.policy = "old"
        self.waiting = False
        agent = self.agent = object.__new__(Agent)
        consenting = SimpleNamespace(
            consents=None, remembered=self.remembered, settle=self.nothing,
            declare=lambda _: None,
        )  # fmt: skip
        nobody = SimpleNamespace(problems=tuple)
        agent.__dict__ |= {
            "_parts": SimpleNamespace(consenting=consenting, outside=nobody),
            "_watch": SimpleNamespace(ok=True, dated=lambda commit: commit),
            "_desk": SimpleNamespace(
                keeper=SimpleNamespace(keep=self.keep), eve=None,
                losses=SimpleNamespace(grown=tuple),
                clock=SimpleNamespace(now_ns=lambda: 0),
            ),
            "_steering": self, "_flow": self, "_left": [], "_ended": False,
        }  # fmt: skip
        self.commits = 0

    def process(self, arrival: Arrival, **_: Any) -> Commit:
        self.seen.append((self.policy, arrival.now_ns))
        self.waiting = self.waiting or arrival.now_ns in self.after
        return Commit()

    async def keep(self, _: Commit) -> None:
        self.commits += 1

    async def remembered(self, commit: Commit) -> Commit:
        return commit

    async def nothing(self) -> None:
        pass

    def passed(self, arrivals: list[Arrival]) -> None:
        asyncio.run(self.agent._pass(arrivals))


def test_what_is_left_of_a_pass_is_the_new_policys() -> None:
    scene = Scene(after={2})
    scene.passed([Arrival(number) for number in range(5)])
    assert scene.seen == [("old", 0), ("old", 1), ("old", 2)]
    assert scene.commits == 1  # what was processed is durable before the change
    assert [one.now_ns for one in scene.agent._left] == [3, 4]
    scene.policy, scene.waiting = "new", False
    scene.passed(scene.agent._left)
    assert scene.seen[3:] == [("new", 3), ("new", 4)]
    assert scene.agent._left == []


def test_the_last_passes_are_not_cut() -> None:
    scene = Scene(after={0})
    scene.agent.__dict__["_ended"] = True
    scene.passed([Arrival(number) for number in range(3)])
    assert len(scene.seen) == 3
    assert scene.agent._left == []
