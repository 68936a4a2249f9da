"""A client's connection for real: bound to its own address, one request at a time.

Requests of attacks need not wait for the answer. What is sent and what comes back is
kept as the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from firmware_sim.network.asks import Transaction
from firmware_sim.network.pdus import MBAP, adu, asked
from firmware_sim.network.simulation import UNANSWERED, unknown_function
from protocols.modbus.exchanges import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware_sim.network.asks import Ask

TIMEOUT_S: Final = 1.0
CONNECT_S: Final = 2.0
QUEUE_MAX: Final = 256


class Line:
    """One connection of one host to one PLC; ``put`` takes what is to be sent."""

    def __init__(
        self, local: str, place: tuple[str, int], now_ns: Callable[[], int]
    ) -> None:
        """Connect from ``local`` to ``place`` when there is something to send."""
        self.rows: list[Transaction] = []
        self.skipped = 0
        self._local = local
        self._place = place
        self._now_ns = now_ns
        self._queue: asyncio.Queue[Ask] = asyncio.Queue(QUEUE_MAX)
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._pending: dict[int, tuple[Transaction, asyncio.Event]] = {}
        self._tid = 0
        self._port = 0
        self._held = b""

    def put(self, ask: Ask) -> None:
        """Take a request; one too many is dropped and counted."""
        try:
            self._queue.put_nowait(ask)
        except asyncio.QueueFull:
            self.skipped += 1

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                ask = await self._queue.get()
                try:
                    await self._send(ask)
                except OSError:
                    self.skipped += 1
                    await self._hang_up()
        finally:
            await self._hang_up()

    async def _send(self, ask: Ask) -> None:
        if self._writer is None:
            await self._connect()
        assert self._writer is not None
        if ask.tid is None:
            self._tid = (self._tid + 1) & 0xFFFF
        tid = self._tid if ask.tid is None else ask.tid
        row = Transaction(
            self._now_ns(), ask.source, ask.plc, self._port, ask.unit, tid,
            asked(ask.pdu), ask.attack,
            ask.problems | unknown_function(ask) | UNANSWERED, pdu=ask.pdu,
        )  # fmt: skip
        self.rows.append(row)
        answered = asyncio.Event()
        self._pending[tid] = (row, answered)
        self._held += adu(tid, ask.unit, ask.pdu, ask.protocol)
        if ask.joined:
            return
        self._writer.write(self._held)
        self._held = b""
        await self._writer.drain()
        if ask.waits:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), TIMEOUT_S)

    async def _connect(self) -> None:
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(*self._place, local_addr=(self._local, 0)),
                CONNECT_S,
            )
        except TimeoutError:
            raise ConnectionError from None
        self._writer = writer
        self._port = int(writer.get_extra_info("sockname")[1])
        self._listener = asyncio.create_task(self._listen(reader), name="listen")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                tid, _, size, unit = MBAP.unpack(await reader.readexactly(7))
                if not 2 <= size <= 254:
                    break
                self._heard(tid, unit, await reader.readexactly(size - 1))
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for _, answered in self._pending.values():
            answered.set()  # nothing will come any more

    def _heard(self, tid: int, unit: int, pdu: bytes) -> None:
        now = self._now_ns()
        found = self._pending.pop(tid, None)
        if found is None:
            last = self.rows[-1]
            row = Transaction(
                now, last.source, last.plc, self._port, unit, tid,
                asked(bytes((pdu[0] & 0x7F,))), last.attack,
                int(Problem.UNSOLICITED), now, has_request=False, reply=pdu,
            )  # fmt: skip
            self.rows.append(row)
            return
        row, answered = found
        row.reply_ns = now
        row.reply = pdu
        row.problems &= ~UNANSWERED
        if pdu[0] & 0x80 and len(pdu) > 1:
            row.exception = pdu[1]
        answered.set()

    async def _hang_up(self) -> None:
        self._pending.clear()
        self._held = b""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
            self._listener = None
