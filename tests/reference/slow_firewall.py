"""The firewall, slowly: rule by rule and value by value, from its text alone.

An oracle that shares no code with the product: it reads the ``modbus:`` section as YAML
gives it, and judges one request after the other. ``unit`` 0 and 255 are allowed only
by rules that ask for them, and functions without an address only by rules without any.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import re
import struct
from dataclasses import dataclass, field

READS = {1, 2, 3, 4, 7, 8, 11, 12, 17, 20, 24, 43}
WRITES = {5, 6, 15, 16, 21, 22, 23}
PUBLIC = READS | WRITES
TABLES = {1: 0, 5: 0, 15: 0, 2: 1, 4: 3, 3: 4, 6: 4, 16: 4, 22: 4, 23: 4, 24: 4}
QUANTITY = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
NS = 1_000_000_000


@dataclass
class Part:
    """What one half of a request touches; 23 has two."""

    function: int
    table: int | None = None
    address: int = 0
    count: int = 0
    values: list[int] | None = None  # None: reads, or not known (22)
    writes: bool = False


@dataclass
class Rules:
    """One section, and what it remembers. ``items``: name -> where and how."""

    section: dict
    items: dict[str, dict] = field(default_factory=dict)
    last: dict[tuple, int] = field(default_factory=dict)
    passed: dict[str, list[int]] = field(default_factory=dict)

    def judge(
        self, now_ns: int, client: str, link: str, unit: int, pdu: bytes
    ) -> tuple[bool, str]:
        """Return whether it may pass, and why not."""
        good, why = self._judged(now_ns, client, link, unit, pdu)
        dry = self.section.get("mode") == "dry-run" and why != "MALFORMED"
        if unit == 0 and (good or dry):  # it reaches every unit of the line
            for part in parse(pdu) or ():
                for place in [*self.last]:
                    at = place[3] - part.address
                    same = place[0] == link and place[2] == part.table
                    if part.writes and same and 0 <= at < part.count:
                        del self.last[place]
        return good, why

    def _judged(
        self, now_ns: int, client: str, link: str, unit: int, pdu: bytes
    ) -> tuple[bool, str]:
        parts = parse(pdu)
        if parts is None:
            return False, "MALFORMED"
        if self.section.get("mode") == "read-only" and is_write(pdu):
            return False, "READ_ONLY"
        told = [self._part(now_ns, client, (link, unit), pdu, one) for one in parts]
        whys = [why for rule, why in told if rule is None]
        if "DENIED" in whys:
            return False, "DENIED"
        if whys:
            return self.section.get("default") == "monitor", whys[0]
        used = {rule["name"]: rule for rule, _ in told if rule is not None}
        for name, rule in used.items():
            if "rate" in rule:
                self.passed.setdefault(name, []).append(now_ns)
        return True, ""

    def answered(self, link: str, unit: int, pdu: bytes, reply: bytes | None) -> None:
        """Remember what was read, and what was written and confirmed.

        ``reply`` None: it may have been written, nobody knows.
        """
        if reply is not None and (not reply or reply[0] != pdu[0]):
            reply = None
        for part in parse(pdu) or ():
            if part.table is None or (reply is None and not part.writes):
                continue
            places = [(link, unit, part.table, part.address + i)
                      for i in range(part.count)]  # fmt: skip
            values = part.values
            if pdu[0] == 22 and places[0] in self.last:
                keep, put = struct.unpack(">HH", pdu[3:7])
                values = [self.last[places[0]] & keep | put & (65535 - keep)]
            if reply is None:
                for place in places:
                    self.last.pop(place, None)
                continue
            if not part.writes and part.table in {3, 4} and pdu[0] != 24:
                values = [
                    int.from_bytes(reply[i : i + 2], "big")
                    for i in range(2, len(reply) - 1, 2)
                ]
            if not part.writes and part.table in {0, 1}:
                bits = reply[2:]
                values = [bits[i >> 3] >> (i & 7) & 1 for i in range(part.count)]
            self.last.update(zip(places, values or (), strict=False))

    def _part(
        self, now_ns: int, client: str, place: tuple, pdu: bytes, part: Part
    ) -> tuple[dict | None, str]:
        why = "NO_RULE"
        for rule in self.section["rules"]:
            do = rule.get("do", "allow")
            if not self._who(rule, client, place) or do == "alert":
                continue
            if not self._function(rule, pdu, part):
                continue
            touched, covered = self._places(rule, part, do)
            if do == "deny":
                if touched and not self._limits(rule, now_ns, place, Part(0)):
                    return None, "DENIED"
                continue
            if not covered:
                continue
            wrong = self._limits(rule, now_ns, place, part)
            if not wrong:
                return rule, ""
            why = wrong if why == "NO_RULE" else why
        return None, why

    def _who(self, rule: dict, client: str, place: tuple) -> bool:
        link, unit = place
        if "item" in rule and (link, unit) != self.items[rule["item"]]["place"]:
            return False
        allows = rule.get("do", "allow") == "allow"
        if allows and unit in {0, 255} and "unit" not in rule and "item" not in rule:
            return False
        named = "unit" not in rule or within(unit, rule["unit"])
        told = rule.get("to")
        to = told is None or link in (told if isinstance(told, list) else [told])
        return (
            named
            and to
            and any(self._is(client, name) for name in listed(rule.get("from")))
        )

    def _is(self, client: str, name: str | None) -> bool:
        if name is None:
            return True
        told = self.section.get("clients", {}).get(name, name)
        if isinstance(told, dict):
            told = told.get("addresses", [])
        return any(
            ipaddress.ip_address(client) in ipaddress.ip_network(one)
            for one in (told if isinstance(told, list) else [told])
        )

    def _function(self, rule: dict, pdu: bytes, part: Part) -> bool:
        groups = {
            "reads": READS - {8, 43},  # they read or write by their sub-function
            "writes": WRITES,
            "public": PUBLIC,
            "vendor": {*range(1, 128)} - PUBLIC,
        }
        wanted: set[int] = set()
        for one in listed(rule.get("fc")):
            if one is None:
                wanted = set(range(1, 128))
            else:
                wanted |= groups[one] if isinstance(one, str) else {one}
        # The reading half of 23 is also allowed where 3 is.
        also = {3} if pdu[0] == 23 and not part.writes else set()
        if not wanted & ({pdu[0]} | also):
            return False
        sub = int.from_bytes(pdu[1:3], "big")
        if pdu[0] == 43 and pdu[1] != 14:
            sub &= 0xFF00
        return "sub" not in rule or (pdu[0] in {8, 43} and within(sub, rule["sub"]))

    def _places(self, rule: dict, part: Part, do: str) -> tuple[bool, bool]:
        """Tell whether the rule touches the part, and whether it covers it whole."""
        if "item" in rule:
            item = self.items[rule["item"]]
            first, last = item["address"], item["address"] + item["registers"] - 1
            if part.table != item["table"]:
                return False, False
            if part.writes and do == "allow":  # the whole item and nothing else
                whole = (part.address, part.address + part.count - 1) == (first, last)
                return whole, whole
            ranges = [(first, last)]
        else:
            if "table" in rule and part.table != rule["table"]:
                return False, False
            if "addr" not in rule:
                return True, True
            if part.table is None:
                return False, False
            ranges = spans(rule["addr"])
        wanted = range(part.address, part.address + part.count)
        hit = [any(a <= one <= b for a, b in ranges) for one in wanted]
        return any(hit), all(hit) and bool(hit)

    def _limits(self, rule: dict, now_ns: int, place: tuple, part: Part) -> str:
        if "when" in rule and not in_time(rule["when"], now_ns):
            return "TIME"
        if part.writes and ("value" in rule or "max_delta" in rule):
            wrong = self._values(rule, place, part)
            if wrong:
                return wrong
        if "rate" in rule:
            most, _, unit = str(rule["rate"]).partition("/")
            window = {"s": 1, "min": 60, "h": 3600}[unit] * NS
            passed = self.passed.get(rule["name"], [])
            if sum(now_ns - at < window for at in passed) >= int(most):
                return "RATE"
        return ""

    def _values(self, rule: dict, place: tuple, part: Part) -> str:
        if part.values is None:
            return "VALUE"
        new = self._physical(rule, part.values)
        if new is None:
            return "VALUE"
        if "value" in rule:
            low, high = rule["value"]
            if not all(low <= one <= high for one in new):
                return "VALUE"
        if "max_delta" in rule:
            keys = [(*place, part.table, part.address + i) for i in range(part.count)]
            if not all(key in self.last for key in keys):
                return "UNKNOWN_BEFORE"
            old = self._physical(rule, [self.last[key] for key in keys])
            if old is None:
                return "UNKNOWN_BEFORE"
            pairs = zip(new, old, strict=True)
            if not all(abs(a - b) <= rule["max_delta"] for a, b in pairs):
                return "DELTA"
        return ""

    def _physical(self, rule: dict, raw: list[int]) -> list[float] | None:
        if "item" not in rule:
            return [float(one) for one in raw]
        item = self.items[rule["item"]]
        if item["type"] == "i16":
            raw = [one - 65536 if one > 32767 else one for one in raw]
        if len(raw) != item["registers"]:
            return None
        if item["type"] != "f32":
            return [raw[0] * item.get("scale", 1.0)]
        words = raw[::-1] if item.get("order") == "CDAB" else raw
        (value,) = struct.unpack(">f", struct.pack(">HH", *words))
        return [value] if math.isfinite(value) else None


def bound(bindings: dict) -> dict[str, dict]:
    """Return item -> its point, with ``place`` and ``registers``, of bindings."""
    found = {}
    for part in bindings.get("modbus", ()):
        for point in part["points"]:
            kind = point["type"]
            size = {"coil": 1, "u16": 1, "i16": 1}.get(kind, point.get("length", 2))
            here = {"place": (part["link"], part["unit"]), "registers": size}
            found[point["item"]] = point | here
    return found


def listed(told: object) -> list:
    """Return a list of what may be one, several, or nothing (None: all)."""
    return told if isinstance(told, list) else [told]


def spans(told: object) -> list[tuple[int, int]]:
    """Return ranges of ``7``, ``[1, 9]`` (from, to), or a longer list."""
    if isinstance(told, int):
        return [(told, told)]
    assert isinstance(told, list)
    if len(told) == 2 and all(isinstance(one, int) for one in told):
        return [(told[0], told[1])]
    return [span for one in told for span in spans(one)]


def within(number: int, told: object) -> bool:
    """Tell whether a number lies in what a rule says."""
    return any(low <= number <= high for low, high in spans(told))


def in_time(text: str, now_ns: int) -> bool:
    """Tell whether a time lies in ``Mon-Fri 07:00-19:00 +08:00``."""
    names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    match = re.fullmatch(
        r"(\w{3})-(\w{3}) (\d\d):(\d\d)-(\d\d):(\d\d) ([+-])(\d\d):(\d\d)", text
    )
    assert match is not None
    hours, minutes = int(match[8]), int(match[9])
    offset = dt.timedelta(hours=hours, minutes=minutes)
    zone = dt.timezone(offset if match[7] == "+" else -offset)
    now = dt.datetime.fromtimestamp(now_ns / NS, zone)
    first, last = names.index(match[1]), names.index(match[2])
    minute = now.hour * 60 + now.minute
    begin = int(match[3]) * 60 + int(match[4])
    end = int(match[5]) * 60 + int(match[6])
    if begin < end:
        return first <= now.weekday() <= last and begin <= minute < end
    yesterday = (now - dt.timedelta(days=1)).weekday()  # it began then
    return (first <= now.weekday() <= last and minute >= begin) or (
        first <= yesterday <= last and minute < end
    )


def is_write(pdu: bytes) -> bool:
    """Tell whether a request may change the device."""
    function = pdu[0]
    if function == 8:
        return int.from_bytes(pdu[1:3], "big") not in {0, 2, *range(11, 19)}
    if function == 43:
        return pdu[1:2] != b"\x0e"
    return function not in READS


def _by_sub(pdu: bytes) -> bool:
    """Tell whether functions 8 and 43 are formed as their sub-function wants it."""
    if pdu[0] == 8:
        sub = int.from_bytes(pdu[1:3], "big")
        if len(pdu) > 2 and sub == 0:
            return len(pdu) >= 5 and len(pdu) % 2 == 1
        return len(pdu) == 5
    if len(pdu) < 2:
        return False
    return pdu[1] != 14 or (len(pdu) == 4 and 1 <= pdu[2] <= 4)


def parse(pdu: bytes) -> list[Part] | None:
    """Return what a request touches; None where V1.1b3, clause 6, forbids its form."""
    function = pdu[0] if pdu else 0
    if not 1 <= function <= 127:
        return None
    if function in {1, 2, 3, 4, 5, 6}:
        return _one(pdu)
    if function in {15, 16}:
        return _many(pdu)
    if function == 22:
        if len(pdu) != 7:
            return None
        return [Part(22, 4, int.from_bytes(pdu[1:3], "big"), 1, None, True)]
    if function == 23:
        return _both(pdu)
    lengths = {7: 1, 11: 1, 12: 1, 17: 1, 24: 3}
    if function in lengths and len(pdu) != lengths[function]:
        return None
    if function in {8, 43} and not _by_sub(pdu):
        return None
    if function == 24:
        return [Part(24, 4, int.from_bytes(pdu[1:3], "big"), 1)]
    return [Part(function, writes=is_write(pdu))]


def _one(pdu: bytes) -> list[Part] | None:
    function = pdu[0]
    if len(pdu) != 5:
        return None
    address, word = struct.unpack(">HH", pdu[1:])
    if function == 5:
        good = word in {0, 0xFF00}
        return [Part(5, 0, address, 1, [word >> 15], True)] if good else None
    if function == 6:
        return [Part(6, 4, address, 1, [word], True)]
    good = 1 <= word <= QUANTITY[function] and address + word <= 65536
    return [Part(function, TABLES[function], address, word)] if good else None


def _many(pdu: bytes) -> list[Part] | None:
    if len(pdu) < 6:
        return None
    function, address, count, size = struct.unpack(">BHHB", pdu[:6])
    wanted = (count + 7) // 8 if function == 15 else 2 * count
    good = 1 <= count <= QUANTITY[function] and address + count <= 65536
    if not good or size != wanted or len(pdu) != 6 + size:
        return None
    data = pdu[6:]
    if function == 15:
        values = [data[i >> 3] >> (i & 7) & 1 for i in range(count)]
        return [Part(15, 0, address, count, values, True)]
    values = list(struct.unpack(f">{count}H", data))
    return [Part(16, 4, address, count, values, True)]


def _both(pdu: bytes) -> list[Part] | None:
    if len(pdu) < 10:
        return None
    at, count, place, size, octets = struct.unpack(">HHHHB", pdu[1:10])
    if not (1 <= count <= 125 and 1 <= size <= 121) or octets != 2 * size:
        return None
    if len(pdu) != 10 + octets or at + count > 65536 or place + size > 65536:
        return None
    values = list(struct.unpack(f">{size}H", pdu[10:]))
    return [Part(23, 4, place, size, values, True), Part(23, 4, at, count)]
