"""The codec against the specification's examples, pymodbus, and any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU

from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import FUNCTIONS, NO_TABLE, is_write
from protocols.modbus.pdu import PDU_BYTES_MAX, Request, parse_request
from protocols.modbus.pdu_reply import Reply, encode_exception, parse_reply
from tests.support.examples import upto

P = Problem


def asked(text: str) -> Request:
    return parse_request(bytes.fromhex(text))


def answered(request: str, reply: str) -> Reply:
    return parse_reply(asked(request), bytes.fromhex(reply))


# The examples of V1.1b3, clauses 6.1 to 6.21: request, fields, reply, values.
EXAMPLES = [
    ("01 0013 0013", (0, 19, 19), "01 03 cd6b05",
     (1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1)),
    ("02 00c4 0016", (1, 196, 22), "02 03 acdb35",
     (0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1)),
    ("03 006b 0003", (4, 107, 3), "03 06 022b 0000 0064", (555, 0, 100)),
    ("04 0008 0001", (3, 8, 1), "04 02 000a", (10,)),
    ("05 00ac ff00", (0, 172, 1), "05 00ac ff00", ()),
    ("06 0001 0003", (4, 1, 1), "06 0001 0003", ()),
    ("07", (NO_TABLE, 0, 0), "07 6d", ()),
    ("08 0000 a537", (NO_TABLE, 0, 0), "08 0000 a537", ()),
    ("0b", (NO_TABLE, 0, 0), "0b ffff 0108", ()),
    ("0c", (NO_TABLE, 0, 0), "0c 08 0000 0108 0121 2000", ()),
    ("0f 0013 000a 02 cd01", (0, 19, 10), "0f 0013 000a", ()),
    ("10 0001 0002 04 000a 0102", (4, 1, 2), "10 0001 0002", ()),
    ("14 0e 06 0004 0001 0002 06 0003 0009 0002", (NO_TABLE, 0, 0),
     "14 0c 05 06 0dfe 0020 05 06 33cd 0040", (0x0DFE, 0x20, 0x33CD, 0x40)),
    ("15 0d 06 0004 0007 0003 06af 04be 100d", (NO_TABLE, 0, 0),
     "15 0d 06 0004 0007 0003 06af 04be 100d", ()),
    ("16 0004 00f2 0025", (4, 4, 1), "16 0004 00f2 0025", ()),
    ("17 0003 0006 000e 0003 06 00ff 00ff 00ff", (4, 3, 6),
     "17 0c 00fe 0acd 0001 0003 000d 00ff", (254, 2765, 1, 3, 13, 255)),
    ("18 04de", (4, 1246, 1), "18 0006 0002 01b8 1284", (440, 4740)),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "fields", "reply", "values"), EXAMPLES)
def test_the_examples_of_the_specification(
    request_: str, fields: tuple[int, int, int], reply: str, values: tuple[int, ...]
) -> None:
    request = asked(request_)
    assert (request.table, request.address, request.count) == fields
    assert request.problems == 0
    assert request.is_write == (request.function in {5, 6, 15, 16, 21, 22, 23})
    assert answered(request_, reply) == Reply(0, values, 0)


def test_what_the_examples_write() -> None:
    assert asked("05 00ac ff00").write_values == (1,)
    assert asked("05 00ac 0000").write_values == (0,)
    assert asked("06 0001 0003").write_values == (3,)
    assert asked("0f 0013 000a 02 cd01").write_values == (1, 0, 1, 1, 0, 0, 1, 1, 1, 0)
    assert asked("10 0001 0002 04 000a 0102").write_values == (10, 258)
    assert asked("16 0004 00f2 0025").write_values == (0xF2, 0x25)
    both = asked("17 0003 0006 000e 0003 06 00ff 00ff 00ff")
    assert (both.write_address, both.write_count) == (14, 3)
    assert both.write_values == (255, 255, 255)
    (record,) = asked("15 0d 06 0004 0007 0003 06af 04be 100d").records
    assert (record.file, record.record, record.values) == (4, 7, (0x6AF, 0x4BE, 0x100D))


def test_device_identification() -> None:
    """Clause 6.21.1, the example of a basic device."""
    texts = [b"Company identification", b"Product code XX", b"V2.11"]
    objects = [bytes([i, len(t)]) + t for i, t in enumerate(texts)]
    reply = (bytes.fromhex("2b0e01010000 03") + b"".join(objects)).hex()
    got = answered("2b 0e 01 00", reply)
    assert got.problems == 0
    assert got.texts == tuple(enumerate(texts))
    assert asked("2b 0e 01 00").sub == 0x0E01
    assert not asked("2b 0e 01 00").is_write
    assert asked("2b 0d 00 00").is_write  # CANopen: may write
    assert answered("2b 0e 01 00", reply[:-2]).problems == P.LENGTH


def test_exceptions() -> None:
    assert answered("01 04a1 0001", "81 02") == Reply(2, (), 0)
    assert answered("01 04a1 0001", "81 0b") == Reply(11, (), 0)
    assert answered("01 04a1 0001", "81 77") == Reply(0x77, (), P.EXCEPTION)
    assert answered("01 04a1 0001", "82 02").problems == P.FUNCTION
    assert answered("01 04a1 0001", "81").problems == P.LENGTH
    assert encode_exception(3, 2) == b"\x83\x02"


@pytest.mark.parametrize(
    ("pdu", "problem"),
    [
        ("", P.LENGTH),
        ("00", P.UNKNOWN),
        ("83 0000 0001", P.UNKNOWN),
        ("09", P.UNKNOWN),
        ("5a 00 02", P.UNKNOWN),
        ("03 0000 0000", P.QUANTITY),
        ("03 0000 007e", P.QUANTITY),
        ("01 0000 07d1", P.QUANTITY),
        ("03 ffff 0002", P.RANGE),
        ("03 0000", P.LENGTH),
        ("03 0000 0001 00", P.LENGTH),
        ("05 0000 0001", P.VALUE),
        ("05 0000 ff01", P.VALUE),
        ("06 0000", P.LENGTH),
        ("0f 0000 07b1 00", P.QUANTITY),
        ("0f 0000 0008 02 0000", P.BYTE_COUNT),
        ("0f 0000 0008 01", P.LENGTH),
        ("10 0000 0001 04 0000 0000", P.BYTE_COUNT),
        ("10 0000 0002 04 0000", P.LENGTH),
        ("10 ffff 0002 04 0000 0000", P.RANGE),
        ("10 0000 0000 00", P.QUANTITY),
        ("14 07 05 0001 0000 0001", P.VALUE),
        ("14 07 06 0000 0000 0001", P.VALUE),
        ("14 07 06 0001 2710 0001", P.VALUE),
        ("14 07 06 0001 0000 0000", P.QUANTITY),
        ("14 08 06 0001 0000 0001", P.LENGTH),
        ("14 00", P.LENGTH),
        ("15 09 06 0001 0000 0002 0000", P.LENGTH),
        ("16 0000 0000", P.LENGTH),
        ("17 0000 007e 0000 0001 02 0000", P.QUANTITY),
        ("17 0000 0001 0000 007a f4" + "0000" * 122, P.LENGTH),
        ("17 0000 0001 ffff 0002 04 0000 0000", P.RANGE),
        ("17 0000 0001 0000 0001 04 0000 0000", P.BYTE_COUNT),
        ("18 0000 00", P.LENGTH),
        ("2b", P.LENGTH),
        ("2b 0e 05 00", P.VALUE),
        ("2b 0e 01", P.LENGTH),
        ("08 0000", P.LENGTH),
        ("08 0001 0000 00", P.LENGTH),
        ("07 00", P.LENGTH),
    ],
)
def test_what_does_not_fit_a_request(pdu: str, problem: Problem) -> None:
    request = asked(pdu)
    assert request.problems == problem
    assert (request.write_values, request.records) == ((), ())


@pytest.mark.parametrize(
    ("request_", "reply", "problem"),
    [
        ("03 0000 0002", "03 02 0000", P.REPLY_LENGTH),
        ("03 0000 0001", "03 02 00", P.LENGTH),
        ("03 0000 0001", "04 02 0000", P.FUNCTION),
        ("01 0000 0009", "01 01 00", P.REPLY_LENGTH),
        ("05 0001 ff00", "05 0001 0000", P.ECHO),
        ("05 0001 ff00", "05 0002 ff00", P.ECHO),
        ("06 0001 0003", "06 0001 0004", P.ECHO),
        ("06 0001 0003", "06 0001", P.LENGTH),
        ("10 0001 0001 02 0003", "10 0001 0002", P.ECHO),
        ("16 0004 00f2 0025", "16 0004 00f2 0024", P.ECHO),
        ("08 0001 0000", "08 0002 0000", P.ECHO),
        ("14 07 06 0001 0000 0001", "14 04 03 05 0000", P.REPLY_LENGTH),
        ("15 09 06 0001 0000 0001 0007", "15 09 06 0001 0000 0001 0008", P.ECHO),
        ("18 0000", "18 0042 0020" + "0000" * 32, P.QUANTITY),
        ("18 0000", "18 0004 0002 0000 0000", P.REPLY_LENGTH),
        ("2b 0e 01 00", "2b 0e 02 01 00 00 00", P.ECHO),
        ("07", "07", P.LENGTH),
        ("11", "11 03 00ff", P.LENGTH),
    ],
)
def test_what_does_not_fit_a_reply(request_: str, reply: str, problem: Problem) -> None:
    assert answered(request_, reply) == Reply(0, (), problem)


def test_server_id_is_a_text() -> None:
    assert answered("11", "11 03 5347ff").texts == ((0, b"SG\xff"),)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_give_a_result(request_: bytes, reply: bytes) -> None:
    request = parse_request(request_)
    assert request.is_write == is_write(request.function, request.sub)
    parse_reply(request, reply)
    if request.problems:
        assert request.write_values == ()
    if len(request_) > PDU_BYTES_MAX:
        assert request.problems


ORACLE = {True: DecodePDU(True), False: DecodePDU(False)}  # of the server: requests


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """Return a well-formed request of a function that pymodbus knows as well."""
    function = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22, 23]))
    most = min(FUNCTIONS[function].quantity_max, 121)
    count = draw(st.integers(1, most))
    address = draw(st.integers(0, 65536 - count))
    head = bytes([function]) + address.to_bytes(2, "big")
    if function <= 4:
        return head + count.to_bytes(2, "big")
    if function == 5:
        return head + draw(st.sampled_from([b"\xff\0", b"\0\0"]))
    if function == 6:
        return head + draw(st.binary(min_size=2, max_size=2))
    if function == 22:
        return head + draw(st.binary(min_size=4, max_size=4))
    size = (count + 7) // 8 if function == 15 else count * 2
    data = draw(st.binary(min_size=size, max_size=size))
    if function == 15 and count % 8:  # what fills the last byte is zero
        data = data[:-1] + bytes([data[-1] & ((1 << count % 8) - 1)])
    tail = count.to_bytes(2, "big") + bytes([size]) + data
    return (
        head
        + (b"\0\x01" if function == 23 else b"")
        + (address.to_bytes(2, "big") + tail if function == 23 else tail)
    )


@given(fields())
@settings(max_examples=upto(200))
def test_pymodbus_reads_the_same_request(pdu: bytes) -> None:
    theirs = ORACLE[True].decode(pdu)
    ours = parse_request(pdu)
    assert theirs is not None
    assert ours.problems == 0
    assert ours.function == theirs.function_code
    if ours.function == 23:
        assert ours.address == theirs.read_address
        assert ours.count == theirs.read_count
        assert ours.write_address == theirs.write_address
        assert list(ours.write_values) == list(theirs.write_registers)
        return
    assert ours.address == theirs.address
    if ours.function <= 4:
        assert ours.count == theirs.count
    elif ours.function in {5, 15}:
        assert ours.write_values == tuple(map(int, theirs.bits[: ours.count]))
    elif ours.function in {6, 16}:
        assert list(ours.write_values) == list(theirs.registers)
    else:
        assert ours.write_values == (theirs.and_mask, theirs.or_mask)


@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 125), st.data())
def test_pymodbus_reads_the_same_reply(
    function: int, count: int, data: st.DataObject
) -> None:
    size = (count + 7) // 8 if function <= 2 else count * 2
    body = data.draw(st.binary(min_size=size, max_size=size))
    reply = bytes([function, size]) + body
    theirs = ORACLE[False].decode(reply)
    ours = parse_reply(
        parse_request(bytes([function, 0, 0]) + count.to_bytes(2, "big")), reply
    )
    assert theirs is not None
    assert ours.problems == 0
    if function <= 2:
        assert ours.values == tuple(map(int, theirs.bits[:count]))
    else:
        assert list(ours.values) == list(theirs.registers)
