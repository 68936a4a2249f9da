"""Between the consents file, the flow and the store: what is read, what is durable."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import msgspec
import pytest

from agent.adapters import consenting as module
from agent.adapters.clock import SystemClock
from agent.adapters.consenting import Consenting
from agent.adapters.outside import Now
from agent.consent_file import Statement, format_consents
from agent.control import Accepted
from agent.errors import Fatal
from agent.records import Commit
from tests.agent.adapters.test_keeper import Bench
from tests.policies.building import consent_of, policy_of
from tests.reference.whole_path_flow import compiled_of
from tests.support.store_cases import spool_record

if TYPE_CHECKING:
    from pathlib import Path

CONSENTS = {"track": consent_of("location"), "cabin": consent_of("cabin")}
COMPILED = compiled_of(policy_of(consents=CONSENTS))


class Ahead(SystemClock):
    """A clock whose monotonic time is put forward."""

    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


class Case:
    """A consenting on a real store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bench = Bench(folder)
        self.clock = Ahead()
        self.now = Now(Accepted(COMPILED, {}, "active"))
        self.consenting = Consenting(
            folder, self.bench.keeper, self.bench.evidence, self.clock, self.now
        )

    def write(self, *names: str, number: int = 1) -> None:
        given = self.clock.now_ns() // 10**9
        statements = tuple(
            Statement(name=name, id=f"{number + n:032x}", given=given,
                      expires=given + 86_400)
            for n, name in enumerate(names)
        )  # fmt: skip
        fresh = self.folder / "consents.new"
        fresh.write_bytes(format_consents(statements))
        fresh.replace(self.folder / "consents.json")

    def begin(self) -> None:
        asyncio.run(self.consenting.begin(clock_ok=True))

    def look(self) -> bool:
        """Look at the file, judge, settle; tell whether there was something new."""
        found = self.consenting.look()
        consents, clock = self.consenting.consents, self.clock
        consents.look(clock.now_ns(), clock_ok=True)
        asyncio.run(self.consenting.settle())
        return found

    def spool(self, epoch: bytes, consent: str) -> None:
        records = (
            replace(spool_record(0, kind="key", epoch=epoch), consent=consent),
            spool_record(1, epoch=epoch),
        )

        async def keep() -> None:
            commit = await self.consenting.remembered(Commit(records))
            await self.bench.keeper.keep(commit)

        asyncio.run(keep())

    def changes(self) -> list[tuple[str, str, str]]:
        entries = map(msgpack.unpackb, self.bench.store.evidence_since(0, 999))
        return [
            (e["consent"], e["state"], e["cause"])
            for e in entries
            if e["type"] == "consent.state"
        ]

    def spooled(self) -> set[bytes]:
        return {q.record.epoch for q in self.bench.store.next_to_send(99, 99)}


@pytest.fixture
def case(tmp_path: Path) -> Any:
    one = Case(tmp_path)
    yield one
    one.bench.store.close()


def epoch(number: int) -> bytes:
    return bytes([number]) * 16


def test_a_withdrawal_destroys_its_epochs_and_no_others(case: Case) -> None:
    case.begin()
    case.write("track", "cabin")
    assert case.look()
    assert not case.look()
    for number, consent in enumerate(("track", "cabin", "", "track")):
        case.spool(epoch(number), consent)
    case.write("cabin", number=2)
    assert case.look()
    assert case.spooled() == {epoch(1), epoch(2)}
    assert case.changes() == [
        ("track", "on", "given"), ("cabin", "on", "given"),
        ("track", "off", "withdrawn"),
    ]  # fmt: skip
    kinds = [msgpack.unpackb(e)["type"] for e in case.bench.store.evidence_since(0, 99)]
    assert kinds.count("destroy.rec") == 2  # one an epoch
    assert case.bench.numbers() == list(range(len(kinds)))


