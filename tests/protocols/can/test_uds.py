"""Identifiers over OBD-II and UDS: found where they stand, shown nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.can.isotp import DiagnosticMessage
from protocols.can.uds import identifiers, service, vin_score

# A published example of the check digit (49 CFR 565); no vehicle's.
VIN = b"1M8GDM9AXKP042788"


def message(payload: bytes) -> DiagnosticMessage:
    return DiagnosticMessage(7, 1, 0x7E8, payload)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"\x49\x02\x01" + VIN, [("obd:09.02", VIN)]),
        (b"\x49\x02\x01" + bytes(3) + VIN, [("obd:09.02", VIN)]),
        (b"\x49\x0a\x01ECM\x00-EngineControl\x00\x00\x00",
         [("obd:09.0A", b"ECM\x00-EngineControl")]),
        (b"\x49\x04\x02" + b"CALIBRATION-0001" + b"CAL2".ljust(16, b"\x00"),
         [("obd:09.04", b"CALIBRATION-0001"), ("obd:09.04", b"CAL2")]),
        (b"\x49\x06\x02\x00\x01\x02\x03\xff\x00\x00\x00",
         [("obd:09.06", b"\x00\x01\x02\x03"), ("obd:09.06", b"\xff\x00\x00\x00")]),
        (b"\x62\xf1\x90" + VIN, [("uds:F190", VIN)]),
        (b"\x62\xf1\x8cSN-123\x00\x00", [("uds:F18C", b"SN-123")]),
        (b"\x62\xf1\x90" + VIN + b"\xf1\x8cSN-9\xf1\x97BRAKE ",
         [("uds:F190", VIN), ("uds:F18C", b"SN-9"), ("uds:F197", b"BRAKE")]),
        (b"\x2e\xf1\x90" + VIN, [("uds:F190", VIN)]),
        (b"\x22\xf1\x90", []),  # the question holds no answer
        (b"\x6e\xf1\x90", []),
        (b"\x62\x01\x23" + VIN, []),  # what stands there is the maker's affair
        (b"\x62\xf1\x90", []),
        (b"\x49\x02\x01", []),
        (b"\x09\x02", []),
        (b"\x7f\x22\x33", []),
        (b"\x49\x55\x01abc", []),
        (b"", []),
    ],
)  # fmt: skip
def test_identifiers_are_found(payload: bytes, found: list[tuple[str, bytes]]) -> None:
    got = identifiers(message(payload))
    assert [(one.source, one.text) for one in got] == found
    for one in got:
        assert (one.time_ns, one.bus, one.ident) == (7, 1, 0x7E8)
        assert one.is_write == (payload[0] == 0x2E)
        assert one.is_response != one.is_write
        assert one.is_vin == (one.text == VIN)
        kind, _, number = one.source.partition(":")
        assert one.did == (int(number, 16) if kind == "uds" else None)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("22 F1 90", (0x22, "ReadDataByIdentifier", False, None, 0xF190, None, None)),
        ("62 F1 90 31", (0x22, "ReadDataByIdentifier", True, None, 0xF190, None, None)),
        ("10 83", (0x10, "DiagnosticSessionControl", False, 3, None, None, None)),
        ("67 01 AA BB", (0x27, "SecurityAccess", True, 1, None, None, None)),
        ("31 01 FF 00", (0x31, "RoutineControl", False, 1, None, 0xFF00, None)),
        ("7F 27 35", (0x27, "SecurityAccess", True, None, None, None, 0x35)),
        ("09 02", (0x09, "OBD vehicle information", False, None, None, None, None)),
        ("BA 01", (0xBA, "service BA", False, None, None, None, None)),
        ("2E F1", (0x2E, "WriteDataByIdentifier", False, None, None, None, None)),
    ],
)
def test_services_are_named(payload: str, expected: tuple[object, ...]) -> None:
    got = service(message(bytes.fromhex(payload)))
    assert got is not None
    assert (
        got.service, got.name, got.is_response, got.sub_function, got.did, got.routine,
        got.negative,
    ) == expected  # fmt: skip
    assert got.negative_name == ("invalidKey" if got.negative else "")


def test_a_negative_response_of_unknown_code_has_a_name_all_the_same() -> None:
    got = service(message(b"\x7f\x22\xee"))
    assert got is not None
    assert got.negative_name == "code EE"
    assert service(message(b"\x7f\x22")) is None
    assert service(message(b"")) is None


@given(st.binary(max_size=80))
def test_any_payload_is_dissected(payload: bytes) -> None:
    service(message(payload))
    for one in identifiers(message(payload)):
        assert one.text
        assert one.text in payload


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (VIN, 1.0),
        (
            b"1M8GDM9A1KP042788",
            0.5,
        ),  # right letters, wrong check digit: may be Europe's
        (b"5GZCZ43D13S812715", 1.0),
        (b"I1111111111111112", 0.0),
        (b"1M8GDM9AXKP04278", 0.0),
        (b"1m8gdm9axkp042788", 0.0),
        (b"00000000000000000", 0.0),
        (bytes(17), 0.0),
        (b"\xff" * 17, 0.0),
    ],
)
def test_a_vin_is_known_by_its_letters_and_its_check_digit(
    text: bytes, score: float
) -> None:
    assert vin_score(text) == score


def test_the_text_is_not_shown() -> None:
    (one,) = identifiers(message(b"\x62\xf1\x90" + VIN))
    assert VIN.decode() not in f"{one!r} {one} {[one]}"
    assert repr(one) == "Identifier(uds:F190, bus=1, ident=0x7E8, 17 bytes)"
