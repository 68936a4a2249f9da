"""The function codes: names, what they touch, and whether they may change a device.

Source: MODBUS Application Protocol Specification V1.1b3, clauses 5 to 7; names of
vendors' codes as Zeek's Modbus analyser has them. What is not known to only read is
taken to write: the firewall depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

READ_COILS: Final = 1
READ_DISCRETE: Final = 2
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
EXCEPTION_STATUS: Final = 7
DIAGNOSTICS: Final = 8
EVENT_COUNTER: Final = 11
EVENT_LOG: Final = 12
WRITE_COILS: Final = 15
WRITE_REGISTERS: Final = 16
SERVER_ID: Final = 17
READ_FILE: Final = 20
WRITE_FILE: Final = 21
MASK_WRITE: Final = 22
READ_WRITE: Final = 23
READ_FIFO: Final = 24
ENCAPSULATED: Final = 43
MEI_CANOPEN: Final = 13
MEI_IDENTIFICATION: Final = 14

EXCEPTION_BIT: Final = 0x80
FUNCTION_MAX: Final = 127  # clause 4.1: 128..255 are exception responses
NO_TABLE: Final = 255


@dataclass(frozen=True, slots=True)
class Function:
    """One code. ``table``: what its address addresses, NO_TABLE none."""

    code: int
    name: str  # as rules and tables name it
    table: int = NO_TABLE
    quantity_max: int = 0  # of what is read, or only written
    is_write: bool = False
    is_public: bool = True


def _f(code: int, name: str, table: int = NO_TABLE, most: int = 0) -> Function:
    return Function(code, name, table, most)


def _w(code: int, name: str, table: int = NO_TABLE, most: int = 0) -> Function:
    return Function(code, name, table, most, is_write=True)


def _v(code: int, name: str) -> Function:
    return Function(code, name, is_write=True, is_public=False)


FUNCTIONS: Final[dict[int, Function]] = {
    one.code: one
    for one in (
        _f(1, "read-coils", 0, 2000),
        _f(2, "read-discrete-inputs", 1, 2000),
        _f(3, "read-holding-registers", 4, 125),
        _f(4, "read-input-registers", 3, 125),
        _w(5, "write-single-coil", 0, 1),
        _w(6, "write-single-register", 4, 1),
        _f(7, "read-exception-status"),
        _f(8, "diagnostics"),  # by sub-function: DIAGNOSTICS_READ
        _f(11, "get-comm-event-counter"),
        _f(12, "get-comm-event-log"),
        _w(15, "write-multiple-coils", 0, 1968),
        _w(16, "write-multiple-registers", 4, 123),
        _f(17, "report-server-id"),
        _f(20, "read-file-record"),
        _w(21, "write-file-record"),
        _w(22, "mask-write-register", 4, 1),
        _w(23, "read-write-multiple-registers", 4, 125),  # writes 121 at most
        _f(24, "read-fifo-queue", 4, 31),
        _f(43, "encapsulated-interface"),  # by MEI type: 14 reads, 13 may write
        # Not public: vendors' codes as Zeek names them, all taken to write.
        _v(9, "program-484"), _v(10, "poll-484"), _v(13, "program-584-984"),
        _v(14, "poll-584-984"), _v(18, "program-884-u84"), _v(19, "reset-comm-link"),
        _v(40, "program-concept"), _v(41, "multiple-function-codes"),
        _v(90, "umas"), _v(91, "program-unity"), _v(125, "firmware-replacement"),
        _v(126, "program-584-984-2"), _v(127, "report-local-address"),
    )
}  # fmt: skip

BY_NAME: Final = {one.name: one.code for one in FUNCTIONS.values()}
# Function 8, clause 6.8.1: those that only tell. 1 restarts communication, 3 changes
# the delimiter, 4 forces listen-only, 10 and 20 clear counters.
DIAGNOSTICS_READ: Final = frozenset({0, 2, *range(11, 19)})
WRITE_MAX_READ_WRITE: Final = 121  # clause 6.17
EXCEPTIONS: Final[dict[int, str]] = {
    1: "illegal-function", 2: "illegal-data-address", 3: "illegal-data-value",
    4: "server-device-failure", 5: "acknowledge", 6: "server-device-busy",
    7: "negative-acknowledge", 8: "memory-parity-error",
    10: "gateway-path-unavailable", 11: "gateway-target-failed-to-respond",
}  # fmt: skip
ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
DEVICE_FAILURE: Final = 4
DEVICE_BUSY: Final = 6
PATH_UNAVAILABLE: Final = 10
TARGET_SILENT: Final = 11


def is_write(function: int, sub: int = 0xFFFF) -> bool:
    """Tell whether a request may change the device; what is unknown may.

    ``sub``: sub-function of 8; MEI type << 8 | read code of 43.
    """
    known = FUNCTIONS.get(function)
    if known is None:
        return True
    if function == DIAGNOSTICS:
        return sub not in DIAGNOSTICS_READ
    if function == ENCAPSULATED:
        return sub >> 8 != MEI_IDENTIFICATION
    return known.is_write


def function_name(function: int) -> str:
    """Return the name of a code; its number where nobody named it."""
    known = FUNCTIONS.get(function)
    return known.name if known else f"function-{function}"
