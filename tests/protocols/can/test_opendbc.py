"""Every public DBC: loads or is refused with its reason; loaded, it decodes right."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import cantools
import numpy as np
import pytest

from protocols.can.database import Database, load_database
from protocols.can.database_text import flag_extended
from protocols.can.decode import decode
from protocols.errors import DatabaseError
from tests.protocols.can.oracle import Oracle, batch, bind_all, compare

pytestmark = pytest.mark.slow  # a hundred databases, each against cantools

opendbc = pytest.importorskip(
    "opendbc", reason="no opendbc here: its releases ask for Python below 3.13"
)
PACKAGE = Path(opendbc.__file__).parent
FILES = sorted(PACKAGE.rglob("*.dbc"))
FRAMES_A_MESSAGE = 3


@functools.cache
def _outcome(path: Path) -> Database | DatabaseError:
    try:
        return load_database(path)
    except DatabaseError as error:
        return error


def _load(path: Path) -> Database | None:
    """Return the database; None where it is refused with file, place and reason."""
    outcome = _outcome(path)
    if isinstance(outcome, Database):
        return outcome
    assert outcome.file == str(path)
    assert outcome.place.startswith(("line ", "message "))
    assert outcome.reason
    assert "\n" not in str(outcome)
    return None


def _agrees(path: Path) -> int:
    database = _load(path)
    if database is None:
        return 0
    text, _ = flag_extended(path.read_text(encoding="cp1252", errors="replace"))
    parsed = cantools.database.load_string(text, "dbc", strict=False)
    oracle = Oracle(parsed)
    plan, names = bind_all(database)
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    count = 0
    for wide in (False, True):
        frames = []
        for ident, message in oracle.messages.items():
            length = min(message.length, 64)
            if (length > 8) is not wide:
                continue
            for turn in range(FRAMES_A_MESSAGE):
                data = rng.bytes(length)
                # Small bytes too, or multiplexers never hit one of their branches.
                data = bytes(byte & 3 for byte in data) if turn == 1 else data
                # The last one is cut short.
                cut = int(rng.integers(0, length + 1)) if turn == 2 else length
                frames.append((ident, data[:cut]))
        order = rng.permutation(len(frames))
        frames = [frames[at] for at in order]
        decoded = decode(plan, batch(frames, 64 if wide else 8))
        assert (decoded.message >= 0).all()
        assert decoded.unbound == 0 or len(names) < sum(
            len(m.signals) for m in database.messages
        )
        count += compare(oracle, frames, decoded, names)
    return count


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_database_loads_or_is_refused_and_decodes_as_cantools(path: Path) -> None:
    _agrees(path)


def test_most_of_the_public_databases_load() -> None:
    """The comparison above means something only where databases load."""
    loaded = [database for path in FILES if (database := _load(path)) is not None]
    assert len(FILES) >= 100
    assert len(loaded) >= 0.8 * len(FILES)
    signals = [s for d in loaded for m in d.messages for s in m.signals]
    assert any(signal.mux_parent for signal in signals)
    assert any(signal.signed for signal in signals)
    assert any(not signal.big_endian for signal in signals)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("chrysler_cusw", ""),
        ("hyundai_i30_2014", ""),
        ("mazda_2017", "line 273, column 10"),
        ("mazda_3_2019", ""),
        ("nissan_xterra_2011", ""),
        ("tesla_can", "line 783"),
        ("toyota_iQ_2009_can", ""),
    ],
)
def test_the_seven_files_load_or_say_where(data: Path, name: str, place: str) -> None:
    path = data / "dbc-opendbc" / f"{name}.dbc"
    if place:
        with pytest.raises(DatabaseError) as caught:
            load_database(path)
        assert caught.value.place == place
    else:
        assert _agrees(path) > 0


def test_a_missing_extended_flag_is_mended_and_noted(data: Path) -> None:
    database = load_database(data / "dbc-opendbc" / "chrysler_cusw.dbc")
    message = database.message("BSM_LEFT")
    assert message is not None
    assert message.ident == 0x62CC033 | 0x80000000
    assert any("BSM_LEFT" in note and "29-bit" in note for note in database.notes)
