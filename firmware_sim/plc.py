"""The PLC: pymodbus' TCP server with the tank line behind its registers.

Before each answer the tables are filled with the plant's image, so what a client reads
is one state of the plant. Faults of the scenario act here: silence, delay, exceptions,
one connection only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pymodbus.constants import ExcCodes
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware_sim.errors import OutputError
from firmware_sim.inverter import BASE, Inverter
from firmware_sim.plant_map import POINTS
from firmware_sim.registers import apply_write, image
from firmware_sim.schema import NS, nanoseconds
from protocols.modbus.functions import FUNCTIONS

if TYPE_CHECKING:
    from firmware_sim.plant import Plant
    from firmware_sim.registers import RegisterPoint

BEHIND_NS_MAX: Final = NS  # after a longer pause the plant does not race to catch up


def pack_bits(bits: list[int]) -> list[int]:
    """Return bits as 16-bit words, bit 0 the least significant (as pymodbus)."""
    return [
        sum(bit << place for place, bit in enumerate(bits[at : at + 16]))
        for at in range(0, len(bits), 16)
    ]


class _Handler(ServerRequestHandler):
    """A connection; with the fault ``one-connection`` the second one is closed."""

    def callback_connected(self) -> None:
        super().callback_connected()
        owner = self.server
        if isinstance(owner, _Server) and owner.refuses_more():
            self.close()


class _Server(ModbusTcpServer):
    plc: Plc

    def callback_new_connection(self) -> ServerRequestHandler:
        return _Handler(  # type: ignore[no-untyped-call]  # pymodbus
            self, self.trace_packet, self.trace_pdu, self.trace_connect
        )

    def refuses_more(self) -> bool:
        single = self.plc.fault("one-connection") is not None
        return single and len(self.active_connections) > 1


class Plc:
    """A plant behind a Modbus TCP port. Only ``advance`` moves the plant."""

    def __init__(
        self, plant: Plant, points: tuple[RegisterPoint, ...] = POINTS
    ) -> None:
        """Serve ``points`` of ``plant``; ``start`` opens the port."""
        self.plant = plant
        self.points = points
        self.requests = 0
        self.port = 0
        self._server: _Server | None = None

    def fault(self, mode: str) -> float | None:
        """Return delay in seconds or exception code of a fault that holds; or None."""
        for fault in self.plant.faults():
            if fault.mode == mode:
                if mode == "slow":
                    return nanoseconds(fault.delay) / NS
                return float(fault.code)
        return None

    async def _misbehave(self) -> ExcCodes | None:
        """Count a request, and be slow or refuse where a fault says so."""
        self.requests += 1
        delay = self.fault("slow")
        if delay is not None:
            await asyncio.sleep(delay)
        code = self.fault("exception")
        return None if code is None else ExcCodes(int(code))

    def inverter(self) -> Inverter | None:
        """Return the inverter as it is now."""
        spec = self.plant.scenario.inverter
        return None if spec is None else Inverter(spec, self.plant.time_ns / NS)

    async def _inverter_action(
        self,
        _function: int,
        _start: int,
        _address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        refused = await self._misbehave()
        inverter = self.inverter()
        if refused is not None or inverter is None:
            return refused
        if values is not None:
            return ExcCodes.ILLEGAL_ADDRESS
        words = inverter.registers()
        registers[: len(words)] = words
        return None

    def _devices(self) -> list[SimDevice]:
        devices = [self._device(), _nobody()]
        inverter = self.inverter()
        if inverter is not None:
            size = len(inverter.registers())
            held = [SimData(BASE, count=size, values=0, datatype=DataType.REGISTERS)]
            bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
            words = [SimData(0, values=0, datatype=DataType.REGISTERS)]
            blocks = (bits, bits, held, words)
            action = self._inverter_action
            devices.append(SimDevice(inverter.spec.unit, blocks, action=action))
        return devices

    async def _action(
        self,
        function: int,
        _start: int,
        address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        refused = await self._misbehave()
        if refused is not None:
            return refused
        table = FUNCTIONS[function].table
        if values is not None:
            written = [int(value) for value in values]
            if not apply_write(self.points, self.plant, table, address, written):
                return ExcCodes.ILLEGAL_ADDRESS
        cells = image(self.points, self.plant, table)
        words = pack_bits(cells) if table in {0, 1} else cells
        registers[: len(words)] = words
        return None

    def _silence(self, sending: bool, data: bytes) -> bytes:
        """Swallow what the server sends while it is dead."""
        return b"" if sending and self.fault("dead") is not None else data

    def _device(self) -> SimDevice:
        def block(table: int, kind: DataType) -> list[SimData]:
            size = len(image(self.points, self.plant, table))
            if kind is DataType.BITS:
                return [SimData(0, values=[False] * size, datatype=kind)]
            return [SimData(0, count=size, values=0, datatype=kind)]

        return SimDevice(
            self.plant.scenario.unit,
            (
                block(0, DataType.BITS),
                block(1, DataType.BITS),
                block(4, DataType.REGISTERS),
                block(3, DataType.REGISTERS),
            ),
            action=self._action,
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen and return the port; OutputError where it cannot be opened."""
        identity = ModbusDeviceIdentification(  # type: ignore[no-untyped-call]  # same
            info_name={
                "VendorName": "Sluicegate simulator",
                "ProductCode": "SIM-TANK",
                "MajorMinorRevision": "1.0",
            }
        )
        server = _Server(
            self._devices(),
            identity=identity,
            address=(host, port),
            trace_packet=self._silence,
        )
        server.plc = self
        if not await server.listen():
            raise OutputError(f"{host}:{port}: cannot listen there")
        self._server = server
        listener = server.transport
        assert isinstance(listener, asyncio.Server)
        self.port = int(listener.sockets[0].getsockname()[1])
        return self.port

    def advance(self, until_ns: int) -> int:
        """Step the plant to ``until_ns`` since the start; return the steps made."""
        before = self.plant.steps
        while self.plant.time_ns < until_ns:
            self.plant.step()
        return self.plant.steps - before

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # same
            self._server = None


def _nobody() -> SimDevice:
    """Answer for every other unit as a gateway does: target did not respond (0x0B)."""

    async def refuse(*_: object) -> ExcCodes:  # pymodbus awaits it
        return ExcCodes.GATEWAY_NO_RESPONSE

    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    words = [SimData(0, count=125, values=0, datatype=DataType.REGISTERS)]
    return SimDevice(0, (bits, bits, words, words), action=refuse)