def test_the_power_fails_between_destroying_and_recording(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.begin()
    case.write("track")
    case.look()
    case.spool(epoch(1), "track")
    (tmp_path / "consents.json").unlink()

    async def cut(*_: object) -> int:
        raise Fatal("cut")

    monkeypatch.setattr(case.bench.keeper, "record", cut)
    with pytest.raises(Fatal):
        case.look()
    assert case.spooled() == set()
    assert case.changes() == [("track", "on", "given")]
    case.bench.store.close()
    after = Case(tmp_path)
    after.begin()
    assert after.changes() == [
        ("track", "on", "given"),
        ("track", "off", "a new ignition cycle began"),
        ("track", "off", "withdrawn"),
    ]
    case.bench.store = after.bench.store  # closed by the fixture


def test_what_the_run_before_released_is_destroyed_by_the_next(
    case: Case, tmp_path: Path
) -> None:
    case.begin()
    case.write("track")
    case.look()
    case.spool(epoch(1), "track")
    case.spool(epoch(2), "")
    case.bench.store.close()
    after = Case(tmp_path)
    after.begin()
    assert after.spooled() == {epoch(1), epoch(2)}  # a cycle ends the collecting only
    (tmp_path / "consents.json").unlink()
    after.look()
    assert after.spooled() == {epoch(2)}
    case.bench.store = after.bench.store


@pytest.mark.parametrize("how", ["folder", "pipe", "loop", "large", "cut"])
def test_a_file_that_is_none_gives_no_consent(
    case: Case, tmp_path: Path, how: str
) -> None:
    case.begin()
    case.write("track")
    case.look()
    assert case.consenting.consents.holding
    file = tmp_path / "consents.json"
    good = file.read_bytes()
    file.unlink()
    match how:
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "loop":
            file.symlink_to(file)
        case "large":
            file.write_bytes(good + b" " * 70_000)
        case _:
            file.write_bytes(good[:30])
    assert case.look()
    assert not case.consenting.consents.holding
    assert case.now.troubles["consents"].startswith("consents.json: ")
    assert str(tmp_path) not in case.now.troubles["consents"]
    file.rmdir() if how == "folder" else file.unlink()
    file.write_bytes(good)
    assert case.look()
    assert case.consenting.consents.holding
    assert "consents" not in case.now.troubles


def test_epochs_that_were_sent_are_forgotten(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EPOCHS_LOOKED_MAX", 3)
    case.begin()
    case.write("track")
    case.look()
    for number in range(3):
        case.spool(epoch(number), "track")
    case.bench.store.confirm(epoch(0), range(2))
    case.spool(epoch(3), "track")
    kept = case.bench.store.document("consent epochs")
    assert kept is not None
    assert sorted(msgspec.msgpack.decode(kept, type=dict[bytes, str])) == [
        epoch(1), epoch(2), epoch(3),
    ]  # fmt: skip


def test_a_file_that_changes_without_end_floods_no_evidence(case: Case) -> None:
    case.begin()
    for number in range(100):
        case.write("track", number=2 * number)
        case.look()
        (case.folder / "consents.json").unlink()
        case.look()
    assert len(case.changes()) <= module.CHANGES_MAX
    case.write("track", "cabin", number=999)
    case.look()
    assert not case.consenting.consents.holding
    assert case.now.troubles["consents"] == "consents.json: changes too often"
    case.clock.ahead_ns += 10 * module.CHANGE_NS
    assert case.look()  # it was not forgotten
    assert sorted(case.consenting.consents.holding) == ["cabin", "track"]
    assert "consents" not in case.now.troubles


def test_what_is_gone_is_gone_however_often_the_file_changed(case: Case) -> None:
    case.begin()
    for number in range(2 * module.CHANGES_MAX):
        case.write("track", "cabin", number=2 * number)
        case.look()
    case.clock.ahead_ns += module.CHANGE_NS
    case.write("track", "cabin", number=7000)
    case.look()
    assert sorted(case.consenting.consents.holding) == ["cabin", "track"]
    case.write("track", number=7000)
    case.look()
    assert sorted(case.consenting.consents.holding) == ["track"]
    (case.folder / "consents.json").write_bytes(b"{")
    case.look()
    assert not case.consenting.consents.holding
    case.write("track", number=7000)
    case.look()
    assert not case.consenting.consents.holding  # waits, like all that is new


def test_documents_that_cannot_be_read_are_as_none(case: Case) -> None:
    for name in ("consents", "consent epochs"):
        case.bench.store.keep_document(name, b"\xc1")
    case.begin()
    case.write("track")
    case.look()
    assert case.consenting.consents.holding
