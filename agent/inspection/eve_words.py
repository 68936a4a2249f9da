"""What Suricata calls function codes: names, access types and categories.

Source: Suricata user guide, keyword ``modbus.function``, and V1.1b3 clause 5 (which
codes are public, and which are for users).
"""

from __future__ import annotations

from typing import Final

from protocols.modbus.functions import FUNCTIONS

_CODES: Final = {
    1: "RdCoils", 2: "RdDiscreteInputs", 3: "RdHoldRegs", 4: "RdInputRegs",
    5: "WrSingleCoil", 6: "WrSingleReg", 7: "RdExcStatus", 8: "Diagnostic",
    9: "Program484", 10: "Poll484", 11: "GetCommEventCtr", 12: "GetCommEventLog",
    13: "ProgramController", 14: "PollController", 15: "WrMultCoils",
    16: "WrMultRegs", 17: "ReportServerID", 18: "Program884", 19: "ResetCommLink",
    20: "RdFileRec", 21: "WrFileRec", 22: "MaskWrReg", 23: "RdWrMultRegs",
    24: "RdFIFOQueue", 43: "MEI",
}  # fmt: skip
_ACCESS: Final = {
    1: "READ | COILS", 2: "READ | DISCRETES", 3: "READ | HOLDING", 4: "READ | INPUT",
    5: "WRITE | COILS | SINGLE", 6: "WRITE | HOLDING | SINGLE",
    15: "WRITE | COILS | MULTIPLE", 16: "WRITE | HOLDING | MULTIPLE",
    22: "WRITE | HOLDING", 23: "READ | WRITE | HOLDING | MULTIPLE",
    24: "READ | HOLDING",
}  # fmt: skip
_USERS: Final = (range(65, 73), range(100, 111))


def function_code(function: int) -> str:
    """Return the name of a code; ``Unknown`` where there is none."""
    return _CODES.get(function, "Unknown")


def access_type(function: int) -> str:
    """Return what a function does to which table."""
    return _ACCESS.get(function, "NONE")


def category(function: int) -> str:
    """Return the category of a code."""
    known = FUNCTIONS.get(function)
    if known is not None:
        return "PUBLIC_ASSIGNED" if known.is_public else "RESERVED"
    if any(function in one for one in _USERS):
        return "USER_DEFINED"
    return "PUBLIC_UNASSIGNED"
