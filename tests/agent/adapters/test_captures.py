"""Capture files of every format against python-can; refusals name file and place."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING

import can
import numpy as np
import pytest

from agent.adapters.captures import Capture, detect_format, open_capture, write_candump
from agent.errors import BadInput
from protocols.frames import FrameBatch, concat_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITERS: dict[str, Callable[..., object]] = {
    "asc": can.ASCWriter,
    "blf": can.BLFWriter,
    "trc": can.TRCWriter,
    "log": can.CanutilsLogWriter,
    "mf4": can.io.MF4Writer,
}
READERS: dict[str, Callable[..., object]] = {
    "asc": lambda file: can.ASCReader(file, relative_timestamp=False),
    "blf": can.BLFReader,
    "trc": can.TRCReader,
    "log": can.CanutilsLogReader,
    "mf4": can.io.MF4Reader,
}


def messages(count: int, *, fd: bool, remote: bool, errors: bool) -> list[can.Message]:
    rng = np.random.default_rng(5)
    out = []
    for n in range(count):
        extended = bool(rng.random() < 0.5)
        common = {
            "timestamp": 1_700_000_000 + n * 0.001,
            "arbitration_id": int(rng.integers(0, 1 << (29 if extended else 11))),
            "is_extended_id": extended,
            "channel": int(rng.integers(0, 2)),
        }
        draw = rng.random()
        if remote and draw < 0.1:
            out.append(can.Message(is_remote_frame=True, dlc=8, **common))
        elif errors and draw < 0.2:
            del common["arbitration_id"], common["is_extended_id"]
            out.append(can.Message(is_error_frame=True, **common))
        elif fd and draw < 0.5:
            size = int(rng.choice([1, 8, 12, 64]))
            flags = {"bitrate_switch": bool(n % 2), "error_state_indicator": n % 3 == 0}
            out.append(can.Message(is_fd=True, data=rng.bytes(size), **flags, **common))
        else:
            out.append(can.Message(data=rng.bytes(int(rng.integers(1, 9))), **common))
    return out


def written(path: Path, made: list[can.Message]) -> Path:
    writer = WRITERS[path.suffix[1:]](path)
    for message in made:
        writer.on_message_received(message)
    writer.stop()
    return path


def read(path: Path, **options: int) -> tuple[FrameBatch, Capture]:
    with open_capture(path, **options) as capture:
        return concat_frames(list(capture.batches())), capture


def expected(path: Path) -> list[tuple]:
    kind = path.suffix[1:].lower()
    reader = READERS[kind](path)
    out = []
    for m in reader:
        ident = m.arbitration_id | m.is_extended_id << 31 | m.is_remote_frame << 30
        size = m.dlc if m.is_remote_frame else len(m.data)
        flags = m.is_fd and 4 | m.bitrate_switch | m.error_state_indicator << 1
        if m.is_error_frame:
            ident, size, flags = 0x20000080, 0, 0
        channel = m.channel
        if isinstance(channel, int):
            channel = f"can{channel - (kind == 'trc')}"
        elif m.is_error_frame:
            channel = "can0"  # python-can's candump reader forgets the bus of errors
        out.append(
            (round(m.timestamp * 1e6), channel, ident, size, flags, bytes(m.data))
        )
    reader.stop()
    return out


def rows(frames: FrameBatch, buses: list[str]) -> list[tuple]:
    remote = frames.ident >> 30 & 1
    return [
        (round(t / 1e3), buses[b], int(i), int(s), int(f), bytes(p[: 0 if r else s]))
        for t, b, i, s, f, p, r in zip(
            frames.time_ns, frames.bus, frames.ident, frames.size, frames.flags,
            frames.payload, remote, strict=True,
        )
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["asc", "blf", "trc", "log", "mf4"])
def test_what_python_can_writes_is_read_as_python_can_reads_it(
    tmp_path: Path, kind: str
) -> None:
    features = {
        "fd": kind != "trc",
        "remote": kind not in ("trc", "log"),
        "errors": kind in ("asc", "blf", "mf4"),
    }
    path = written(tmp_path / f"made.{kind}", messages(300, **features))
    frames, capture = read(path, batch_frames=64)
    ours = rows(frames, capture.buses)
    theirs = expected(path)
    if kind == "mf4":  # python-can's writer counts from now: compare to a microsecond
        ours, theirs = ([(t // 10, *r) for t, *r in side] for side in (ours, theirs))
    assert sorted(ours) == sorted(theirs)
    assert len(ours) == 300
    if kind != "mf4":
        assert ours == theirs
    assert capture.position_bytes == capture.size_bytes


def test_candump_slice_and_its_zipped_copy(data: Path, tmp_path: Path) -> None:
    path = data / "can-comma2k19-rav4" / "rav4_5s.candump.log"
    frames, capture = read(path)
    assert (len(frames), capture.format) == (8233, "candump")
    assert rows(frames, capture.buses) == expected(path)
    zipped = tmp_path / "copy.log.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    again, capture = read(zipped)
    assert rows(again, capture.buses) == expected(path)
    assert capture.position_bytes == capture.size_bytes
    again_path = tmp_path / "again.log"
    write_candump(again_path, frames, capture.buses)
    assert rows(read(again_path)[0], capture.buses) == expected(path)


def test_mf4_of_a_real_logger(data: Path, tmp_path: Path) -> None:
    path = data / "can-css-gnss" / "2F6913DB_00000004_00000001.MF4"
    frames, capture = read(path)
    assert (len(frames), capture.format, capture.buses) == (
        5588,
        "mf4",
        ["can1", "can2"],
    )
    assert rows(frames, capture.buses) == expected(path)
    zipped = tmp_path / "copy.mf4.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert rows(read(zipped)[0], capture.buses) == expected(path)


def test_batches_have_the_size_that_was_asked_for(data: Path) -> None:
    path = data / "can-comma2k19-rav4" / "rav4_5s.candump.log"
    with open_capture(path, batch_frames=1000) as capture:
        places = []
        sizes = []
        for batch in capture.batches():
            sizes.append(len(batch))
            places.append(capture.position_bytes)
    assert sizes == [1000] * 8 + [233]
    assert places == sorted(places)
    assert places[-1] == capture.size_bytes


@pytest.mark.parametrize("kind", ["asc", "blf", "trc", "log", "mf4"])
def test_half_a_file_ends_in_one_clear_line(tmp_path: Path, kind: str) -> None:
    path = written(
        tmp_path / f"made.{kind}", messages(200, fd=False, remote=False, errors=False)
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 8])
    got: list[FrameBatch] = []
    with pytest.raises(BadInput) as caught, open_capture(path) as capture:
        got.extend(capture.batches())
    assert caught.value.file == str(path)
    assert caught.value.reason
    assert "\n" not in str(caught.value)
    if kind != "mf4":  # its blocks are linked from the end of the file
        assert 50 < len(concat_frames(got)) < 150 or kind == "blf"
        assert caught.value.place


@pytest.mark.parametrize("kind", ["asc", "blf", "trc", "log", "mf4"])
def test_changed_bytes_give_frames_or_bad_input(tmp_path: Path, kind: str) -> None:
    path = written(
        tmp_path / f"made.{kind}", messages(40, fd=False, remote=False, errors=False)
    )
    whole = path.read_bytes()
    rng = np.random.default_rng(9)
    lines: list[str] = []
    for _ in range(60 if kind != "mf4" else 4):  # a process for each MF4
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), 12):
            changed[place] = int(rng.integers(0, 256))
        path.write_bytes(changed)
        try:
            _, capture = read(path)
        except BadInput as error:
            lines.append(str(error))
        else:
            lines += capture.skipped
    assert lines
    assert not [line for line in lines if "\n" in line]


def test_the_reason_never_quotes_the_payload(tmp_path: Path) -> None:
    asc = (
        "date Sam Jan 1 00:00:00.000 am 2022\nbase hex  timestamps absolute\n"
        "0.5 1 123 Rx d 2 11 22\n0.6 1 123 Rx d 8 DE AD CANARY7 EF\n"
    )
    trc = (
        ";$FILEVERSION=1.1\n;$STARTTIME=40000.0\n"
        "1) 1.0 Rx 0123 2 11 22\n2) 2.0 Rx 0123 2 CANARY7 22\n"
    )
    for kind, line in [
        ("asc", asc),
        ("trc", trc),
        ("log", "(1.0) can0 123#1122\n(1.0) can0 123#CANARY7\n"),
    ]:
        path = tmp_path / f"bad.{kind}"
        path.write_text(line)
        with pytest.raises(BadInput) as caught:
            read(path)
        assert "line " in caught.value.place
        assert "CANARY7" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_date_that_nobody_understands_gives_relative_times(tmp_path: Path) -> None:
    path = tmp_path / "odd.asc"
    path.write_text(
        "date Brumaire 18 an VIII\nbase hex  timestamps absolute\n"
        "0.500000 1 123 Rx d 2 11 22\n0.750000 2 1FFx Rx d 1 33\nEnd TriggerBlock\n"
    )
    frames, capture = read(path)
    assert frames.time_ns.tolist() == [500_000_000, 750_000_000]
    assert capture.buses == ["can0", "can1"]
    assert capture.skipped == {"date that is not understood": 1}


def test_lines_that_python_can_drops_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.trc"
    path.write_text(
        ";$FILEVERSION=1.1\n;$STARTTIME=40000.0\n;\n"
        "1) 1.0 Rx 0123 2 11 22\n2) 1.5 Warng FFFFFFFF 4 00 00 00 08 BUSHEAVY\n"
        "; a comment\n3) 2.0 Tx 0124 1 33\n"
    )
    frames, capture = read(path)
    assert len(frames) == 2
    assert capture.skipped == {"line that is no frame": 1}


def test_lenient_reading_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "torn.log"
    path.write_text("(1.0) can0 123#1122\nnoise\n(1.0) can0 123#11\n(1.0) ca")
    with pytest.raises(BadInput, match=r"torn\.log: line 2: not `\(time\) bus frame`"):
        read(path)
    frames, capture = read(path, strict=False)
    assert len(frames) == 2
    assert capture.skipped == {"not `(time) bus frame`": 2}


def test_what_cannot_be_opened_is_refused_in_one_line(tmp_path: Path) -> None:
    for name, content, reason in [
        ("empty.log", b"", "file is empty"),
        ("empty.log.gz", gzip.compress(b""), "file is empty"),
        ("picture.png", b"\x89PNG\r\n", "format not recognised"),
        ("old.mf4", b"MDF     3.30    ", "not of MDF version 4"),
        ("net.pcap", b"\xd4\xc3\xb2\xa1\2\0\4\0" + bytes(12) + b"\1\0\0\0", "Ethernet"),
        (
            "torn.log.gz",
            gzip.compress(b"(1.0) can0 123#11\n" * 99)[:-20],
            "ends inside",
        ),
        ("bad.log.gz", b"\x1f\x8b" + bytes(30), "damaged"),
        ("text.asc", b"date Mon\nnothing\nfor us\nhere\n", "no frame"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput, match=reason):
            read(path)
    with pytest.raises(BadInput, match="No such file"):
        open_capture(tmp_path / "absent.log")
    with pytest.raises(BadInput, match="directory"):
        open_capture(tmp_path)


def test_a_gzip_bomb_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "bomb.log.gz"
    path.write_bytes(gzip.compress(b"(1.0) can0 123#1122334455667788\n" * 50_000))
    with pytest.raises(BadInput, match="gzip: inflates to more than 1000000 bytes"):
        read(path, inflated_max=1_000_000)
    assert len(read(path)[0]) == 50_000


def test_without_asammdf_the_hint_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.mf4"
    path.write_bytes(b"MDF     4.11    " + bytes(100))
    monkeypatch.setitem(sys.modules, "asammdf", None)
    with pytest.raises(BadInput, match=r"pip install 'sluicegate\[mf4\]'"):
        open_capture(path)


def test_content_decides_before_the_suffix() -> None:
    assert detect_format(b"(1.0) can0 123#", "x.asc") == "candump"
    assert detect_format(b"LOGG....", "x.log") == "blf"
    assert detect_format(b";$FILEVERSION=2.1", "x") == "trc"
    assert detect_format(b"date Sam", "x.txt") == "asc"
    assert detect_format(b"\x0a\x0d\x0d\x0a", "x") == "pcap"
    assert detect_format(b"odd", "x.LOG.gz") == "candump"
    assert detect_format(b"odd", "x") is None


def test_writing_where_nothing_can_be_written(tmp_path: Path, data: Path) -> None:
    frames, _ = read(data / "can-comma2k19-rav4" / "rav4_5s.candump.log")
    with pytest.raises(BadInput, match="No such file"):
        write_candump(tmp_path / "no" / "where.log", frames, ["a", "b"])
    with pytest.raises(BadInput, match="bus name"):
        write_candump(tmp_path / "bad.log", frames, ["a b", "b"])
