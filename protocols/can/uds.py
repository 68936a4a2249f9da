"""Dissect diagnostic messages: OBD-II (SAE J1979) and UDS (ISO 14229-1).

Finds the identifiers of vehicle and control units that pass by; says which service was
asked for and what was answered. Texts never appear in ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.can.isotp import DiagnosticMessage

POSITIVE: Final = 0x40  # a positive response is the service plus this
NEGATIVE: Final = 0x7F
READ: Final = 0x22
WRITE: Final = 0x2E
OBD_INFORMATION: Final = 0x09
VIN_CHARACTERS: Final = 17

# ISO 14229-1:2020 annex C.1
DIDS: Final = MappingProxyType({
    0xF187: "spare part number",
    0xF188: "ECU software number",
    0xF189: "ECU software version",
    0xF18A: "supplier",
    0xF18B: "ECU manufacturing date",
    0xF18C: "ECU serial number",
    0xF18D: "supported functional units",
    0xF18E: "kit assembly part number",
    0xF190: "VIN",
    0xF191: "ECU hardware number",
    0xF192: "supplier ECU hardware number",
    0xF193: "supplier ECU hardware version",
    0xF194: "supplier ECU software number",
    0xF195: "supplier ECU software version",
    0xF197: "system name",
})  # fmt: skip
DID_VIN: Final = 0xF190

# SAE J1979 service 09: info type -> (name, bytes per item, 0 = all that follows)
OBD_INFO: Final = MappingProxyType({
    0x02: ("VIN", 17),
    0x04: ("calibration id", 16),
    0x06: ("calibration verification number", 4),
    0x0A: ("ECU name", 20),
})  # fmt: skip

SERVICES: Final = MappingProxyType({
    0x01: "OBD current data", 0x02: "OBD freeze frame", 0x03: "OBD trouble codes",
    0x04: "OBD clear trouble codes", 0x06: "OBD test results",
    0x07: "OBD pending trouble codes", 0x08: "OBD control",
    0x09: "OBD vehicle information", 0x0A: "OBD permanent trouble codes",
    0x10: "DiagnosticSessionControl", 0x11: "ECUReset",
    0x14: "ClearDiagnosticInformation", 0x19: "ReadDTCInformation",
    0x22: "ReadDataByIdentifier", 0x23: "ReadMemoryByAddress",
    0x24: "ReadScalingDataByIdentifier", 0x27: "SecurityAccess",
    0x28: "CommunicationControl", 0x29: "Authentication",
    0x2A: "ReadDataByPeriodicIdentifier", 0x2C: "DynamicallyDefineDataIdentifier",
    0x2E: "WriteDataByIdentifier", 0x2F: "InputOutputControlByIdentifier",
    0x31: "RoutineControl", 0x34: "RequestDownload", 0x35: "RequestUpload",
    0x36: "TransferData", 0x37: "RequestTransferExit", 0x38: "RequestFileTransfer",
    0x3D: "WriteMemoryByAddress", 0x3E: "TesterPresent",
    0x83: "AccessTimingParameter", 0x84: "SecuredDataTransmission",
    0x85: "ControlDTCSetting", 0x86: "ResponseOnEvent", 0x87: "LinkControl",
})  # fmt: skip

# ISO 14229-1:2020 annex A.1
NEGATIVE_RESPONSES: Final = MappingProxyType({
    0x10: "generalReject", 0x11: "serviceNotSupported",
    0x12: "subFunctionNotSupported",
    0x13: "incorrectMessageLengthOrInvalidFormat", 0x14: "responseTooLong",
    0x21: "busyRepeatRequest", 0x22: "conditionsNotCorrect",
    0x24: "requestSequenceError", 0x25: "noResponseFromSubnetComponent",
    0x26: "failurePreventsExecutionOfRequestedAction", 0x31: "requestOutOfRange",
    0x33: "securityAccessDenied", 0x34: "authenticationRequired",
    0x35: "invalidKey", 0x36: "exceedNumberOfAttempts",
    0x37: "requiredTimeDelayNotExpired", 0x70: "uploadDownloadNotAccepted",
    0x71: "transferDataSuspended", 0x72: "generalProgrammingFailure",
    0x73: "wrongBlockSequenceCounter",
    0x78: "requestCorrectlyReceived-ResponsePending",
    0x7E: "subFunctionNotSupportedInActiveSession",
    0x7F: "serviceNotSupportedInActiveSession",
})  # fmt: skip

_WITH_SUB_FUNCTION: Final = frozenset(
    {0x10, 0x11, 0x19, 0x27, 0x28, 0x29, 0x2C, 0x31, 0x3E, 0x83, 0x85, 0x86, 0x87}
)
_WITH_DID: Final = frozenset({READ, 0x24, WRITE, 0x2F})


@dataclass(frozen=True, slots=True, repr=False)
class Identifier:
    """An identifier that passed by: what it is and where it stood, and its bytes."""

    time_ns: int
    bus: int
    ident: int
    source: str  # "uds:F190", "obd:09.02"
    did: int | None  # UDS data identifier; None for OBD-II
    text: bytes  # without the padding around it
    is_response: bool
    is_write: bool

    @property
    def is_vin(self) -> bool:
        """Tell whether this is the place of the vehicle identification number."""
        return self.source in {"uds:F190", "obd:09.02"}

    def __repr__(self) -> str:
        """Return everything but the text."""
        where = f"{self.source}, bus={self.bus}, ident=0x{self.ident:X}"
        return f"Identifier({where}, {len(self.text)} bytes)"


@dataclass(frozen=True, slots=True)
class Service:
    """What a diagnostic message asks or answers, without its data."""

    time_ns: int
    bus: int
    ident: int
    service: int  # request service identifier, in responses too
    name: str
    is_response: bool
    sub_function: int | None  # without the suppress bit
    did: int | None  # the first data identifier
    routine: int | None  # RoutineControl's identifier
    negative: int | None  # negative response code
    negative_name: str


def service(message: DiagnosticMessage) -> Service | None:
    """Return what the message asks or answers; None where it is empty or cut off.

    A service identifier has bit 6 clear in requests and set in responses (ISO 14229-1
    table 2), whoever sends it; unknown ones are named by number.
    """
    data = message.payload
    if not data:
        return None
    negative = None
    is_response = bool(data[0] & POSITIVE)
    number = data[0] & ~POSITIVE
    body = data[1:]
    if data[0] == NEGATIVE:
        if len(data) < 3:
            return None
        number, negative, body = data[1], data[2], b""
    sub = body[0] & 0x7F if number in _WITH_SUB_FUNCTION and body else None
    did = int.from_bytes(body[:2]) if number in _WITH_DID and len(body) > 1 else None
    routine = int.from_bytes(body[1:3]) if number == 0x31 and len(body) > 2 else None
    return Service(
        message.time_ns,
        message.bus,
        message.ident,
        number,
        SERVICES.get(number, f"service {number:02X}"),
        is_response,
        sub,
        did,
        routine,
        negative,
        "" if negative is None else _negative_name(negative),
    )


def _negative_name(code: int) -> str:
    return NEGATIVE_RESPONSES.get(code, f"code {code:02X}")


def identifiers(message: DiagnosticMessage) -> list[Identifier]:
    """Return the identifiers that the message carries: read answers and writes."""
    data = message.payload
    if len(data) < 3:
        return []
    if data[0] == READ | POSITIVE or data[0] == WRITE:
        is_write = data[0] == WRITE
        return [
            Identifier(
                message.time_ns,
                message.bus,
                message.ident,
                f"uds:{did:04X}",
                did,
                text,
                not is_write,
                is_write,
            )
            for did, text in _records(data[1:])
            if text
        ]
    if data[0] == OBD_INFORMATION | POSITIVE and data[1] in OBD_INFO:
        return [
            Identifier(
                message.time_ns,
                message.bus,
                message.ident,
                f"obd:09.{data[1]:02X}",
                None,
                text,
                True,
                False,
            )
            for text in _obd_items(data)
        ]
    return []


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split ``DID record DID record ...``; records' lengths are not on the wire.

    A VIN has 17 bytes. Any other record ends where the bytes of a known identifier
    follow (0xF1 is in no text) or with the message. Stops at an unknown identifier.
    """
    while len(data) > 2:
        did = int.from_bytes(data[:2])
        if did not in DIDS:
            return
        end = 2 + VIN_CHARACTERS if did == DID_VIN else _next_did(data)
        yield did, _stripped(data[2:end])
        data = data[end:]


