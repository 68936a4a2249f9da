"""What a capture tells of a plant, against what the simulation says it is."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from protocols.modbus.exchanges import Problem, Verdict
from protocols.modbus.inventory import Inventory
from protocols.modbus.pairs import concat_exchanges, decode_pairs
from tests.support.network_pairs import network_pairs
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from protocols.modbus.exchanges import ExchangeBatch
    from tests.support.network_pairs import Truth

S = 1_000_000_000


@pytest.fixture(scope="module")
def plant() -> tuple[Inventory, ExchangeBatch, Truth]:
    pairs, truth = network_pairs("plant-network-short", 70.0)
    exchanges = decode_pairs(pairs)
    inventory = Inventory()
    inventory.add(exchanges)
    return inventory, exchanges, truth


def test_every_poll_of_the_scenario_with_its_period(
    plant: tuple[Inventory, ExchangeBatch, Truth],
) -> None:
    inventory, _, truth = plant
    hosts = {plc.name: plc.address for plc in truth.scenario.plcs}
    declared = {
        (client.address, hosts[poll.to], poll.unit, poll.function, poll.address,
         poll.count): float(poll.every[:-2]) / 1e3
        if poll.every.endswith("ms")
        else float(poll.every[:-1])
        for client in truth.scenario.clients
        for poll in client.polls
    }  # fmt: skip
    name = truth.peers.name
    seen = {
        (name(key.client), name(key.server), key.unit, key.function, key.address,
         key.count): ask.period_ns / S
        for key, ask in inventory.asks.items()
        if ask.period_ns
    }  # fmt: skip
    assert seen.keys() == declared.keys()
    for key, period in declared.items():
        assert seen[key] == pytest.approx(period, rel=0.02), key


def test_units_functions_and_answers_are_those_of_the_truth(
    plant: tuple[Inventory, ExchangeBatch, Truth],
) -> None:
    inventory, _, truth = plant
    hosts = {plc.name: plc.address for plc in truth.scenario.plcs}
    told: dict[tuple[str, int], dict[int, int]] = {}
    for row in truth.rows:
        functions = told.setdefault((hosts[row.plc], row.unit), {})
        functions[row.pdu[0]] = functions.get(row.pdu[0], 0) + 1
    assert told == {
        (truth.peers.name(server), unit): dict(seen.functions)
        for (server, unit), seen in inventory.units.items()
    }
    tank = inventory.units[truth.peers.number("10.20.0.11"), 1]
    assert (tank.texts[0], tank.texts[1]) == (b"Sluicegate simulator", b"SIM-TANK")
    assert tank.requests == tank.answered
    assert inventory.asks_left_out == inventory.registers_left_out == 0


def test_batches_in_pieces_give_the_same(
    plant: tuple[Inventory, ExchangeBatch, Truth],
) -> None:
    whole, _, truth = plant
    pairs, _ = network_pairs("plant-network-short", 70.0)
    parts = Inventory()
    edges = [0, 1, 2, 300, 301, len(pairs)]
    for begin, end in itertools.pairwise(edges):
        rows = slice(begin, end)
        columns = {
            name: getattr(pairs, name)[rows]
            for name in type(pairs).__slots__
            if name != "chars"
        }
        parts.add(decode_pairs(type(pairs)(chars=pairs.chars, **columns)))
    assert parts.asks == whole.asks
    assert parts.units == whole.units
    assert parts.blocks() == whole.blocks()
    assert (parts.first_ns, parts.last_ns) == (whole.first_ns, whole.last_ns)
    assert truth.peers.names[1:]


def read(address: int, *values: int, function: int = 3) -> Row:
    body = b"".join(struct.pack(">H", value) for value in values)
    return Row(
        struct.pack(">BHH", function, address, len(values)),
        bytes([function, len(body)]) + body,
    )


def write(address: int, value: int, **more: int) -> Row:
    pdu = struct.pack(">BHH", 6, address, value)
    return Row(pdu, pdu, **more)


def surveyed(*rows: Row, **bounds: int) -> Inventory:
    inventory = Inventory(**bounds)
    inventory.add(concat_exchanges([decode_pairs(pair_batch(rows))]))
    return inventory


def test_registers_have_counts_and_ranges_over_reads_and_confirmed_writes() -> None:
    inventory = surveyed(read(10, 5, 6), read(11, 9, 2), write(10, 500))
    (block,) = inventory.blocks()
    assert (block.table, block.first, block.last) == (4, 10, 12)
    told = inventory.registers
    assert told.reads.tolist() == [1, 2, 1]
    assert told.writes.tolist() == [1, 0, 0]
    assert told.low.tolist() == [5, 6, 2]
    assert told.high.tolist() == [500, 9, 2]


def test_what_was_refused_or_unanswered_or_wrong_is_no_value() -> None:
    refused = write(1, 7, verdict=int(Verdict.REFUSED))
    silent = Row(struct.pack(">BHH", 6, 2, 7), None, int(Problem.UNANSWERED))
    exception = Row(struct.pack(">BHH", 3, 3, 1), b"\x83\x02")
    wrong = Row(struct.pack(">BHH", 3, 4, 2), b"\x03\x02\x00\x01")
    inventory = surveyed(refused, silent, exception, wrong)
    assert len(inventory.registers) == 0
    (seen,) = inventory.units.values()
    assert (seen.requests, seen.exceptions) == (4, {2: 1})
    assert seen.problems == {"unanswered": 1, "reply_length": 1}


def test_malformed_requests_and_replies_to_nothing_are_counted_and_not_asked() -> None:
    inventory = surveyed(
        Row(b"\x03\x00\x00\x00\x7e", None),  # 126 registers
        Row(None, b"\x03\x02\x00\x01", int(Problem.UNSOLICITED)),
    )
    assert not inventory.asks
    (seen,) = inventory.units.values()
    assert (seen.requests, seen.malformed) == (1, 1)
    assert seen.problems["unsolicited"] == 1


def test_bounds_hold_and_what_is_left_out_is_counted() -> None:
    rows = [read(address, 1) for address in range(5)]
    inventory = surveyed(*rows, asks_max=3, registers_max=2)
    assert (len(inventory.asks), inventory.asks_left_out) == (3, 2)
    assert (len(inventory.registers), inventory.registers_left_out) == (2, 3)


def test_what_comes_at_no_steady_interval_has_no_period() -> None:
    times = [0, 1, 5, 30, 41, 95]
    rows = [Row(b"\x03\x00\x00\x00\x01", b"\x03\x02\0\0", time_ns=t * S) for t in times]
    (ask,) = surveyed(*rows).asks.values()
    assert ask.period_ns == 0
    assert (ask.requests, ask.first_ns, ask.last_ns) == (6, 0, 95 * S)


def test_a_poll_keeps_its_period_over_a_pause() -> None:
    times = np.append(np.arange(20), 1000 + np.arange(20)).tolist()
    rows = [Row(b"\x03\x00\x00\x00\x01", b"\x03\x02\0\0", time_ns=t * S) for t in times]
    (ask,) = surveyed(*rows).asks.values()
    assert ask.period_ns == S
