"""The table of a scan: what it says of an item, and how it fits where it is read."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from agent.commands.scan_result import (
    Decision,
    DestinationResult,
    ItemResult,
    ScanResult,
)
from agent.commands.scan_table import Line, decisions, print_result, table

LONG = "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current"


def decision(to: str, rule: str, action: str, count: int = 10, **rows: int) -> Decision:
    left, kept = rows.get("left", 0), rows.get("kept", 0)
    return Decision(to, "CN", rule, action, count, left, kept, "", "")


def item(
    *made: Decision, name: str = "Vehicle.Speed", known: bool = True
) -> ItemResult:
    label = "G2/none/raw/none/none"
    return ItemResult(name, "can0", "chassis.controls", label, known, 10, made)


def back(to: str, count: int = 10) -> Decision:
    return decision(to, "", "kept back", count)


ITEM = item(decision("oem", "thinned", "encrypt", left=2), back("supplier"),
            back("device"))  # fmt: skip


def result(*items: ItemResult) -> ScanResult:
    return ScanResult(
        file="drive.log", format="candump", frames=10, seconds=1.0, items=items,
        destinations=(
            DestinationResult("oem", "CN", 2, 300, 2),
            DestinationResult("supplier", "DE", 0, 0, 0),
        ),
        classified=10, unclassified=30, envelopes=2, envelope_bytes=300,
        kept_records=0, evicted_records=0, evidence=4, notices=1, alerts=2,
        skipped=(("bus errors", 3),), unbound_buses=(("can7", 5),), store="",
        policy="p", version=1, evidence_bytes=400, elapsed_s=0.1, cpu_s=0.1,
    )  # fmt: skip


def test_a_destination_that_only_keeps_back_has_no_line() -> None:
    assert decisions(ITEM) == [Line("thinned", "encrypt", "oem", 10, 2)]


def test_kept_back_everywhere_is_one_line() -> None:
    everywhere = item(back("oem"), back("supplier"), back("device"))
    assert decisions(everywhere) == [Line("-", "kept back", "everywhere", 10, 0)]


def test_what_a_condition_let_through_is_told_beside_the_rule() -> None:
    """Of one destination, part went by a rule and part was kept back: both count."""
    part = item(decision("oem", "in-crash", "encrypt", 4, left=4), back("oem", 6))
    assert decisions(part) == [
        Line("in-crash", "encrypt", "oem", 4, 4),
        Line("-", "kept back", "oem", 6, 0),
    ]


def test_a_rule_for_several_destinations_is_one_line() -> None:
    both = item(decision("oem", "r", "encrypt", left=3),
                decision("supplier", "r", "encrypt", left=3))  # fmt: skip
    assert decisions(both) == [Line("r", "encrypt", "oem, supplier", 10, 6)]


def test_dropped_for_all_is_everywhere_and_the_device_is_not_named() -> None:
    dropped = item(*(decision(to, "cabin", "drop") for to in ("oem", "abroad")),
                   decision("device", "cabin", "drop"))  # fmt: skip
    assert decisions(dropped) == [Line("cabin", "drop", "everywhere", 10, 0)]


def test_the_device_is_named_where_it_keeps() -> None:
    kept = item(
        decision("oem", "record", "drop"),
        decision("supplier", "record", "drop"),
        decision("device", "record", "keep", kept=10),
    )
    assert decisions(kept) == [Line("record", "keep", "device", 10, 10)]


def test_an_unclassified_item_stays() -> None:
    (line,) = decisions(item(back("oem"), known=False))
    assert (line.rule, line.action) == ("-", "stays: unclassified")


ITEMS = [
    ITEM,
    item(decision("oem", "thinned", "encrypt", left=2),
         decision("supplier", "brake-wear-abroad", "encrypt", left=4), name=LONG),
    item(back("oem"), known=False, name="Nobody.Knows"),
]  # fmt: skip


@pytest.mark.parametrize("width", [72, 80, 100, 120])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(width: int) -> None:
    lines = table(ITEMS, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for name in (LONG, "Vehicle.Speed", "Nobody.Knows", "brake-wear-abroad"):
        assert text.count(name) == 1
    assert text.count("thinned") == 2
    assert "elsewhere" in text
    assert "G2/none/raw/none/none" in text


def test_in_a_pipe_every_line_is_whole() -> None:
    head, *lines = table(ITEMS, None)
    assert len(lines) == 4  # one per item and rule
    columns = len(head.split())
    assert [len(line.split()) for line in lines[:3]] == [columns] * 3
    assert [line.split()[0] for line in lines] == [
        "Vehicle.Speed", LONG, LONG, "Nobody.Knows",
    ]  # fmt: skip


def test_the_summary_tells_all_that_was_not_read_or_bound() -> None:
    out = io.StringIO()
    broken = replace(result(ITEM), error="drive.log: line 3: no frame", store="x.store")
    print_result(broken, out, None)
    text = out.getvalue()
    assert "to oem (CN): 2 rows in 2 messages, 300 bytes" in text
    assert "supplier (DE)" not in text
    assert "coverage 25.0%" in text
    assert "can7 (5 frames)" in text
    assert "3 bus errors" in text
    assert "kept in x.store" in text
    assert "breaks off" in text


def test_a_capture_without_items_says_so() -> None:
    out = io.StringIO()
    print_result(replace(result(), destinations=()), out, 100)
    assert "no item of the bindings" in out.getvalue()
    assert "nothing would leave" in out.getvalue()
