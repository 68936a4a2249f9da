"""Power cuts at every step of an activation: the old policy or the new, never a mix.

Every call that writes to the disk fails once as if it had not happened and once as if
it had happened and said that it had not; the process dies there, or goes on as it may
(an fsync that failed is Fatal). Then it starts again, and the path must lead on.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgpack
import pytest

from agent.activation import State, decode_standing
from agent.adapters.policy import shelf as policy_shelf
from agent.adapters.policy.loader import accept, accept_signed
from agent.control import permitted
from agent.errors import Fatal
from agent.records import Commit
from agent.store.documents import STANDING, opened
from tests.support.policy_bench import BATTERY, EVENTS, PolicyBench
from tests.support.store_cases import spool_record

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.policy.loader import Paths
    from agent.control import Accepted
    from policies.trust import SignedPolicy

WRITES = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")
OLD, NEW = 2, 3


class Cut(Exception):
    """The power is gone."""


class Disk:
    """Stands before the real connection; its ``fail_at``-th write goes wrong once."""

    def __init__(
        self, real: sqlite3.Connection, fail_at: int, *, applied: bool, cut: bool
    ) -> None:
        self._real = real
        self._fail_at, self._applied, self._cut = fail_at, applied, cut
        self.writes = 0
        self.failed = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def execute(self, query: str, *values: object) -> object:
        return self._called(self._real.execute, query, *values)

    def executemany(self, query: str, *values: object) -> object:
        return self._called(self._real.executemany, query, *values)

    def _called(self, call: object, query: str, *values: object) -> object:
        assert callable(call)
        if not query.startswith(WRITES):
            return call(query, *values)
        self.writes += 1
        if self.writes != self._fail_at:
            return call(query, *values)
        self.failed = query
        if self._applied:
            call(query, *values)
        if self._cut:
            raise Cut(query)
        error = sqlite3.OperationalError("disk I/O error")
        is_fsync = query == "COMMIT"
        error.sqlite_errorcode = (
            sqlite3.SQLITE_IOERR_FSYNC if is_fsync else sqlite3.SQLITE_IOERR_WRITE
        )
        raise error


@dataclass
class Scene:
    """A device with policy 2 confirmed, something spooled, and the next bundle."""

    folder: Path
    bench: PolicyBench
    message: bytes
    breaks: bool  # the new policy breaks a limit on trial

    def again(self, folder: Path) -> PolicyBench:
        """Return the same device on a fresh copy of its disk."""
        shutil.copytree(self.folder, folder)
        bench = PolicyBench(folder, self.bench.fleet)
        bench._cache = self.bench._cache
        bench.clock.wall_ns = self.bench.clock.wall_ns
        return bench


@pytest.fixture(autouse=True)
def _compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same texts are compiled hundreds of times; once is enough."""
    cache: dict[bytes, Accepted] = {}

    def local(paths: Paths) -> Accepted:
        if b"" not in cache:
            cache[b""] = accept(paths)
        return cache[b""]

    def signed(paths: Paths, policy: SignedPolicy) -> Accepted:
        if policy.text not in cache:
            cache[policy.text] = accept_signed(paths, policy)
        return cache[policy.text]

    monkeypatch.setattr(policy_shelf, "accept", local)
    monkeypatch.setattr(policy_shelf, "accept_signed", signed)


def scene(folder: Path, *, breaks: bool) -> Scene:
    folder.mkdir()
    bench = PolicyBench(folder)

    async def story() -> None:
        async with bench.running():
            await bench.push(OLD, BATTERY + EVENTS, terms={"trial_s": 1})
            await bench.pass_time(2)
            assert bench.last.state == "active"
            policy = bench.now.accepted.compiled.policy
            labels = sorted({label for _, label in permitted(policy)})
            records = tuple(
                spool_record(number, label=label, epoch=bytes([label % 251] * 16))
                for label in labels
                for number in range(1, 4)
            )
            bench.store.commit(Commit(records=records))
            assert len(labels) == 2

    asyncio.run(story())
    terms = {"trial_s": 3, "uplink_s": 1}
    message = bench.message(NEW, EVENTS, terms=terms)
    return Scene(folder, bench, message, breaks)


async def activation(bench: PolicyBench, scene: Scene) -> None:
    """From the bundle to the end of its trial."""
    await bench.send(scene.message)
    bench.uplink.online = not scene.breaks
    await bench.pass_time(4)


def check(bench: PolicyBench, before: bytes | None) -> None:
    """What a start finds is one story: documents, evidence and who decides."""
    name, version = bench.deciding
    assert name == "pushed"
    assert version in {OLD, NEW}
    assert bench.now.confirmed is not None
    standing = bench.recorder.standing
    if standing.state is State.TRIAL:
        assert version == NEW
        assert bench.now.confirmed.compiled.policy.version == OLD
    elif standing.version == NEW:
        assert (version == NEW) == (standing.state is State.ACTIVE), standing
    if before is not None:
        told = decode_standing(opened(STANDING, before))
        entry = bench.store.evidence_since(told.evidence_index, 1)[0]
        assert msgpack.unpackb(entry)["step"] == told.state.value


async def one_fault(
    scene: Scene, bench: PolicyBench, fail_at: int, *, applied: bool, cut: bool
) -> str:
    """Run to the fault, start again, check, and let the path lead on."""
    failed = ""
    try:
        async with bench.running():
            disk = Disk(bench.store._connection.raw, fail_at, applied=applied, cut=cut)
            bench.store._connection.raw = cast("sqlite3.Connection", disk)
            await activation(bench, scene)
            failed = disk.failed
            bench.store._connection.raw = disk._real
    except (Cut, Fatal, ExceptionGroup):
        failed = disk.failed
        assert failed
        bench.store._connection.raw = disk._real
        bench.store.close()
    if not failed:
        return ""
    async with bench.running():
        check(bench, bench.before)
        bench.uplink.online = True
        await bench.send(scene.message)
        bench.uplink.online = not scene.breaks
        await bench.pass_time(5)
        wanted = OLD if scene.breaks else NEW
        assert bench.deciding == ("pushed", wanted), (failed, bench.steps())
        state = "reverted" if scene.breaks else "active"
        assert bench.last.state == state, (failed, bench.steps())
        places = {label for _, label in bench.store.spooled_places()}
        assert len(places) == (2 if scene.breaks else 1), failed
        queued = bench.store.next_to_send(100, 100)
        assert len(queued) == (6 if scene.breaks else 3), failed
    return failed


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [False, True], ids=["confirmed", "reverted"])
@pytest.mark.parametrize("applied", [False, True], ids=["lost", "done-but-error"])
@pytest.mark.parametrize("cut", [False, True], ids=["error", "cut"])
def test_every_disk_call_of_an_activation_may_fail(
    tmp_path: Path, breaks: bool, applied: bool, cut: bool
) -> None:
    first = scene(tmp_path / "first", breaks=breaks)
    seen: list[str] = []
    for fail_at in range(1, 500):
        bench = first.again(tmp_path / str(fail_at))
        failed = asyncio.run(one_fault(first, bench, fail_at, applied=applied, cut=cut))
        shutil.rmtree(tmp_path / str(fail_at))
        if not failed:
            break
        seen.append(failed)
    assert seen.count("COMMIT") >= 5
    assert len(seen) > 30
