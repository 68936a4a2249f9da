"""The EVE log: whole lines, two files at most, no disk stops the agent."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from agent.adapters.eve_file import EveFile, EveLog
from agent.errors import BadInput
from agent.inspection.eve import EveLines

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'{"a":1}\n'


def test_lines_are_appended_and_the_file_turns(tmp_path: Path) -> None:
    place = tmp_path / "eve.json"
    file = EveFile(place, 20)
    for _ in range(5):
        file.write([LINE])
    file.close()
    assert place.read_bytes() == LINE
    assert (tmp_path / "eve.json.1").read_bytes() == LINE * 2
    assert place.stat().st_mode & 0o777 & ~0o640 == 0
    assert file.lost == 0


@pytest.mark.parametrize("bytes_max", [20, 1000])
def test_it_goes_on_at_once_where_somebody_took_the_file(
    tmp_path: Path, bytes_max: int
) -> None:
    """It went on in the one that was removed, up to its size: nobody had the lines."""
    place = tmp_path / "eve.json"
    file = EveFile(place, bytes_max)
    file.write([LINE, LINE])
    place.rename(tmp_path / "rotated")  # by another's hand
    file.write([LINE])
    assert place.read_bytes() == LINE
    place.unlink()
    place.write_bytes(b"")  # another's new one
    file.write([LINE, LINE])
    assert place.read_bytes() == LINE * 2
    place.write_bytes(b"")  # emptied
    file.write([LINE])
    file.close()
    assert place.read_bytes() == LINE
    assert file.lost == 0
    assert not (tmp_path / "eve.json.1").exists()


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    place = tmp_path / "eve.json"
    file = EveFile(place, 1000)
    place.unlink()
    os.mkfifo(place)
    file.write([LINE])
    file.close()
    assert file.lost == 1
    with pytest.raises(BadInput, match=r"eve\.file"):
        EveFile(place, 1000)


def test_a_turn_that_found_no_room_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "eve.json"
    file = EveFile(place, 20)
    file.write([LINE, LINE])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        file.write([LINE])
    file.write([LINE])
    file.close()
    assert place.read_bytes() == LINE
    assert (tmp_path / "eve.json.1").read_bytes() == LINE * 2
    assert file.lost == 1


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    place = tmp_path / "eve.json"
    for _ in range(2):
        file = EveFile(place, 1000)
        file.write([LINE, LINE])
        file.close()
    assert place.read_bytes() == LINE * 4


def test_a_place_that_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"eve\.file"):
        EveFile(tmp_path / "absent" / "eve.json", 1000)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput):
        EveFile(tmp_path / "link", 1000)


def test_a_disk_that_takes_nothing_loses_lines_and_counts_them() -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110  # a device, not a file
        pytest.skip("no /dev/full")
    from pathlib import Path

    file = EveFile(Path("/dev/full"), 10**6)
    file.write([LINE, LINE])
    assert file.lost == 2
    file.close()


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    file, lines = EveFile(tmp_path / "eve.json", 65_536), EveLines()
    log = EveLog(file, lines)
    assert log.trouble == ""
    lines.left_out = 3
    file.lost = 2
    assert log.trouble == (
        "EVE log: 2 lines could not be written, 3 records beyond its bounds"
    )
    file.close()
