"""A tap on a serial line: what a master and its devices say there, as exchanges.

Listens only: an adapter that hears both directions, and never writes. The line outlives
its port, as an interface outlives its socket (``tap.py``).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import serial

from agent.adapters.modbus.tap import readable
from agent.adapters.reading import waits
from agent.errors import Unavailable
from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.rtu_line import RtuLine
from protocols.modbus.rtu_pairing import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agent.config import Modbus, Tap
    from agent.ports import Clock
    from agent.sources.losses import Losses
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.peers import Peers

READ_BYTES: Final = 4096
WAIT_S: Final = 1.0
LOST: Final = {"broken": "broken frames", "skipped": "bytes of no frame"}


class LineTap:
    """One serial line. ``open`` gives a source of exchanges, again and again."""

    def __init__(
        self, tap: Tap, links: Sequence[Modbus], peers: Peers, clock: Clock
    ) -> None:
        """The line's master is known by the tap's name, its devices by the port's."""
        self.name = tap.name
        self.is_open = False
        self.exchanges = 0
        self.own = 0
        self._tap = tap
        self.clock = clock
        numbers = [
            number
            for number, link in enumerate(links)
            if link.kind == "rtu" and link.device == tap.device
        ]
        link = numbers[0] if numbers else UNLISTED
        ends = Ends(peers.number(tap.name), peers.number(tap.device), link)
        self.line = RtuLine(tap.baudrate, ends)

    def open(self) -> LineTapSource:
        """Open the port; Unavailable says why that does not work now."""
        tap = self._tap
        try:
            port = serial.Serial(
                tap.device,
                baudrate=tap.baudrate,
                parity=tap.parity,
                stopbits=tap.stopbits,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError) as error:  # serial.SerialException is an OSError
            code = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(code) if code else type(error).__name__
            raise Unavailable(tap.device, reason) from None
        return LineTapSource(self, port)

    def taken(self) -> PairBatch | None:
        """Return what is over."""
        pairs = self.line.take()
        self.exchanges += 0 if pairs is None else len(pairs)
        return pairs

    def watch(self, losses: Losses) -> None:
        """Have every loss watched, by its cause."""

        def count(field: str) -> Callable[[], int]:
            return lambda: int(getattr(self.line.statistics, field))

        for field, cause in LOST.items():
            losses.watch(f"tap {self.name}: {cause}", count(field))


class LineTapSource:
    """An open port; ends when it is closed."""

    def __init__(self, tap: LineTap, port: serial.Serial) -> None:
        """Begin to listen."""
        self.name = tap.name
        self._tap = tap
        self._port = port
        self.turns = 0  # reads
        self._before = tap.line.statistics.lost
        tap.is_open = True

    async def batches(self) -> AsyncIterator[PairBatch]:
        """Yield exchanges; Unavailable where the port went away."""
        tap, clock = self._tap, self._tap.clock
        while self._port.is_open:
            due_ns = tap.line.due_ns
            wait_s = WAIT_S
            if due_ns is not None:
                wait_s = min(WAIT_S, max(0.0, (due_ns - clock.now_ns()) / 1e9))
            if await readable(self._port.fileno(), wait_s):
                tap.line.feed(self._read(), clock.now_ns())
            tap.line.idle(clock.now_ns())
            if (pairs := tap.taken()) is not None:
                yield pairs
            await asyncio.sleep(0)

    def _read(self) -> bytes:
        self.turns += 1
        try:
            data = os.read(self._port.fileno(), READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise Unavailable(self.name, error.strerror or "gone") from None
        if not data:
            raise Unavailable(self.name, "the line has gone")
        return data

    def is_due(self) -> bool:
        """Tell whether bytes wait to be read."""
        return self._port.is_open and waits(self._port.fileno())

    def lost(self) -> int:
        """Return exchanges that nobody took in time."""
        return self._tap.line.statistics.lost - self._before

    def close(self) -> None:
        """Close the port; what was under way on the line is given up."""
        self._tap.is_open = False
        self._port.close()
