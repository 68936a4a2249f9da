"""The operator's journal: every change of it shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleet.errors import Refused
from fleet.trust.journal import FileJournal, check_journal
from fleet.trust.signing import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

KEY = SigningKey("journal", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    made = FileJournal(tmp_path, "north", KEY)
    made.begin()
    for number in range(5):
        made.record("publish", {"version": number, "approvers": "alice,bob"})
    return made


@pytest.mark.usefixtures("journal")
def test_it_holds_and_says_what_was_done(tmp_path: Path) -> None:
    found = check_journal(tmp_path, "north")
    assert [one.facts["version"] for one in found.entries] == [0, 1, 2, 3, 4]
    assert found.unsigned == 0
    assert check_journal(tmp_path, "north", key=KEY.public_key().hex()) == found


def test_two_who_record_at_one_moment_make_one_journal(
    tmp_path: Path, journal: FileJournal
) -> None:
    """A desk that halts a rollout, and somebody who publishes."""

    def work(name: str) -> None:
        other = FileJournal(tmp_path, "north", KEY)
        for number in range(8):
            other.record(name, {"version": number})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, ("halt", "publish", "widen")))
    journal.record("publish", {})
    found = check_journal(tmp_path, "north")
    assert (len(found.entries), found.unsigned) == (5 + 24 + 1, 0)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("change", ["alter", "remove", "swap", "first", "last"])
def test_a_changed_entry_shows(tmp_path: Path, change: str) -> None:
    place = tmp_path / "journal" / "entries"
    lines = place.read_bytes().splitlines(keepends=True)
    if change == "alter":
        lines[2] = lines[2].replace(b"alice,bob", b"alice,eve")
    elif change == "remove":
        del lines[2]
    elif change == "swap":
        lines[1], lines[3] = lines[3], lines[1]
    else:
        del lines[0 if change == "first" else -1]
    place.write_bytes(b"".join(lines))
    with pytest.raises(Refused, match="journal"):
        check_journal(tmp_path, "north")
    with pytest.raises(Refused, match="journal"):  # and nothing is signed over it
        FileJournal(tmp_path, "north", KEY).record("publish", {})


def test_a_history_that_was_written_anew_shows_against_an_older_checkpoint(
    tmp_path: Path, journal: FileJournal
) -> None:
    old = (tmp_path / "journal" / "checkpoint").read_bytes()
    journal.record("publish", {"version": 5})
    assert len(check_journal(tmp_path, "north", old).entries) == 6
    other = tmp_path / "other"
    forged = FileJournal(other, "north", KEY)
    forged.begin()
    for number in range(7):
        forged.record("publish", {"version": number, "approvers": "eve"})
    assert len(check_journal(other, "north").entries) == 7
    with pytest.raises(Refused, match="does not continue"):
        check_journal(other, "north", old)
    with pytest.raises(Refused, match="checkpoint"):
        check_journal(tmp_path, "south")


def test_a_power_cut_between_entry_and_checkpoint_is_taken_in(
    tmp_path: Path, journal: FileJournal
) -> None:
    note = (tmp_path / "journal" / "checkpoint").read_bytes()
    journal.record("publish", {"version": 5})
    (tmp_path / "journal" / "checkpoint").write_bytes(note)
    assert check_journal(tmp_path, "north").unsigned == 1
    with (tmp_path / "journal" / "entries").open("ab") as file:
        file.write(b'{"number":6,"ti')  # and the beginning of another
    journal.record("publish", {"version": 6})
    found = check_journal(tmp_path, "north", note)
    assert [one.facts["version"] for one in found.entries] == list(range(7))
    assert found.unsigned == 0


def test_entries_that_nobody_signed_are_not_signed_now(
    tmp_path: Path, journal: FileJournal
) -> None:
    with (tmp_path / "journal" / "entries").open("ab") as file:
        for number in (5, 6):
            file.write(
                b'{"number":%d,"time":"","action":"publish","facts":{}}\n' % number
            )
    with pytest.raises(Refused, match="nobody signed"):
        journal.record("publish", {})
    (tmp_path / "journal" / "checkpoint").unlink()
    with pytest.raises(Refused, match="checkpoint is gone"):
        journal.record("publish", {})
