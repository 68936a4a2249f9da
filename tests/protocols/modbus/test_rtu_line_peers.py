"""libmodbus's master and device on a line: what it means is what we read of it."""

from __future__ import annotations

import pytest

from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.readings import readings
from protocols.modbus.rtu_line import RtuLine
from protocols.modbus.rtu_pairing import Ends
from tests.support.libmodbus import LibError, needs_libmodbus
from tests.support.libmodbus_line import BAUD, Line, LineDevice, LineMaster

MS = 1_000_000


@needs_libmodbus
@pytest.mark.parametrize("pause_ns", [0, 5 * MS], ids=["hidden silences", "silences"])
def test_libmodbus_on_a_line(pause_ns: int) -> None:
    line = Line()
    LineDevice(line.device)
    with LineMaster(line.master) as master:
        master.write(10, [7, 8, 9])
        assert master.registers(9, 4) == [0, 7, 8, 9]
        master.write_coil(3, 1)
        assert master.coils(0, 10) == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        master.mask(10, 0xFFF0, 0x0005)
        assert master.write_read(20, [1, 2], 10, 1) == [5]
        with pytest.raises(LibError) as refused:
            master.registers(99, 2)
        assert refused.value.exception == 2
    ear, now_ns = RtuLine(BAUD, Ends(1, 1, UNLISTED)), 0
    for piece in line.said:
        now_ns += pause_ns + int(len(piece) * 11e9 / BAUD)
        ear.feed(piece, now_ns)
    ear.close()
    assert (ear.statistics.broken, ear.statistics.skipped) == (0, 0)
    pairs = ear.take()
    assert pairs is not None
    x = decode_pairs(pairs)
    assert not x.problems.any()
    assert x.function.tolist() == [16, 3, 5, 1, 22, 23, 3]
    assert x.exception.tolist() == [0, 0, 0, 0, 0, 0, 2]
    assert x.address.tolist() == [10, 9, 3, 0, 10, 10, 99]
    assert x.write_values.tolist() == [7, 8, 9, 1, 0xFFF0, 5, 1, 2]
    assert x.read_values.tolist() == [0, 7, 8, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5]
    said = readings(x)
    assert said.function.tolist() == [16, 3, 5, 1, 23, 23]
    assert said.address.tolist() == [10, 9, 3, 0, 20, 10]
