"""The PLC's register map: where each point lies, and its image of the plant.

0-based addresses. Orders as in the product: ABCD big-endian, CDAB words reversed, BADC
bytes swapped within words, DCBA both. Tables by the first digit of the old notation: 0
coils, 1 discrete inputs, 3 input registers, 4 holding registers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware_sim.plant import Plant

_CODES: Final = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f"}
_LOW: Final = {"u16": 0, "i16": -(2**15), "u32": 0, "i32": -(2**31)}
_HIGH: Final = {"u16": 2**16 - 1, "i16": 2**15 - 1, "u32": 2**32 - 1, "i32": 2**31 - 1}


@dataclass(frozen=True, slots=True)
class RegisterPoint:
    """One value of the map. ``scale``: physical value of one raw count."""

    item: str
    table: int
    address: int
    type: str  # coil u16 i16 u32 i32 f32 string
    read: Callable[[Plant], float | str]
    order: str = "ABCD"
    scale: float = 1.0
    unit: str = ""
    length: int = 0  # registers of a string
    write: Callable[[Plant, float], None] | None = None

    @property
    def registers(self) -> int:
        """Return how many registers or bits the point takes."""
        if self.type == "string":
            return self.length
        return 1 if self.type in {"coil", "u16", "i16"} else 2


def reorder(data: bytes, order: str) -> bytes:
    """Return the bytes of one number in a word order; its own inverse."""
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in {"CDAB", "DCBA"}:
        words.reverse()
    if order in {"BADC", "DCBA"}:
        words = [word[::-1] for word in words]
    return b"".join(words)


def to_registers(point: RegisterPoint, value: float | str) -> list[int]:
    """Return the registers of a value; out of range is clipped, strings are cut."""
    if isinstance(value, str):
        data = value.encode("ascii").ljust(2 * point.length, b"\0")
        data = data[: 2 * point.length]
    elif point.type == "f32":
        data = reorder(struct.pack(">f", value), point.order)
    else:
        raw = min(max(round(value / point.scale), _LOW[point.type]), _HIGH[point.type])
        data = reorder(struct.pack(f">{_CODES[point.type]}", raw), point.order)
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def from_registers(point: RegisterPoint, registers: list[int]) -> float:
    """Return the physical value of a numeric point's registers."""
    data = b"".join(register.to_bytes(2, "big") for register in registers)
    code = _CODES[point.type]
    (raw,) = struct.unpack(f">{code}", reorder(data, point.order))
    return float(raw * point.scale)


def image(points: tuple[RegisterPoint, ...], plant: Plant, table: int) -> list[int]:
    """Return all registers (or bits as 0 and 1) of a table from address 0 on."""
    chosen = [point for point in points if point.table == table]
    size = max((p.address + p.registers for p in chosen), default=1)
    cells = [0] * size
    for point in chosen:
        value = point.read(plant)
        cells[point.address : point.address + point.registers] = (
            [int(bool(value))] if point.type == "coil" else to_registers(point, value)
        )
    return cells


def apply_write(
    points: tuple[RegisterPoint, ...],
    plant: Plant,
    table: int,
    address: int,
    values: list[int],
) -> bool:
    """Carry out a client's write; False where a register is not writable.

    Only whole points are written: half a float is no set-point.
    """
    end = address + len(values)
    hit = [
        point
        for point in points
        if point.table == table
        and point.address < end
        and address < point.address + point.registers
    ]
    covered = sum(point.registers for point in hit)
    if covered != len(values) or any(point.write is None for point in hit):
        return False
    for point in hit:
        first = point.address - address
        part = values[first : first + point.registers]
        value = float(part[0]) if point.type == "coil" else from_registers(point, part)
        if point.write is not None:
            point.write(plant, value)
    return True
