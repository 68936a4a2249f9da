"""Register types: what registers mean (Modbus V1.1b3 leaves it to the vendor).

A register travels big-endian (MODBUS Application Protocol V1.1b3, clause 4.2). In which
order the registers of one number come, and whether a device swaps the bytes in each, is
the vendor's choice. ``order`` says where the bytes ABCD of a 32-bit number lie: ABCD
big-endian, CDAB words reversed, BADC bytes swapped in words, DCBA both. The same two
switches hold for 16 and 64 bits. A string's words always come in order; BADC and DCBA
swap its bytes. Addresses are 0-based everywhere but in ``parse_address``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.samples import Kind, raw_of_floats

if TYPE_CHECKING:
    from protocols.frames import F64, I64, U16, U64, Bool

ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
TABLES: Final = (0, 1, 3, 4)  # coils, discrete inputs, input registers, holding ones
BIT_TABLES: Final = (0, 1)
ADDRESSES: Final = 65536  # per table (V1.1b3 clause 4.3: PDU addresses 0..65535)
STRING_REGISTERS_MAX: Final = 125  # what one read can carry (clause 6.3)

Shape: TypeAlias = Literal["coil", "bit", "number", "bcd", "text"]
BigWords: TypeAlias = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class RegisterType:
    """How long a type is and how its bytes are read once they are big-endian."""

    shape: Shape
    registers: int  # 0: the point tells (strings)
    dtype: str = ""  # numpy type of the big-endian number
    kind: Kind = Kind.INT


def _number(registers: int, dtype: str, kind: Kind = Kind.INT) -> RegisterType:
    return RegisterType("number", registers, dtype, kind)


_U16, _U32 = _number(1, ">u2"), _number(2, ">u4")
_U64 = _number(4, ">u8", Kind.UINT64)
_I16 = _number(1, ">i2")

# The plain types, then SunSpec's names for them (Device Information Model, 4.2).
TYPES: Final[dict[str, RegisterType]] = {
    "u16": _U16,
    "i16": _I16,
    "u32": _U32,
    "i32": _number(2, ">i4"),
    "u64": _U64,
    "i64": _number(4, ">i8"),
    "f32": _number(2, ">f4", Kind.FLOAT),
    "f64": _number(4, ">f8", Kind.FLOAT),
    "bit": RegisterType("bit", 1),
    "coil": RegisterType("coil", 1),
    "bcd16": RegisterType("bcd", 1, ">u2"),
    "bcd32": RegisterType("bcd", 2, ">u4"),
    "string": RegisterType("text", 0, kind=Kind.TEXT),
    "octets": RegisterType("text", 0, kind=Kind.TEXT),  # bytes as they are: addresses
    "enum16": _U16,
    "enum32": _U32,
    "bitfield16": _U16,
    "bitfield32": _U32,
    "bitfield64": _U64,
    "acc16": _U16,
    "acc32": _U32,
    "acc64": _U64,
    "count": _U16,
    "sunssf": _I16,
}


@dataclass(frozen=True, slots=True)
class Point:
    """Where one item lies in a device, and how to read it. All addresses 0-based.

    ``check_point`` tells whether the fields go together. ``value`` of a sample is
    ``raw * scale + offset``, and with a scale factor ``raw * 10**sf`` (kind FLOAT).
    """

    item: int  # index into the item table
    link: int  # index into the link table
    unit: int  # 0..255 (247 on serial lines)
    table: int  # 0 coils, 1 discrete inputs, 3 input registers, 4 holding registers
    address: int
    type: str  # a key of TYPES
    order: str = "ABCD"
    bit: int | None = None  # type bit: 0 is the least significant, after ordering
    length: int = 0  # registers; 0: the type's own length (strings must say it)
    scale: float = 1.0
    offset: float = 0.0
    scale_factor: int | None = None  # address of the sunssf register, same table
    invalid: int | None = None  # unsigned pattern that means "not implemented"
    period_ns: int = 0  # 0: the link's own period

    @property
    def registers(self) -> int:
        """Return how many registers (or bits, in tables 0 and 1) the point takes."""
        return self.length or TYPES[self.type].registers

    @property
    def kind(self) -> Kind:
        """Return how ``raw`` of the item's samples is to be read."""
        kind = TYPES[self.type].kind
        if kind != Kind.TEXT and self.scale_factor is not None:
            return Kind.FLOAT
        return kind


def check_point(point: Point) -> None:
    """Raise ValueError, with the reason, where the fields of a point clash."""
    spec = TYPES.get(point.type)
    if spec is None:
        raise ValueError(f"no register type {point.type!r}")
    if point.order not in ORDERS:
        raise ValueError(f"no word order {point.order!r}: one of {', '.join(ORDERS)}")
    if point.table not in TABLES:
        raise ValueError(f"no table {point.table}: 0, 1, 3 or 4")
    if (spec.shape == "coil") != (point.table in BIT_TABLES):
        raise ValueError(f"type {point.type} does not go with table {point.table}")
    if (point.bit is not None) != (spec.shape == "bit"):
        raise ValueError("bit belongs to type bit, and to no other")
    if point.bit is not None and not 0 <= point.bit <= 15:
        raise ValueError(f"bit {point.bit} is not in 0..15")
    if spec.registers and point.length not in {0, spec.registers}:
        raise ValueError(f"type {point.type} takes {spec.registers} registers")
    _check_range(point)
    sf = point.scale_factor
    integer = spec.shape == "number" and spec.kind != Kind.FLOAT
    if sf is not None and not (integer and 0 <= sf < ADDRESSES):
        raise ValueError("a scale factor register goes with integer registers only")