def _next_did(data: bytes) -> int:
    """Return where the next known identifier stands in ``data``, or its length."""
    at = data.find(0xF1, 3)
    while at >= 0:
        if int.from_bytes(data[at : at + 2]) in DIDS:
            return at
        at = data.find(0xF1, at + 1)
    return len(data)


def _obd_items(data: bytes) -> Iterator[bytes]:
    """Split a service 09 answer: info type, number of items, items of fixed length."""
    _, length = OBD_INFO[data[1]]
    count, body = data[2], data[3:]
    if data[1] == 0x02:
        # Some units pad the number in front (J1979 before CAN did); one number only.
        text = _stripped(body)
        if text:
            yield text
        return
    for at in range(0, min(count * length, len(body)), length):
        item = body[at : at + length]
        text = item if data[1] == 0x06 else _stripped(item)
        if text:
            yield text


def _stripped(text: bytes) -> bytes:
    return text.strip(b"\x00\xff ")


_VALUES: Final = MappingProxyType(
    {**{str(digit): digit for digit in range(10)},
     **dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ",
                (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
                strict=True))}
)  # fmt: skip
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin_score(text: bytes) -> float:
    """Return how surely the bytes are a VIN: 0 no, 0.5 by alphabet, 1 by check digit.

    ISO 3779 gives 17 characters without I, O, Q. The check digit (49 CFR 565.15, GB
    16735) is required in North America and China but not in Europe: it only adds.
    """
    if len(text) != VIN_CHARACTERS:
        return 0.0
    values = [_VALUES.get(chr(byte)) for byte in text]
    known = [value for value in values if value is not None]
    # One character 17 times over is filling, though its check digit may fit.
    if len(known) != VIN_CHARACTERS or len(set(text)) == 1:
        return 0.0
    total = sum(a * b for a, b in zip(known, _WEIGHTS, strict=True))
    check = "0123456789X"[total % 11]
    return 1.0 if chr(text[8]) == check else 0.5
