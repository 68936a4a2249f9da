"""Exchanges seen between others -> transactions, as if we had polled them.

What a master read, and what a device confirmed to have written, say what the registers
hold; from here on they go the way of polled ones (``decode``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus.functions import (
    READ_COILS,
    READ_DISCRETE,
    READ_HOLDING,
    READ_INPUT,
    READ_WRITE,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_REGISTER,
    WRITE_REGISTERS,
)
from protocols.modbus.ragged import offsets
from protocols.samples import TransactionBatch

if TYPE_CHECKING:
    from protocols.modbus.exchanges import ExchangeBatch

# Not 20 (a file), 24 (a queue: its values lie elsewhere), 22 (what it leaves depends on
# what was there).
_READS: Final = np.isin(
    np.arange(256), [READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, READ_WRITE]
)
_WRITES: Final = np.isin(
    np.arange(256),
    [WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, READ_WRITE],
)


def readings(exchanges: ExchangeBatch) -> TransactionBatch:
    """Return what the exchanges say of registers and coils, in order of the replies.

    Only exchanges with a reply that fits and is no exception; so nothing of a request
    that was refused and kept back. A reading's time is its reply's. Of a write it is
    what was written, and so no write (``is_write`` is False); function 23 gives two,
    its write first (V1.1b3 clause 6.17).
    """
    x = exchanges
    good = (x.problems == 0) & (x.exception == 0) & (x.reply_ns != 0)
    reads = np.flatnonzero(good & _READS[x.function])
    writes = np.flatnonzero(good & _WRITES[x.function])
    key = np.concatenate((writes << 1, reads << 1 | 1))
    key.sort()
    key = key[np.argsort(x.reply_ns[key >> 1], kind="stable")]
    row, is_read = key >> 1, key & 1 == 1
    start = np.where(is_read, x.read_offset[row], x.write_offset[row])
    end = np.where(is_read, x.read_offset[row + 1], x.write_offset[row + 1])
    count = end - start
    offset = offsets(count)
    start += np.where(is_read, len(x.write_values), 0)  # read ones lie behind
    where = np.repeat(start - offset[:-1], count)
    where += np.arange(len(where))
    return TransactionBatch(
        time_ns=x.reply_ns[row],
        link=x.link[row],
        unit=x.unit[row],
        function=x.function[row],
        table=x.table[row],
        address=np.where(is_read, x.address[row], x.write_address[row]),
        count=np.where(is_read, x.count[row], x.write_count[row]),
        is_write=np.zeros(len(row), np.bool_),
        exception=np.zeros(len(row), np.uint8),
        offset=offset,
        values=np.concatenate((x.write_values, x.read_values))[where],
    )
