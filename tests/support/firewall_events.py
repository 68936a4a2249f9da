"""Small worlds for the firewall: sections, and talks that often meet their rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from protocols.modbus.exchanges import NO_REPLY, PairBatch
from protocols.modbus.pdu import parse_request
from protocols.modbus.peers import Peers

NS = 1_000_000_000
MONDAY_NS = 4 * 86_400 * NS  # 1970-01-05
BINDINGS: dict[str, Any] = {
    "schema": "sluicegate/bindings/1",
    "name": "b",
    "modbus": [
        {"link": "plc1", "unit": 1, "points": [
            {"item": "Plant.L.R.Level", "address": 2, "table": 4, "type": "f32",
             "order": "CDAB"},
            {"item": "Plant.L.R.Speed", "address": 5, "table": 4, "type": "i16",
             "scale": 0.5},
        ]},
        {"link": "plc2", "unit": 0, "points": [
            {"item": "Plant.L.R.Pump", "address": 1, "table": 0, "type": "coil"},
        ]},
    ],
}  # fmt: skip
CLIENTS = ("10.0.0.7", "10.0.0.9", "10.1.2.3")
UNITS = (0, 1, 2, 255)


@dataclass(frozen=True)
class Asked:
    at_ns: int
    client: str
    link: int
    unit: int
    pdu: bytes
    reply: bytes


def _w(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


addresses = st.integers(0, 7)
words = st.one_of(st.integers(0, 6), st.sampled_from([0x3F80, 0x4000, 0xFFFF, 0x7F80]))


@st.composite
def pdus(draw: st.DrawFn) -> bytes:
    function = draw(st.sampled_from([1, 3, 3, 4, 5, 6, 6, 15, 16, 16, 22, 23, 8, 17,
                                     43, 90]))  # fmt: skip
    at, count = draw(addresses), draw(st.integers(1, 3))
    values = [draw(words) for _ in range(count)]
    if function in {1, 3, 4}:
        return bytes([function]) + _w(at, count)
    if function in {5, 6}:
        value = draw(st.sampled_from([0, 0xFF00])) if function == 5 else values[0]
        return bytes([function]) + _w(at, value)
    if function == 15:
        return bytes([15]) + _w(at, count) + bytes([1, draw(st.integers(0, 7))])
    if function == 16:
        return bytes([16]) + _w(at, count) + bytes([2 * count]) + _w(*values)
    if function == 22:
        return bytes([22]) + _w(at, draw(words), draw(words))
    if function == 23:
        head = _w(draw(addresses), draw(st.integers(1, 3)), at, count)
        return bytes([23]) + head + bytes([2 * count]) + _w(*values)
    tails = {
        8: _w(draw(st.integers(0, 4)), 0),
        17: b"",
        43: b"\x0e\x01\x00",
        90: b"\x01",
    }
    return bytes([function]) + tails[function]


@st.composite
def replies(draw: st.DrawFn, pdu: bytes) -> bytes:
    """Return what a device might say: nothing, an exception, or what was asked."""
    kind = draw(st.integers(0, 5))
    request = parse_request(pdu)
    if kind == 0 or request.problems:
        return b""
    if kind == 1:
        return bytes([pdu[0] | 0x80, 2])
    if pdu[0] in {3, 4, 23}:
        values = [draw(words) for _ in range(request.count)]
        return bytes([pdu[0], 2 * request.count]) + _w(*values)
    if pdu[0] == 1:
        size = (request.count + 7) // 8
        some = draw(st.integers(0, (1 << min(request.count, 8)) - 1))
        return bytes([1, size, some]) + bytes(size - 1)
    return pdu[:5] if pdu[0] in {15, 16} else pdu


@st.composite
def talks(draw: st.DrawFn) -> list[Asked]:
    out = []
    at = MONDAY_NS + draw(st.integers(0, 86_400)) * NS
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0, NS, NS - 1, 30 * NS, 3600 * NS]))
        pdu = draw(pdus())
        if draw(st.integers(0, 9)) == 0:
            pdu = pdu[: draw(st.integers(1, len(pdu)))] + draw(st.binary(max_size=2))
        reply = draw(replies(pdu))
        out.append(Asked(
            at, draw(st.sampled_from(CLIENTS)), draw(st.integers(0, 1)),
            draw(st.sampled_from(UNITS)), pdu, reply,
        ))  # fmt: skip
    return out


_spans = st.one_of(
    addresses,
    st.tuples(addresses, addresses).map(sorted),
    st.lists(addresses, min_size=3, max_size=4, unique=True),
)
_ITEMS = ("Plant.L.R.Level", "Plant.L.R.Speed", "Plant.L.R.Pump")


@st.composite
def rules(draw: st.DrawFn, name: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": name}
    do = draw(st.sampled_from(["allow", "allow", "allow", "deny", "alert"]))
    if do != "allow":
        rule["do"] = do

    def maybe(field: str, values: st.SearchStrategy[Any], often: int = 3) -> None:
        if draw(st.integers(0, often)) == 0:
            rule[field] = draw(values)

    maybe("from", st.sampled_from(["hmi", "all", "10.0.0.9", ["hmi", "10.1.2.3"]]), 1)
    maybe("to", st.sampled_from(["plc1", "plc2", ["plc1", "plc2"]]))
    maybe("fc", st.sampled_from([3, [3, 4], 6, [6, 16], 23, 22, 8, "reads", "writes",
                                 "public", "vendor"]), 1)  # fmt: skip
    maybe("sub", st.sampled_from([1, [0, 2], [0x0E01, 0x0E04], 65535]), 9)
    if draw(st.integers(0, 3)) == 0:
        rule["item"] = draw(st.sampled_from(_ITEMS))
    else:
        maybe("unit", st.sampled_from([1, [0, 1], 255, [0, 255]]), 2)
        maybe("addr", _spans, 1)
        maybe("table", st.sampled_from([0, 3, 4]), 4)
    if do != "alert":
        maybe("when", st.sampled_from(["Mon-Fri 07:00-19:00 +08:00",
                                       "Tue-Sun 22:00-06:00 -03:30"]), 6)  # fmt: skip
    if do == "allow":
        maybe(
            "value",
            st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from([2, 5])).map(list),
        )
        maybe("max_delta", st.sampled_from([0, 1, 2]))
        maybe("rate", st.sampled_from(["1/min", "2/min", "1/h"]))
    return rule


@st.composite
def sections(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "default": draw(st.sampled_from(["deny", "deny", "monitor"])),
        "mode": draw(st.sampled_from(["enforce", "enforce", "dry-run", "read-only"])),
        "answer": draw(st.sampled_from(["exception", "drop"])),
        "clients": {"hmi": "10.0.0.7", "all": ["10.0.0.0/16", "10.1.2.3"]},
        "rules": [draw(rules(f"r{n}")) for n in range(draw(st.integers(1, 5)))],
    }  # fmt: skip


def pairs_of(talk: list[Asked]) -> tuple[PairBatch, list[str]]:
    """Return a talk as a tap hands it over, and the masters' names by number."""
    peers = Peers()
    sizes = [size for one in talk for size in (len(one.pdu), len(one.reply))]
    at = np.cumsum([0, *sizes])[:-1].reshape(-1, 2)
    size = np.array(sizes, np.uint16).reshape(-1, 2)
    joined = b"".join(part for one in talk for part in (one.pdu, one.reply))
    count = len(talk)
    has_reply = size[:, 1] > 0
    times = np.array([one.at_ns for one in talk], np.int64)
    pairs = PairBatch(
        np.frombuffer(joined + bytes(260), np.uint8), times,
        np.where(has_reply, times, 0),
        np.array([peers.number(one.client) for one in talk], np.uint16),
        np.zeros(count, np.uint16), np.array([one.link for one in talk], np.uint8),
        np.array([one.unit for one in talk], np.uint8),
        np.arange(count).astype(np.uint16), at[:, 0], size[:, 0],
        np.where(has_reply, at[:, 1], NO_REPLY), size[:, 1],
        np.zeros(count, np.uint32), np.zeros(count, np.uint8),
        np.full(count, -1, np.int16), np.zeros(count, np.uint8),
    )  # fmt: skip
    return pairs, peers.names
