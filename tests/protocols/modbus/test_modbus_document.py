"""docs/formats/modbus.md: its tables are the code's, its bytes give what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from protocols.modbus.exchanges import UNLISTED, Problem
from protocols.modbus.functions import (
    DIAGNOSTICS_READ,
    EXCEPTIONS,
    FUNCTIONS,
    NO_TABLE,
    is_write,
)
from protocols.modbus.mbap import HEADER_BYTES, MbapFramer, build_adu
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.readings import readings
from protocols.modbus.rtu import build_rtu
from protocols.modbus.rtu_line import JOIN_NS, RtuLine
from protocols.modbus.rtu_pairing import HASTE_NS, REPLY_NS_MAX, Ends
from tests.reference.slow_pairs import agree
from tests.support.pair_rows import Row, pair_batch
from tests.support.pair_told import told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEX = r"`([0-9a-f ]*)`"


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/formats/modbus.md").read_text(encoding="utf-8")


def rows(page: str, head: str) -> Iterator[list[str]]:
    """Return the cells of the table that begins with ``head``."""
    _, _, rest = page.partition(f"\n| {head} |")
    assert rest, head
    for line in rest.split("\n\n")[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def problems_of(cell: str) -> int:
    return sum(Problem[name] for name in re.findall(r"`(\w+)`", cell))


def test_public_functions_are_those_of_the_code(page: str) -> None:
    found = {}
    for code, name, kind, table, _, most in rows(page, "code | name | | address"):
        found[int(code)] = (name.strip("`"), kind, table, most)
    kinds = {8: "by sub", 43: "by MEI"}
    assert found == {
        code: (
            one.name,
            kinds.get(code, "writes" if one.is_write else "reads"),
            "" if one.table == NO_TABLE else str(one.table),
            str(one.quantity_max or ""),
        )
        for code, one in FUNCTIONS.items()
        if one.is_public
    }


def test_other_functions_and_exceptions_are_those_of_the_code(page: str) -> None:
    vendors = {int(a): b.strip("`") for a, b in rows(page, "vendor's code | name")}
    assert vendors == {c: f.name for c, f in FUNCTIONS.items() if not f.is_public}
    assert {
        int(a): b.strip("`") for a, b in rows(page, "code | exception")
    } == EXCEPTIONS


def test_what_reads_by_sub_function(page: str) -> None:
    assert "sub-functions 0, 2 and 11 to 18;" in page
    assert {0, 2, *range(11, 19)} == DIAGNOSTICS_READ
    assert not is_write(43, 14 << 8)
    assert all(is_write(43, mei << 8) for mei in range(256) if mei != 14)


def test_problems_are_those_of_the_code(page: str) -> None:
    found = {
        name.strip("`"): 1 << int(bit) for bit, name, *_ in rows(page, "bit | problem")
    }
    assert found == {one.name: one.value for one in Problem}


def test_worked_bytes_give_the_problems_that_the_page_names(page: str) -> None:
    cases = list(rows(page, "request | reply | problems"))
    some = [
        Row(bytes.fromhex(a.strip("`")), bytes.fromhex(b.strip("`")) if b else None)
        for a, b, _ in cases
    ]
    made = agree(some)  # in columns as one by one
    assert made.problems.tolist() == [problems_of(cell) for *_, cell in cases]
    shown = 0
    for *_, cell in cases:
        shown |= problems_of(cell)
    for *_, cell in rows(page, "frames | problems"):
        shown |= problems_of(cell)
    # PROTOCOL has its own test below; REPEATED is of whoever follows connections.
    assert shown == sum(Problem) & ~(Problem.PROTOCOL | Problem.REPEATED)


def test_frames_of_a_serial_line(page: str) -> None:
    for frames, cell in rows(page, "frames | problems"):
        line = RtuLine(19_200, Ends(1, 1, UNLISTED))
        for at, frame in enumerate(re.findall(HEX, frames)):
            line.feed(bytes.fromhex(frame), at * 10**9)
        line.close()
        (row,) = told(line.take())
        assert row.problems == problems_of(cell), frames


def test_frames_of_the_examples(page: str) -> None:
    tcp, rtu = re.findall(r"^([0-9a-f ]+?) {3,}", page, re.MULTILINE)
    adu = bytes.fromhex(tcp)
    (found,) = MbapFramer().feed(adu)
    assert (found.tid, found.unit) == (1, 1)
    assert adu == build_adu(1, 1, found.pdu)
    assert bytes.fromhex(rtu) == build_rtu(1, found.pdu)
    assert len(adu) == HEADER_BYTES + len(found.pdu)
    made = decode_pairs(pair_batch([Row(found.pdu, None)]))
    assert (made.address[0], made.count[0]) == (107, 3)


def test_numbers_of_the_page(page: str) -> None:
    assert f"within {JOIN_NS // 10**6} ms" in page
    assert f"comes within {HASTE_NS // 10**6} ms of one that is open" in page
    assert f"open for {REPLY_NS_MAX // 10**9} s" in page


def test_what_the_page_says_of_readings(page: str) -> None:
    """Every function of the worked bytes that fits gives what its row says."""
    said = {}
    for codes, what in rows(page, "function | what it says"):
        said |= dict.fromkeys(map(int, codes.split(",")), what)
    for request, reply, cell in rows(page, "request | reply | problems"):
        if cell or not reply or reply.startswith("`8"):
            continue
        row = Row(bytes.fromhex(request.strip("`")), bytes.fromhex(reply.strip("`")))
        assert row.request is not None
        what = said.get(row.request[0], "nothing")
        wanted = 0 if what.startswith("nothing") else 1 + (", then" in what)
        assert len(readings(decode_pairs(pair_batch([row])))) == wanted
