"""Loading databases: our records, our limits, and one clear line for all the rest."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import cantools
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.can import database as module
from protocols.can.database import Database, load_database, parse_database
from protocols.can.decode import decode
from protocols.errors import DatabaseError
from protocols.frames import CAN_EFF_FLAG
from tests.protocols.can.oracle import Oracle, batch, bind_all, compare

if TYPE_CHECKING:
    from pathlib import Path

DBC = """VERSION ""
NS_ :
BS_:
BU_: XXX
BO_ 256 ENGINE: 8 XXX
 SG_ MODE M : 0|4@1+ (1,0) [0|15] "" XXX
 SG_ SPEED m2 : 15|16@0- (0.25,-10) [-100|100] "rpm" XXX
 SG_ COUNT m3 : 16|8@1+ (2,0) [0|0] "" XXX
BO_ 419316480 TRUCK: 8 XXX
 SG_ RATE : 0|8@1+ (1,0) [0|0] "" XXX
CM_ SG_ 419316480 RATE "mended in every statement";
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 20;
BA_ "GenMsgCycleTime" BO_ 419316480 100;
VAL_ 256 MODE 2 "TWO" 3 "THREE" ;
VAL_ 419316480 RATE 1 "ONE" ;
"""

ARXML = """<?xml version="1.0" encoding="UTF-8"?>
<AUTOSAR xmlns="http://autosar.org/schema/r4.0"><AR-PACKAGES><AR-PACKAGE>
<SHORT-NAME>P</SHORT-NAME><ELEMENTS>
<CAN-CLUSTER><SHORT-NAME>C</SHORT-NAME><CAN-CLUSTER-VARIANTS>
<CAN-CLUSTER-CONDITIONAL><PHYSICAL-CHANNELS><CAN-PHYSICAL-CHANNEL>
<SHORT-NAME>CH</SHORT-NAME><FRAME-TRIGGERINGS><CAN-FRAME-TRIGGERING>
<SHORT-NAME>FT</SHORT-NAME><FRAME-REF DEST="CAN-FRAME">/P/M</FRAME-REF>
<CAN-ADDRESSING-MODE>EXTENDED</CAN-ADDRESSING-MODE>
<CAN-FRAME-RX-BEHAVIOR>CAN-FD</CAN-FRAME-RX-BEHAVIOR>
<IDENTIFIER>291</IDENTIFIER></CAN-FRAME-TRIGGERING></FRAME-TRIGGERINGS>
</CAN-PHYSICAL-CHANNEL></PHYSICAL-CHANNELS></CAN-CLUSTER-CONDITIONAL>
</CAN-CLUSTER-VARIANTS></CAN-CLUSTER>
<CAN-FRAME><SHORT-NAME>M</SHORT-NAME><FRAME-LENGTH>16</FRAME-LENGTH>
<PDU-TO-FRAME-MAPPINGS><PDU-TO-FRAME-MAPPING><SHORT-NAME>PM</SHORT-NAME>
<PDU-REF DEST="I-SIGNAL-I-PDU">/P/PDU</PDU-REF></PDU-TO-FRAME-MAPPING>
</PDU-TO-FRAME-MAPPINGS></CAN-FRAME>
<I-SIGNAL-I-PDU><SHORT-NAME>PDU</SHORT-NAME><LENGTH>16</LENGTH>
<I-SIGNAL-TO-PDU-MAPPINGS><I-SIGNAL-TO-I-PDU-MAPPING><SHORT-NAME>S1M</SHORT-NAME>
<I-SIGNAL-REF DEST="I-SIGNAL">/P/S1</I-SIGNAL-REF>
<PACKING-BYTE-ORDER>MOST-SIGNIFICANT-BYTE-LAST</PACKING-BYTE-ORDER>
<START-POSITION>68</START-POSITION></I-SIGNAL-TO-I-PDU-MAPPING>
</I-SIGNAL-TO-PDU-MAPPINGS></I-SIGNAL-I-PDU>
<I-SIGNAL><SHORT-NAME>S1</SHORT-NAME><LENGTH>20</LENGTH>
<SYSTEM-SIGNAL-REF DEST="SYSTEM-SIGNAL">/P/SYS1</SYSTEM-SIGNAL-REF></I-SIGNAL>
<SYSTEM-SIGNAL><SHORT-NAME>SYS1</SHORT-NAME></SYSTEM-SIGNAL>
</ELEMENTS></AR-PACKAGE></AR-PACKAGES></AUTOSAR>
"""


def test_a_database_becomes_our_own_records(tmp_path: Path) -> None:
    path = tmp_path / "engine.DBC"
    path.write_text(DBC)
    database = load_database(path)
    engine = database.message("ENGINE")
    assert engine is not None
    assert engine is database.message(256)
    assert (engine.ident, engine.length, engine.cycle_time_ms) == (256, 8, 20.0)
    speed, mode = engine.signal("SPEED"), engine.signal("MODE")
    assert speed is not None
    assert mode is not None
    assert (speed.start, speed.length, speed.big_endian, speed.signed) == (
        15, 16, True, True,
    )  # fmt: skip
    assert (speed.scale, speed.offset, speed.unit) == (0.25, -10, "rpm")
    assert (speed.minimum, speed.maximum) == (-100, 100)
    assert (speed.mux_parent, speed.mux_values) == ("MODE", (2,))
    assert mode.is_multiplexer
    assert mode.has_choices
    assert not speed.has_choices


def test_what_somebody_holds_is_not_parsed_again(tmp_path: Path) -> None:
    file, other = tmp_path / "a.dbc", tmp_path / "b.dbc"
    file.write_text(DBC)
    other.write_text(DBC)
    first = load_database(file)
    assert load_database(file) is first
    assert load_database(other).file == str(other)  # messages name the right one
    file.write_text(DBC.replace("ENGINE", "MOTOR"))
    assert load_database(file).messages[0].name == "MOTOR"
    assert first.messages[0].name == "ENGINE"
    gone = weakref.ref(first)
    del first
    assert gone() is None  # nothing is kept for its own sake


def test_the_missing_flag_is_mended_in_every_statement(tmp_path: Path) -> None:
    path = tmp_path / "truck.dbc"
    path.write_text(DBC)
    database = load_database(path)
    truck = database.message(419316480 | CAN_EFF_FLAG)
    assert truck is not None
    assert truck.cycle_time_ms == 100.0
    assert truck.signals[0].has_choices
    assert database.notes == (
        "line 9: message TRUCK: 0x18FE4300 taken as a 29-bit identifier",
    )


def test_value_tables_stay_integers() -> None:
    database = parse_database(DBC.encode(), "dbc", "d.dbc")
    plan, names = bind_all(database)
    samples = decode(plan, batch([(256, bytes([2] + [0] * 7))])).samples
    value = dict(zip(samples.item.tolist(), samples.value.tolist(), strict=True))
    assert value[names.index((256, "MODE"))] == 2.0


def test_arxml_equals_cantools() -> None:
    database = parse_database(ARXML.encode(), "arxml", "d.arxml")
    (message,) = database.messages
    assert message.ident == 291 | CAN_EFF_FLAG
    assert message.is_fd
    oracle = Oracle(cantools.database.load_string(ARXML, "arxml"))
    plan, names = bind_all(database)
    rng = np.random.default_rng(1)
    frames = [(message.ident, rng.bytes(16)) for _ in range(50)]
    assert compare(oracle, frames, decode(plan, batch(frames, 64)), names) == 50


def test_lenient_loading_is_noted() -> None:
    text = DBC.replace("SPEED m2 : 15|16", "SPEED m2 : 63|16")
    database = parse_database(text.encode(), "dbc", "d.dbc")
    assert "SPEED" in database.notes[-1]
    assert "accepted" in database.notes[-1]


def test_units_in_utf8_and_in_cp1252_read_the_same() -> None:
    text = DBC.replace('"rpm"', '"°C"')
    for code in ("utf-8", "utf-8-sig", "cp1252"):
        database = parse_database(text.encode(code), "dbc", "d.dbc")
        message = database.message("ENGINE")
        assert message is not None
        assert {s.unit for s in message.signals} == {"", "°C"}


@pytest.mark.parametrize(
    ("kind", "old", "new", "place", "reason"),
    [
        ("dbc", "ENGINE: 8", "ENGINE: 4000000000", "line 5", "message length"),
        ("dbc", "15|16@0-", "15|99999999@0-", "line 7", "signal place"),
        ("dbc", "VAL_ 256 MODE 2", "VAL_ 256 GONE 2", "line 16", "unused VAL_"),
        ("dbc", "(0.25,-10)", "(0.25;-10)", "line 7, column 31", "syntax"),
        ("dbc", "(0.25,-10)", "(1e999,-10)", "message ENGINE, signal SPEED", "finite"),
        ("dbc", "419316480 TRUCK", "1073741825 TRUCK", "message TRUCK", "11 bits"),
        ("dbc", "VAL_ 256 MODE", "SG_MUL_VAL_ 256 SPEED MODE 0-4294967295;\nVAL_ 256 X",
         "line 16", "multiplexer values"),
        ("arxml", "<LENGTH>20<", "<LENGTH>0x7fffffff<", "line 23", "length"),
        ("arxml", "<LENGTH>20<", "<LENGTH><!-- -->99999<", "line 23", "length"),
        ("arxml", "<AUTOSAR", "<!DOCTYPE a><AUTOSAR", "line 2", "document type"),
        ("arxml", "</AUTOSAR>", "", "line 27, column 0", "no element"),
    ],
)  # fmt: skip
def test_a_refusal_names_place_and_reason(
    kind: str, old: str, new: str, place: str, reason: str
) -> None:
    text = {"dbc": DBC, "arxml": ARXML}[kind]
    assert old in text
    with pytest.raises(DatabaseError, match=reason) as caught:
        parse_database(text.replace(old, new).encode(), kind, "bad.file")
    assert caught.value.place == place
    assert caught.value.file == "bad.file"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("dbc", "SG_MUL_VAL_ 1 A B " + "1" * 200_000 + ";"),
        ("dbc", "SG_MUL_VAL_ 1 A B 1" + " " * 200_000 + ";"),
        ("arxml", "<LENGTH " * 50_000),
        ("sym", "FormatVersion=6.0\n{SIGNALS}\nSig=" + "1" * 200_000),
        ("sym", 'FormatVersion=6.0\n{SIGNALS}\nSig="a b" unsigned 4000000000'),
        ("sym", "FormatVersion=6.0\n{SENDRECEIVE}\n[A]\nID=1h\nSig=A 4000000000"),
        ("sym", "FormatVersion=6.0\n{SENDRECEIVE}\n[A]\nID=1h\nMux=A 0,4000000000"),
        ("sym", "FormatVersion=6.0\n{SENDRECEIVE}\n[A]\nID=000h-FFFFFFFFh"),
        ("kcd", '<Signal offset="4000000000"/>'),
        ("kcd", '<Signal length="&#57;99999999"/>'),
    ],
)
def test_texts_that_would_take_all_time_or_memory_are_refused_at_once(
    kind: str, text: str
) -> None:
    """Were a check quadratic or a bound absent, this test would not come to an end."""
    with pytest.raises(DatabaseError):
        parse_database(text.encode(), kind, "hostile")


def test_a_chain_of_multiplexers_ends() -> None:
    text = DBC.replace("COUNT m3 ", "COUNT m3M ") + (
        "SG_MUL_VAL_ 256 SPEED COUNT 2-2;\nSG_MUL_VAL_ 256 COUNT COUNT 3-3;\n"
    )
    with pytest.raises(DatabaseError, match="chain has no end"):
        parse_database(text.encode(), "dbc", "loop.dbc")


def test_a_signal_below_no_declared_multiplexer_is_left_out_aloud() -> None:
    text = DBC.replace("MODE M :", "MODE :") + (
        "SG_MUL_VAL_ 256 SPEED MODE 2-2;\nSG_MUL_VAL_ 256 COUNT MODE 3-3;\n"
    )
    database = parse_database(text.encode(), "dbc", "d.dbc")
    assert any("SPEED: depends on MODE, which" in note for note in database.notes)


def test_files_that_are_not_there_or_not_ours(tmp_path: Path) -> None:
    for name, place in (("none.dbc", "file"), ("x.txt", "name"), ("x.cdd", "name")):
        with pytest.raises(DatabaseError) as caught:
            load_database(tmp_path / name)
        assert caught.value.place == place
    (tmp_path / "folder.dbc").mkdir()
    with pytest.raises(DatabaseError):
        load_database(tmp_path / "folder.dbc")


def test_the_size_is_limited_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.dbc"
    with path.open("wb") as stream:
        stream.truncate(module.DATABASE_BYTES_MAX + 1)
    with pytest.raises(DatabaseError) as caught:
        load_database(path)
    assert caught.value.place == "size"


def _loads_or_is_refused(raw: bytes, kind: str) -> None:
    try:
        database = parse_database(raw, kind, "hostile")
    except DatabaseError as error:
        assert "\n" not in str(error)  # noqa: PT017  # either outcome is right
        assert len(str(error)) < 600  # noqa: PT017  # either outcome is right
    else:
        assert isinstance(database, Database)
        plan, _ = bind_all(database)
        decode(plan, batch([(256, bytes(8)), (419316480 | CAN_EFF_FLAG, bytes(3))]))


kinds = st.sampled_from(["dbc", "kcd", "arxml", "sym"])


@given(st.binary(max_size=300), kinds)
def test_any_bytes_give_a_database_or_a_refusal(raw: bytes, kind: str) -> None:
    _loads_or_is_refused(raw, kind)


@given(st.text(max_size=200), kinds)
@example("[" * 200, "sym")
@example("<a>" * 60, "kcd")
def test_any_text_gives_a_database_or_a_refusal(text: str, kind: str) -> None:
    _loads_or_is_refused(text.encode("utf-8", "replace"), kind)


pieces = st.sampled_from(
    ["-1", "0", "1e400", "nan", "M", "m0", "m1M", "BO_ ", "SG_ ", ";", '"', "@", "|",
     "18446744073709551616", "VAL_ ", "SG_MUL_VAL_ 256 SPEED MODE 5-1;", "\n", "\x00",
     "<", ">", "0x", "-", "(", ",", "é", "64", "65", "7"]
)  # fmt: skip


@given(
    st.lists(
        st.tuples(st.integers(0, len(DBC)), st.integers(0, 12), pieces),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_a_damaged_database_loads_or_is_refused(
    damage: list[tuple[int, int, str]], arxml: bool
) -> None:
    text = ARXML if arxml else DBC
    for at, length, piece in damage:
        text = text[:at] + piece + text[at + length :]
    _loads_or_is_refused(text.encode(), "arxml" if arxml else "dbc")