def _check_range(point: Point) -> None:
    if not 1 <= point.registers <= STRING_REGISTERS_MAX:
        raise ValueError(f"a length of 1..{STRING_REGISTERS_MAX} registers is needed")
    if not 0 <= point.address <= ADDRESSES - point.registers:
        raise ValueError(f"address {point.address} leaves 0..65535")
    if not (0 <= point.link <= 255 and 0 <= point.unit <= 255):
        raise ValueError("link and unit lie in 0..255")
    if not 0 <= point.item < 2**32 or point.period_ns < 0:
        raise ValueError("item is a uint32 and a period is not negative")


def parse_address(text: str) -> tuple[int, int]:
    """Return (table, 0-based address) of the old notation, e.g. ``40011`` -> (4, 10).

    Five digits (1..9999 behind the table digit) or six (1..65536). ValueError else.
    """
    if not (text.isascii() and text.isdigit() and len(text) in {5, 6}):
        raise ValueError("an address of the old notation has five or six digits")
    table, number = int(text[0]), int(text[1:])
    if table not in TABLES:
        raise ValueError(f"no table {table}: the first digit is 0, 1, 3 or 4")
    if not 1 <= number <= ADDRESSES:
        raise ValueError("addresses of the old notation count from 1 to 65536")
    return table, number - 1


def ordered(registers: U16, order: str, *, words: bool = True) -> BigWords:
    """Return registers [N, L] as big-endian words in order; ``words`` False: a string.

    The result has dtype ``>u2`` and is contiguous, so that a view of it is the number.
    """
    if order in {"BADC", "DCBA"}:
        registers = registers.byteswap()
    if words and order in {"CDAB", "DCBA"}:
        registers = registers[:, ::-1]
    return np.ascontiguousarray(registers, ">u2")


def patterns(registers: U16, order: str) -> U64:
    """Return registers [N, 1|2|4] as unsigned integers [N]: what ``invalid`` means."""
    big = ordered(registers, order)
    width = big.shape[1] * 2
    return big.view(f">u{width}")[:, 0].astype(np.uint64)


def numbers(name: str, registers: U16, order: str) -> tuple[I64, F64, Bool]:
    """Return (raw [N], number [N], valid [N]) of a number or BCD type.

    ``registers`` is [N, L] with L the type's length. ``raw`` follows the type's Kind;
    ``number`` is before scale and offset. Not valid: NaN, infinity (IEEE 754), a BCD
    digit above 9.
    """
    spec = TYPES[name]
    native = np.dtype(spec.dtype).newbyteorder("=")
    column = ordered(registers, order).view(spec.dtype)[:, 0].astype(native)
    if spec.shape == "bcd":
        return _bcd(column.astype(np.uint64), spec.registers * 4)
    if spec.kind == Kind.FLOAT:
        # A signalling NaN of 32 bits is an invalid operation when it is widened.
        with np.errstate(invalid="ignore"):
            number = column.astype(np.float64)
        return raw_of_floats(number), number, np.isfinite(number)
    number = column.astype(np.float64)
    valid = np.ones(len(column), np.bool_)
    if spec.kind == Kind.UINT64:
        return column.view(np.int64), number, valid
    return column.astype(np.int64), number, valid


def _bcd(column: U64, digits: int) -> tuple[I64, F64, Bool]:
    shifts = np.arange(digits, dtype=np.uint64) * np.uint64(4)
    nibbles = (column[:, None] >> shifts) & np.uint64(15)
    weights = 10 ** np.arange(digits, dtype=np.int64)
    raw: I64 = (nibbles.astype(np.int64) * weights).sum(1, dtype=np.int64)
    valid: Bool = np.asarray((nibbles <= np.uint64(9)).all(1))
    return raw, raw.astype(np.float64), valid


def bits(registers: U16, order: str, bit: I64) -> I64:
    """Return bit ``bit`` [N] (0 least significant) of registers [N, 1] as 0 or 1."""
    word = patterns(registers, order).astype(np.int64)
    return (word >> bit) & 1


def texts(name: str, registers: U16, order: str) -> list[bytes]:
    """Return the byte string of each row of registers [N, L].

    A string ends at its first NUL and loses trailing spaces (vendors pad with either);
    octets come whole. Low rate by nature: this loops over rows.
    """
    rows = [row.tobytes() for row in ordered(registers, order, words=False)]
    if name == "octets":
        return [row if any(row) else b"" for row in rows]
    return [row.split(b"\0", 1)[0].rstrip(b" ") for row in rows]
