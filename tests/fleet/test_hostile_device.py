"""An enrolled device that means harm: what it says is shown, never obeyed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgpack
import numpy as np
import pytest
import zstandard
from rich.console import Console

from fleet import collector, ledger, main
from fleet.keys import save
from fleet.registry import add_device
from fleet.shown import _live_table
from protocols.announcement import Announcement, encode_announcement
from protocols.columns import Rows, empty_rows
from protocols.content import ContentEncoder, Definition
from protocols.envelope import (
    BATCH,
    OPEN,
    Header,
    encode_envelope,
    encode_header,
    open_signing_body,
)
from protocols.plain import printable
from protocols.samples import Kind, TextBatch, empty_texts
from protocols.signed import signing_input
from tests.support import sealing
from tests.support.fleet_side import NOW_NS, OEM, Gateway, Side

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.collector import Totals

ESCAPE = "\x1b]0;pwn\x07\x1b[2J\u202e\r\n[/red]"
DEVICE = sealing.Device()
EPOCH = b"e" * 16


def announced(destination: str, words: dict[int, Definition]) -> bytes:
    content = ContentEncoder().encode(
        empty_rows(), np.zeros(0, np.bool_), empty_texts(), words
    )
    return encode_announcement(
        Announcement(
            OPEN, DEVICE.device, EPOCH, destination, 0, bytes(16), NOW_NS, b"", (),
            content,
        ),
        DEVICE.sign,
    )  # fmt: skip


def batch(destination: str, content: bytes) -> bytes:
    header = encode_header(
        Header(OPEN, DEVICE.device, EPOCH, 1, bytes(32), 0, destination, NOW_NS)
    )
    signature = DEVICE.sign(signing_input(BATCH, open_signing_body(header, content)))
    return encode_envelope(header, content, signature)


def hostile() -> tuple[bytes, bytes]:
    """Return an announcement and a batch with ``ESCAPE`` wherever a text may be."""
    words = {
        number: Definition(*[ESCAPE] * 6, int(kind), 1.0, 0.0)
        for number, kind in enumerate((Kind.INT, Kind.TEXT))
    }
    rows = Rows(np.array([NOW_NS]), np.array([0], np.uint32), np.array([3]))
    texts = TextBatch(
        np.array([NOW_NS]), np.array([1], np.uint32), (ESCAPE.encode() + b"\xff",)
    )
    content = ContentEncoder().encode(rows, np.zeros(2, np.bool_), texts, {})
    return announced(ESCAPE, words), batch(ESCAPE, content)


def test_no_unprintable_character_is_left() -> None:
    assert printable(ESCAPE).isprintable()
    assert printable("Geschwindigkeit \u00fc\u4e2d") == "Geschwindigkeit \u00fc\u4e2d"
    assert printable("\x1b[0m") == "\\x1b[0m"
    assert printable("\udc80") == "\\udc80"


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)], ids=str)
def test_open_shows_a_devices_words_and_obeys_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: tuple[str, ...]
) -> None:
    add_device(tmp_path / "devices", DEVICE.device, DEVICE.public_key())
    save(OEM, tmp_path / "oem.key.json")
    key, data = hostile()
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "data\x1b[31m").write_bytes(data)
    words = ["open", tmp_path / "data\x1b[31m", "-a", tmp_path / "key", *form]
    words += ["-k", tmp_path / "oem.key.json", "-d", tmp_path / "devices"]
    assert main.run([str(word) for word in words]) == 0
    told = capfd.readouterr()
    assert "pwn" in told.out
    lines = (told.out + told.err).replace("\r\n", "\n").split("\n")
    if form == ("--json",):  # for machines: JSON escapes what it must
        lines = [line.replace("\u202e", "") for line in lines]
    assert all(line.isprintable() for line in lines), lines


def test_an_error_line_obeys_no_file_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run(["keys", "show", "none\x1b[31m\nsluicectl: all is well"]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()


def test_the_live_table_shows_a_destination_whatever_it_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    side = Side(tmp_path)
    key, data = hostile()
    side.take("key", key)
    side.take("data", data)
    assert side.collector.totals.batches == 1

    class Service:
        online = False
        problem = ESCAPE
        totals: Totals = side.collector.totals

    console = Console(file=sys.stdout, markup=False, width=200)
    console.print(_live_table(Service()))  # type: ignore[arg-type]  # what the table reads of a service
    side.ledger.close()
    told = capfd.readouterr().out
    assert "\\x1b]0;pwn" in told
    assert all(line.isprintable() for line in told.split("\n"))


def test_a_true_for_a_number_ends_no_collector(tmp_path: Path) -> None:
    side = Side(tmp_path)
    key, _ = hostile()
    side.take("key", key)
    body = [[], [], [True, 1, NOW_NS, 0, bytes(40)]]
    side.take("data", batch(ESCAPE, zstandard.compress(msgpack.packb(body))))
    assert side.rules() == {"content"}
    side.ledger.close()


def test_a_flood_of_announcements_does_not_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "EPOCHS_HELD", 3)
    monkeypatch.setattr(collector, "WORDS_HELD", 10)
    monkeypatch.setattr(ledger, "SERIES_HELD", 2)
    gateway = Gateway()
    side = Side(tmp_path)
    batches = []
    for number in range(6):
        gateway.start(bytes([number]))
        key, *data = gateway.seal([number, 5]).records
        side.take("key", key.body)
        batches += data
        assert len(side.collector._readers) <= 3
        assert len(side.collector._opener._epochs) <= 3
    for record in batches:  # each epoch is learnt again from the ledger
        side.take("data", record.body)
    assert side.rules() == set()
    assert side.collector.totals.batches == len(batches)
    assert side.one("SELECT COUNT(*) FROM points") == 2 * len(batches)
    held = side.collector._readers
    assert sum(side.collector._opener.words(*place) for place in held) <= 10
    side.ledger.close()
