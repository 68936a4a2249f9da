"""A learned draft: refused as it is; loads when a person agrees; allows no write."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.errors import PolicyError
from policies.files import load_text
from policies.firewall.learn import CONFIRM, Draft, Seen, draft, without_marks
from policies.parse import parse_bindings
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.inventory import Inventory
from protocols.modbus.pairs import decode_pairs
from tests.support.examples import upto
from tests.support.network_pairs import network_pairs
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.firewall.tables import CompiledFirewall
    from protocols.modbus.exchanges import ExchangeBatch

NAMES = ["others", "10.0.0.7", "10.0.0.20"]
LINKS = ("plc1",)


def learned(exchanges: ExchangeBatch, names: Sequence[str] = NAMES) -> Draft:
    inventory = Inventory()
    inventory.add(exchanges)
    return draft(Seen(inventory, names, {2: "plc1"}, "a.pcap"))


def loaded(made: Draft, links: tuple[str, ...] = LINKS) -> CompiledFirewall:
    """Load what a person agreed to, as enforced: lint finds no error in it."""
    text = without_marks(made.policy).replace("mode: dry-run", "mode: enforce")
    bindings = parse_bindings(made.bindings.encode(), "b.yaml")
    found = load_text(text.encode(), "p.yaml", [bindings], links=links)
    assert not found.errors
    firewall = found.compiled.policy.firewall
    assert firewall is not None
    return firewall


def judged(
    made: Draft, exchanges: ExchangeBatch, names: Sequence[str], links: tuple[str, ...]
) -> ExchangeBatch:
    judge = Judge(loaded(made, links), Memory())
    return judge.judge_batch(exchanges, names, clock_ok=True)


def test_a_plant_is_learned_but_its_writes() -> None:
    pairs, truth = network_pairs("plant-network-short")
    exchanges = decode_pairs(pairs)
    inventory = Inventory()
    inventory.add(exchanges)
    links = {truth.peers.number(plc.address): plc.name for plc in truth.scenario.plcs}
    made = draft(Seen(inventory, truth.peers.names, links, "a.pcap"))
    verdicts = judged(made, exchanges, truth.peers.names, tuple(truth.links))
    allowed = verdicts.verdict == Verdict.ALLOWED
    assert np.array_equal(allowed, ~exchanges.is_write)
    assert (made.clients, made.writes, made.unanswered, made.left_out) == (3, 2, 0, {})
    for client in truth.scenario.clients:
        assert f'"{client.address}"{CONFIRM}' in made.policy
    with pytest.raises(PolicyError, match=r"confirm: no such field"):
        load_text(made.policy.encode(), "p.yaml")


def test_each_mark_must_go() -> None:
    made = learned(decode_pairs(pair_batch([read(3, 0, 1)])))
    assert made.policy.count(CONFIRM) == 2
    with pytest.raises(PolicyError, match="confirm"):
        load_text(made.policy.replace(CONFIRM, "", 1).encode(), "p.yaml")


def read(function: int, address: int, count: int, unit: int = 1) -> Row:
    size = (count + 7) // 8 if function <= 2 else 2 * count
    request = struct.pack(">BHH", function, address, count)
    return Row(request, bytes([function, size]) + bytes(size), unit=unit)


def write(function: int, address: int, count: int, unit: int = 1) -> Row:
    head = struct.pack(">BHH", function, address, count)
    if function == 6:
        return Row(head, head, unit=unit)
    return Row(head + bytes([2 * count]) + bytes(2 * count), head, unit=unit)


def other(pdu: bytes, reply: bytes) -> Row:
    return Row(pdu, reply)


PLACES = {
    "address": st.integers(0, 60_000),
    "count": st.integers(1, 100),
    "unit": st.sampled_from([0, 1, 2, 255]),
}
ROWS = st.one_of(
    st.builds(read, st.sampled_from([1, 2, 3, 4]), **PLACES),
    st.builds(write, st.sampled_from([6, 16]), **PLACES),
    st.sampled_from(
        [
            other(b"\x08\x00\x00\x12\x34", b"\x08\x00\x00\x12\x34"),
            other(b"\x08\x00\x04\x00\x00", b"\x08\x00\x04\x00\x00"),  # listen only
            other(b"\x11", b"\x11\x02\x41\xff"),
            other(b"\x2b\x0e\x01\x00", b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x01A"),
            other(b"\x07", b"\x07\x00"),
            other(b"\x5a\x00\x01", b"\x5a\x00\xfe"),  # UMAS
            other(b"\x18\x00\x05", b"\x18\x00\x04\x00\x01\x00\x07"),
            other(
                b"\x17\x00\x01\x00\x01\x00\x02\x00\x01\x02\x00\xff",
                b"\x17\x02\x00\xaa",
            ),
        ]
    ),
)


@settings(max_examples=upto(12))
@given(st.lists(ROWS, min_size=1, max_size=30))
def test_every_answered_read_is_allowed_and_no_write(rows: list[Row]) -> None:
    exchanges = decode_pairs(pair_batch(rows))
    verdicts = judged(learned(exchanges), exchanges, NAMES, LINKS)
    refused = verdicts.verdict == Verdict.REFUSED
    assert np.array_equal(refused, exchanges.is_write)
    assert set(verdicts.reason[refused].tolist()) <= {int(Reason.NO_RULE)}


PDUS = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.tuples(st.sampled_from([3, 8, 17, 20, 24, 43]), st.binary(max_size=8)).map(
        lambda parts: bytes([parts[0]]) + parts[1]
    ),
)


@settings(max_examples=upto(12))
@given(st.lists(st.tuples(PDUS, st.one_of(st.none(), PDUS)), min_size=1, max_size=20))
def test_any_bytes_give_a_draft_that_loads_and_allows_no_write(
    pdus: list[tuple[bytes, bytes | None]],
) -> None:
    rows = [Row(pdu, reply) for pdu, reply in pdus]
    rows += [Row(pdu, pdu) for pdu, _ in pdus]
    exchanges = decode_pairs(pair_batch(rows))
    verdicts = judged(learned(exchanges), exchanges, NAMES, LINKS)
    allowed = verdicts.verdict == Verdict.ALLOWED
    assert not (allowed & (exchanges.is_write | exchanges.malformed)).any()


def test_what_was_never_answered_is_told_and_not_learned() -> None:
    exception = Row(struct.pack(">BHH", 3, 7, 1), b"\x83\x02")
    silent = Row(b"\x11", None, 1 << 10)
    made = learned(decode_pairs(pair_batch([exception, silent])))
    assert (made.rules, made.unanswered) == (0, 2)
    assert "# 10.0.0.7 asked plc1 unit 1: read-holding-registers [7, 7], 1 x" in (
        made.policy
    )
    assert loaded(made).rules == ()


def test_names_of_lines_and_addresses_of_any_kind_stay_texts() -> None:
    names = ["others", 'line "7"\n: {x}', "fe80::1%eth0", "fe80--1-eth0"]
    rows = [read(3, 0, 1), Row(b"\x11", b"\x11\x01A", client=3)]
    exchanges = decode_pairs(pair_batch(rows))
    inventory = Inventory()
    inventory.add(exchanges)
    made = draft(Seen(inventory, names, {2: "on"}, "a\n.pcap"))
    text = without_marks(made.policy)
    assert '"line \\"7\\"\\\\n: {x}"' in text
    assert 'to: "on"' in text
    assert "\n.pcap" not in text
    # That such an address is none is for the compiler to say: at its line.
    with pytest.raises(PolicyError, match="no address and no network"):
        load_text(text.encode(), "p.yaml", links=("on",))


def test_written_values_are_told_only_where_that_is_asked() -> None:
    row = Row(b"\x06\x00\x05\x30\x39", b"\x06\x00\x05\x30\x39")
    inventory = Inventory()
    inventory.add(decode_pairs(pair_batch([row])))
    quiet = draft(Seen(inventory, NAMES, {2: "plc1"}, "a.pcap"))
    told = draft(Seen(inventory, NAMES, {2: "plc1"}, "a.pcap", values=True))
    assert "12345" not in quiet.policy + quiet.bindings
    assert "registers held 12345 to 12345" in told.policy


def test_a_sunspec_map_is_pointed_at() -> None:
    body = struct.pack(">HH", 0x5375, 0x6E53)
    row = Row(struct.pack(">BHH", 3, 40_000, 2), b"\x03\x04" + body)
    made = learned(decode_pairs(pair_batch([row])))
    (line,) = [line for line in made.bindings.splitlines() if "SunSpec" in line]
    assert "address: 40000," in line


def test_who_is_beyond_the_bounds_is_counted() -> None:
    rows = [read(3, 0, 1), Row(b"\x11", b"\x11\x01A", client=0)]
    made = learned(decode_pairs(pair_batch(rows)))
    assert made.left_out == {"requests of too many addresses": 1}
    assert "# LEFT OUT: 1 requests of too many addresses" in made.policy
