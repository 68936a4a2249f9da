"""What is seen between others decodes like what is polled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from protocols.modbus.decode import ModbusPlan, compile_points, decode
from protocols.modbus.exchanges import Problem, Verdict
from protocols.modbus.pairs import decode_pairs, empty_exchanges
from protocols.modbus.plan import coalesce
from protocols.modbus.readings import readings
from protocols.modbus.values import Point
from protocols.modbus.words import packed
from protocols.samples import TransactionBatch
from tests.support.examples import upto
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from protocols.modbus.plan import Read

POINTS = [
    Point(0, 0, 1, 4, 0, "u16"), Point(1, 0, 1, 4, 1, "i32", "CDAB", scale=0.1),
    Point(2, 0, 1, 4, 3, "f32"), Point(3, 0, 1, 4, 5, "u64", "DCBA"),
    Point(4, 0, 1, 4, 9, "bit", bit=3), Point(5, 0, 1, 4, 10, "bcd16", "BADC"),
    Point(6, 0, 1, 4, 11, "i16", scale_factor=12), Point(7, 0, 1, 3, 2, "f64", "BADC"),
    Point(8, 0, 1, 0, 4, "coil"), Point(9, 0, 1, 0, 13, "coil"),
    Point(10, 0, 1, 1, 7, "coil"), Point(11, 0, 1, 4, 13, "string", length=4),
    Point(12, 0, 1, 4, 40, "u32", scale=2.0, offset=-7.0, invalid=5),
]  # fmt: skip
SECOND = 1_000_000_000


def packed_bits(states: list[int]) -> bytes:
    return np.packbits(states, bitorder="little").tobytes()


def answer(memory: dict[int, list[int]], request: bytes) -> bytes:
    """Return what a device holding ``memory`` answers to a read or write."""
    code = request[0]
    address, count = (int.from_bytes(request[i : i + 2], "big") for i in (1, 3))
    if code in {5, 6}:
        return request
    if code in {15, 16}:
        return request[:5]
    table = {1: 0, 2: 1, 3: 4, 4: 3, 23: 4}[code]
    held = memory[table][address : address + count]
    data = packed_bits(held) if table <= 1 else packed(tuple(held))
    return bytes([code, len(data)]) + data


def ask(code: int, address: int, count: int) -> bytes:
    return bytes([code]) + address.to_bytes(2, "big") + count.to_bytes(2, "big")


def write(
    pick: Random, memory: dict[int, list[int]], table: int, address: int, count: int
) -> bytes:
    """Return a request that writes what the device then holds."""
    held = memory[table][address : address + count]
    if table == 0:
        if count == 1:
            return ask(5, address, 0xFF00 * held[0])
        data = packed_bits(held)
        return ask(15, address, count) + bytes([len(data)]) + data
    if count == 1:
        return ask(6, address, held[0])
    data = packed(tuple(held))
    tail = ask(16, address, count)[1:] + bytes([len(data)]) + data
    return b"\x10" + tail if pick.random() < 0.5 else ask(23, 90, 2) + tail


def memory_of(pick: Random) -> dict[int, list[int]]:
    words = {t: [pick.getrandbits(16) for _ in range(100)] for t in (3, 4)}
    coils = {t: [pick.getrandbits(1) for _ in range(100)] for t in (0, 1)}
    words[4][12] = pick.choice([0, 2, 0xFFFF, 0x8000])  # a scale factor
    words[4][10] = pick.choice([0x1234, 0x12FA])
    words[4][13:17] = [0x4142, 0x4300, 0, 0]
    return words | coils


def decoded(plan: ModbusPlan, batch: TransactionBatch) -> list[tuple[object, ...]]:
    made = decode(plan, batch)
    s = made.samples
    values = s.value.view(np.int64)  # bit for bit
    rows = zip(s.item.tolist(), s.raw.tolist(), values.tolist(), strict=True)
    texts = zip(made.texts.item.tolist(), made.texts.text, strict=True)
    return sorted({*rows, *texts}, key=str)


def seen(rows: list[Row]) -> TransactionBatch:
    return readings(decode_pairs(pair_batch(rows)))


@given(st.randoms(use_true_random=True))
@settings(max_examples=upto(20), phases=[Phase.generate])
def test_what_others_read_and_write_decodes_to_what_a_poller_gets(pick: Random) -> None:
    memory = memory_of(pick)
    reads = coalesce(POINTS, (), period_ns=SECOND)
    asked = [ask(r.function, r.address, r.count) for r in reads]
    polled = [Row(a, answer(memory, a), time_ns=i) for i, a in enumerate(asked)]
    wanted = decoded(compile_points(POINTS), poller(reads, memory))
    assert len(wanted) >= len(POINTS) - 3  # BCD, a factor, "not implemented"
    assert decoded(compile_points(POINTS), seen(polled)) == wanted
    # The same registers, read in other pieces, or written by a master.
    others = []
    for table, address, end in [
        (4, 0, 12), (4, 12, 17), (4, 40, 42), (3, 1, 6), (0, 4, 5), (0, 12, 20),
        (1, 0, 9),
    ]:  # fmt: skip
        start, count = address, end - address
        if table in {0, 4} and pick.random() < 0.6:
            request = write(pick, memory, table, start, count)
        else:
            request = ask({0: 1, 1: 2, 3: 4, 4: 3}[table], start, count)
        others.append(Row(request, answer(memory, request), time_ns=len(others)))
    assert decoded(compile_points(POINTS), seen(others)) == wanted


def poller(reads: Sequence[Read], memory: dict[int, list[int]]) -> TransactionBatch:
    """Return what a poller hands over, as ``poll`` makes it."""
    values = [memory[r.table][r.address : r.address + r.count] for r in reads]
    return TransactionBatch(
        time_ns=np.arange(len(reads), dtype=np.int64),
        link=np.array([r.link for r in reads], np.uint8),
        unit=np.array([r.unit for r in reads], np.uint8),
        function=np.array([r.function for r in reads], np.uint8),
        table=np.array([r.table for r in reads], np.uint8),
        address=np.array([r.address for r in reads], np.uint16),
        count=np.array([r.count for r in reads], np.uint16),
        is_write=np.zeros(len(reads), np.bool_),
        exception=np.zeros(len(reads), np.uint8),
        offset=np.cumsum([0, *map(len, values)], dtype=np.int64),
        values=np.array([v for row in values for v in row], np.uint16),
    )


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def listed(batch: TransactionBatch) -> list[tuple[object, ...]]:
    """Return (function, table, address, values) of every row."""
    return [
        (f, t, a, batch.values[batch.offset[i] : batch.offset[i + 1]].tolist())
        for i, (f, t, a) in enumerate(
            zip(
                batch.function.tolist(), batch.table.tolist(), batch.address.tolist(),
                strict=True,
            )
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "reply", "wanted"),
    [
        ("03 0005 0002", "03 04 0001 0002", [(3, 4, 5, [1, 2])]),
        ("04 0005 0001", "04 02 0001", [(4, 3, 5, [1])]),
        ("01 0005 0003", "01 01 05", [(1, 0, 5, [1, 0, 1])]),
        ("02 0005 0003", "02 01 05", [(2, 1, 5, [1, 0, 1])]),
        ("05 0005 ff00", "05 0005 ff00", [(5, 0, 5, [1])]),
        ("06 0005 0007", "06 0005 0007", [(6, 4, 5, [7])]),
        ("0f 0005 0003 01 05", "0f 0005 0003", [(15, 0, 5, [1, 0, 1])]),
        ("10 0005 0001 02 0007", "10 0005 0001", [(16, 4, 5, [7])]),
        ("17 0005 0001 0006 0001 02 0009", "17 02 0003",
         [(23, 4, 6, [9]), (23, 4, 5, [3])]),
        # What says nothing of a register's value.
        ("16 0005 00f2 0025", "16 0005 00f2 0025", []),
        ("18 0005", "18 0004 0001 0007", []),
        ("14 07 06 0004 0001 0001", "14 04 03 06 0007", []),
        ("07", "07 6d", []),
        ("03 0005 0001", "83 02", []),
        ("06 0005 0007", "86 02", []),
        ("06 0005 0007", "06 0005 0008", []),  # confirms something else
        ("03 0005 0001", "03 04 0001 0002", []),
    ],
)  # fmt: skip
def test_which_exchanges_say_what_a_register_holds(
    request_: str, reply: str, wanted: list[tuple[object, ...]]
) -> None:
    assert listed(seen([Row(h(request_), h(reply))])) == wanted
    assert listed(seen([Row(h(request_), None)])) == []
    assert listed(seen([Row(None, h(reply), problems=Problem.UNSOLICITED)])) == []
    odd = Row(h(request_), h(reply), problems=Problem.REPEATED)
    assert listed(seen([odd])) == []


def test_refused_in_a_dry_run_came_through_and_is_a_reading() -> None:
    write_ = h("06 0005 0007")
    refused = int(Verdict.REFUSED)
    batch = seen([Row(write_, write_, verdict=refused), Row(write_, None, verdict=2)])
    assert listed(batch) == [(6, 4, 5, [7])]


def test_times_are_the_replies_and_in_order() -> None:
    read, reply = h("03 0005 0001"), h("03 02 0001")
    pairs = pair_batch([Row(read, reply, time_ns=t) for t in (10, 20, 30)])
    late = np.array([900, 50, 60])
    x = decode_pairs(pairs)
    object.__setattr__(x, "reply_ns", late)
    batch = readings(x)
    assert batch.time_ns.tolist() == [50, 60, 900]
    assert not batch.is_write.any()
    assert len(readings(empty_exchanges())) == 0
