"""A fleet's repository: read by python-tuf, whole at every fault."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from fleet.errors import BadInput, Refused
from fleet.trust import repository
from fleet.trust.journal import FileJournal, check_journal
from fleet.trust.proposal import load_proposal
from fleet.trust.release import Release
from policies.rollout import Rollout
from policies.trust import offer, open_bundle
from tests.support.founding import CommandFleet, command_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NS = 1_000_000_000


@pytest.fixture
def fleet(tmp_path: Path) -> CommandFleet:
    return command_fleet(tmp_path)


class _Folder(FetcherInterface):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._folder / url.removeprefix("http://fleet/")
        if not path.exists():
            raise DownloadHTTPError("not there", 404)
        return iter([path.read_bytes()])


@pytest.mark.slow
def test_python_tuf_reads_the_repository_as_it_stands(
    fleet: CommandFleet, tmp_path: Path
) -> None:
    fleet.release(42, 43)
    desk = Release(fleet.repository, fleet.keys)
    desk.sign(Rollout(name="r", candidate=43, stable=42, salt="00" * 8), None)
    for name in ("m", "t"):
        (tmp_path / name).mkdir()
    updater = Updater(
        str(tmp_path / "m"), "http://fleet/metadata", str(tmp_path / "t"),
        "http://fleet/targets", _Folder(fleet.repository), bootstrap=fleet.root,
    )  # fmt: skip
    updater.refresh()
    for path in ("rollout.json", "policy/42/policy.yaml", "policy/43/policy.yaml"):
        found = updater.get_targetinfo(path)
        assert found is not None
        updater.download_target(found)


@pytest.mark.slow
def test_a_renewal_lengthens_the_life_of_what_is_out(fleet: CommandFleet) -> None:
    message = fleet.release(42)
    trusted, first = fleet.taken(fleet.device(), message)
    later_s = int(dt.datetime.now(dt.UTC).timestamp()) + 6 * 86_400
    desk = Release(fleet.repository, fleet.keys, now_s=lambda: later_s)
    _, renewed = offer(trusted, open_bundle(desk.renew()), later_s * NS)
    assert renewed.expires_ns > first.expires_ns + 5 * 86_400 * NS
    # close to its end the snapshot is signed anew with it: that needs the bundle
    last_s = later_s + 20 * 86_400
    desk = Release(fleet.repository, fleet.keys, now_s=lambda: last_s)
    desk.renew()
    _, whole = offer(trusted, open_bundle(desk.bundle()), last_s * NS)
    assert whole.expires_ns > last_s * NS


@pytest.mark.slow
@pytest.mark.parametrize("applied", [False, True], ids=["lost", "done-but-error"])
@pytest.mark.parametrize("step", range(5))
def test_a_fault_at_every_write_leaves_the_old_or_the_new(
    fleet: CommandFleet, monkeypatch: pytest.MonkeyPatch, step: int, applied: bool
) -> None:
    trusted, _ = fleet.taken(fleet.device(), fleet.release(42))
    whole, calls = repository.replace, iter(range(100))

    def faulty(path: Path, data: bytes) -> None:
        hit = next(calls) == step
        if applied or not hit:
            whole(path, data)
        if hit:
            raise BadInput(str(path), "", "cannot be written: Input/output error")

    proposal = fleet.propose(43)
    fleet.sign(proposal, "alice", "bob")
    monkeypatch.setattr(repository, "replace", faulty)
    fleet.published(fleet.folder / "faulty.bundle", proposal)
    monkeypatch.setattr(repository, "replace", whole)
    desk = Release(fleet.repository, fleet.keys)
    trusted, offered = fleet.taken(trusted, desk.bundle())
    assert offered.targets_version in {1, 2}
    if offered.targets_version == 1:
        again = fleet.propose(43)
        fleet.sign(again, "alice", "bob")
        trusted, offered = fleet.taken(trusted, fleet.publish(again))
    desk.renew()
    assert 43 in fleet.taken(trusted, desk.bundle())[1].policies


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_publication_that_was_cut_short_is_finished_by_the_same_command(
    fleet: CommandFleet, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The power fails around the journal's entry: none is missing, none is twice."""
    proposal = fleet.propose(42)
    fleet.sign(proposal, "alice", "bob")
    record = FileJournal.record

    def cut(journal: FileJournal, action: str, facts: Mapping[str, str]) -> None:
        if place == "after":
            record(journal, action, facts)
        raise KeyboardInterrupt

    desk, signed = Release(fleet.repository, fleet.keys), load_proposal(proposal)
    monkeypatch.setattr(FileJournal, "record", cut)
    with pytest.raises(KeyboardInterrupt):
        desk.publish(signed)
    monkeypatch.setattr(FileJournal, "record", record)
    message = fleet.publish(proposal)
    assert 42 in fleet.taken(fleet.device(), message)[1].policies
    entries = check_journal(fleet.repository, "north").entries
    assert [one.action for one in entries] == ["keys init", "publish"]


@pytest.mark.slow
def test_what_the_journal_cannot_tell_is_not_published(fleet: CommandFleet) -> None:
    fleet.release(42)
    proposal = fleet.propose(43)
    fleet.sign(proposal, "alice", "bob")
    entries = fleet.repository / "journal" / "entries"
    entries.write_bytes(entries.read_bytes().replace(b"alice", b"mallo"))
    before = fleet.repository.joinpath("metadata/timestamp.json").read_bytes()
    assert fleet.published(fleet.folder / "none.bundle", proposal) == 1
    assert fleet.repository.joinpath("metadata/timestamp.json").read_bytes() == before


def test_two_at_once_are_told(fleet: CommandFleet) -> None:
    desk = Release(fleet.repository, fleet.keys)
    fleet.release(42)
    with desk.repository.locked(), pytest.raises(BadInput, match="another sluicectl"):
        Release(fleet.repository, fleet.keys).renew()


def test_what_devices_would_refuse_is_not_written(fleet: CommandFleet) -> None:
    fleet.release(42)
    before = sorted(path.name for path in (fleet.repository / "metadata").iterdir())
    desk = Release(fleet.repository, fleet.keys, now_s=lambda: int(time.time()) + 10**8)
    with pytest.raises(Refused, match="expired"):
        desk.renew()
    after = sorted(path.name for path in (fleet.repository / "metadata").iterdir())
    assert after == before
