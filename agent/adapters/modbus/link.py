"""One connection to one Modbus device or line, over pymodbus; it never writes.

pymodbus's own retries and reconnects are off: how often a device is bothered is decided
in one place (``modbus_schedule``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from agent.errors import Unavailable
from protocols.modbus.values import BIT_TABLES

if TYPE_CHECKING:
    from pymodbus.pdu import ModbusPDU

    from protocols.modbus.plan import Read

Client: TypeAlias = AsyncModbusTcpClient | AsyncModbusSerialClient

# A TCP device that leaves so many requests in a row unanswered gets a new connection.
SILENCES_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """How to reach a device, or a line of devices, and how gently to ask."""

    name: str
    kind: Literal["tcp", "rtu", "rtu-tcp"] = "tcp"
    host: str = "127.0.0.1"
    port: int = 502
    device: str = ""  # serial device, kind rtu
    baudrate: int = 9600
    parity: Literal["N", "E", "O"] = "E"  # the serial line specification's default
    stopbits: Literal[1, 2] = 1
    timeout_s: float = 1.0
    pause_s: float = 0.01  # silence between a reply and the next request
    period_ns: int = 1_000_000_000  # for points that name none


@dataclass(frozen=True, slots=True)
class Reply:
    """What a device answered: registers, or bits as 0 and 1; or an exception code."""

    values: tuple[int, ...]
    exception: int = 0


class Silent(Unavailable):
    """No answer in time, or a broken connection."""


class Malformed(Unavailable):
    """An answer that does not fit the request."""


def _forgive(client: Client) -> None:
    """Have undecodable answers dropped: the request then ends in its timeout.

    pymodbus raises from the transport's callback instead, where asyncio answers with a
    traceback in the log for each such packet.
    """
    handle = client.ctx.framer.handleFrame

    def handle_or_drop(
        data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        try:
            return handle(data, exp_devid, exp_tid)
        except ModbusException:
            return len(data), None

    client.ctx.framer.handleFrame = handle_or_drop  # type: ignore[method-assign]  # no hook for it


class Link:
    """The connection. One request at a time, which is all that RTU knows."""

    def __init__(self, config: LinkConfig) -> None:
        """Keep the configuration; ``connect`` connects."""
        self._config = config
        self._client: Client | None = None
        self._silences = 0
        # pymodbus logs packets in hexadecimal at DEBUG: values must not leak sideways.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

    @property
    def is_connected(self) -> bool:
        """Tell whether there is a connection, as far as we know."""
        return self._client is not None and bool(self._client.connected)

    async def connect(self) -> None:
        """Connect anew; Unavailable where that fails within the timeout."""
        self.close()
        client = self._make()
        _forgive(client)
        try:
            connected = await client.connect()
        except (OSError, ModbusException, ValueError) as error:  # serial: both of them
            client.close()
            raise Unavailable(self._config.name, type(error).__name__) from None
        if not connected:
            client.close()
            raise Unavailable(self._config.name, "no connection")
        self._client = client
        self._silences = 0

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _make(self) -> Client:
        config = self._config
        if config.kind == "rtu":
            return AsyncModbusSerialClient(
                config.device,
                framer=FramerType.RTU,
                baudrate=config.baudrate,
                parity=config.parity,
                stopbits=config.stopbits,
                timeout=config.timeout_s,
                retries=0,
                reconnect_delay=0,
                name=config.name,
            )
        return AsyncModbusTcpClient(
            config.host,
            port=config.port,
            framer=FramerType.SOCKET if config.kind == "tcp" else FramerType.RTU,
            timeout=config.timeout_s,
            retries=0,
            reconnect_delay=0,
            name=config.name,
        )

    async def read(self, read: Read) -> Reply:
        """Send one read request. Silent or Malformed where no usable answer came."""
        client = self._client
        if client is None:
            raise Silent(self._config.name, "not connected")
        try:
            answer = await self._ask(client, read)
        except (ModbusException, OSError, ValueError) as error:
            self._was_silent()
            raise Silent(self._config.name, type(error).__name__) from None
        self._silences = 0
        if answer.isError():
            return Reply((), answer.exception_code or 0xFF)
        found = answer.bits if read.table in BIT_TABLES else answer.registers
        values = tuple(int(value) for value in found)
        if read.table in BIT_TABLES:
            values = values[: read.count]  # the last byte is padded (V1.1b3, 6.1)
        if answer.function_code != read.function or len(values) != read.count:
            self.close()  # out of step: what else is on its way is not ours either
            raise Malformed(self._config.name, "an answer to something else")
        return Reply(values)

    def _was_silent(self) -> None:
        # RTU has no transaction number: an answer that comes too late would be taken
        # for the answer to the next request. A new connection cannot deliver it.
        self._silences += 1
        if self._config.kind != "tcp" or self._silences >= SILENCES_MAX:
            self.close()

    @staticmethod
    async def _ask(client: Client, read: Read) -> ModbusPDU:
        # The four functions that read, and no other: this class cannot write.
        ask = {
            1: client.read_coils,
            2: client.read_discrete_inputs,
            3: client.read_holding_registers,
            4: client.read_input_registers,
        }[read.function]
        return await ask(read.address, count=read.count, device_id=read.unit)
