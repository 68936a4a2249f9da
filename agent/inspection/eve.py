"""Findings and exchanges in the words of Suricata's EVE log, for tools that read it.

Source: Suricata user guide, "Eve JSON Format", and what its Modbus logger writes.
``alert`` records carry findings, ``modbus`` records exchanges. Never a value: what
Suricata calls ``data``, ``and_mask`` and ``or_mask`` is left out (promise 6). Ports are
not known here.

Rows become lines one by one, so only few may: those that are out of the ordinary, or
``ROWS_MAX`` of a batch; the others are counted.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from agent.inspection.attack import TECHNIQUES
from agent.inspection.eve_words import access_type, category, function_code
from agent.inspection.findings import CanId
from agent.inspection.kinds import kind_of
from agent.inspection.modbus_groups import name_of
from agent.inspection.ocsf import action_of, subject_of
from protocols.modbus.exchanges import Problem, Verdict
from protocols.modbus.functions import EXCEPTION_BIT, EXCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import Finding, View
    from agent.inspection.ocsf import Context
    from protocols.frames import Bool
    from protocols.modbus.exchanges import ExchangeBatch

ROWS_MAX: Final = 256  # of one batch
LINES_WAITING_MAX: Final = 8192
GENERATOR: Final = 1
# OCSF's severities grow, Suricata's shrink: 1 is the gravest.
SEVERITY: Final = {1: 4, 2: 3, 3: 2, 4: 1, 5: 1}
FLAGS: Final = (
    (Problem.PROTOCOL, "PROTO_ID"),
    (
        Problem.LENGTH | Problem.BYTE_COUNT | Problem.REPLY_LENGTH | Problem.RANGE,
        "DATA_LENGTH",
    ),
    (Problem.VALUE | Problem.QUANTITY | Problem.ECHO, "DATA_VALUE"),
    (Problem.FUNCTION | Problem.UNKNOWN, "FUNC_CODE"),
    (Problem.EXCEPTION, "EXC_CODE"),
)  # fmt: skip


class EveLines:
    """Collects lines, bounded, until an adapter takes them."""

    def __init__(self, exchanges: str = "odd") -> None:
        """Take which exchanges become records: ``none``, ``odd`` or ``all``."""
        self._exchanges = exchanges
        self._lines: list[bytes] = []
        self._id = 0
        self.left_out = 0  # records beyond the bounds

    def alerts(self, findings: Sequence[Finding], context: Context) -> None:
        """Make records of findings that became events."""
        for finding in findings:
            self._append(alert(finding, context))

    def seen(self, view: View) -> None:
        """Make records of the batch's exchanges, as many as may be."""
        exchanges = view.exchanges
        if exchanges is None or self._exchanges == "none":
            return
        wanted = odd(exchanges)
        if self._exchanges == "all":
            wanted[:] = True
        rows = np.flatnonzero(wanted)
        self.left_out += max(len(rows) - ROWS_MAX, 0)
        for row in rows[:ROWS_MAX].tolist():
            self._id += 1
            self._append(transaction(exchanges, row, view.names, self._id))

    def take(self) -> list[bytes]:
        """Return the lines that wait, each with its line break, and forget them."""
        lines, self._lines = self._lines, []
        return lines

    def _append(self, record: dict[str, object]) -> None:
        if len(self._lines) >= LINES_WAITING_MAX:
            self.left_out += 1
            return
        self._lines.append(msgspec.json.encode(record) + b"\n")


def odd(exchanges: ExchangeBatch) -> Bool:
    """Tell per row whether it is out of the ordinary: no read that was answered."""
    rows: Bool = exchanges.is_write | (exchanges.problems != 0)
    rows |= (exchanges.exception != 0) | (exchanges.alert >= 0)
    rows |= exchanges.verdict == int(Verdict.REFUSED)
    return rows


def alert(finding: Finding, context: Context) -> dict[str, object]:
    """Return a finding as an ``alert`` record."""
    kind = kind_of(finding)
    where, key, place = subject_of(finding.subject, context)
    subject = finding.subject
    hosts = {} if isinstance(subject, CanId) else _hosts(subject.client, subject.server)
    return {
        "timestamp": timestamp(finding.first_ns),
        **hosts,
        "in_iface": where,
        "event_type": "alert",
        "alert": {
            "action": "blocked"
            if action_of(finding, context) == "denied"
            else "allowed",
            "gid": GENERATOR,
            "signature_id": kind.qsev,
            "rev": 1,
            "signature": kind.title,
            "category": kind.risk,
            "severity": SEVERITY[kind.severity_id],
            "metadata": {
                "detector": [finding.detector],
                "mitre_technique_id": list(kind.attacks),
                "mitre_technique_name": [TECHNIQUES[one].name for one in kind.attacks],
            },
        },
        "sluicegate": {
            "count": finding.count,
            "end": timestamp(finding.last_ns),
            "detail": finding.detail,
            "subject": key,
            **place,
        },
    }


def transaction(
    exchanges: ExchangeBatch, row: int, names: Sequence[str], number: int
) -> dict[str, object]:
    """Return one exchange as a ``modbus`` record; ``number``: counts them."""
    told: dict[str, object] = {"id": number}
    problems = int(exchanges.problems[row])
    if not problems & Problem.UNSOLICITED:
        told["request"] = _message(exchanges, row) | _asked(exchanges, row)
    if exchanges.reply_ns[row] or problems & Problem.UNSOLICITED:
        told["response"] = _message(exchanges, row) | _answered(exchanges, row)
    verdict = Verdict(int(exchanges.verdict[row])).name.lower()
    return {
        "timestamp": timestamp(int(exchanges.time_ns[row])),
        **_hosts(
            name_of(int(exchanges.client[row]), names),
            name_of(int(exchanges.server[row]), names),
        ),
        "event_type": "modbus",
        "modbus": told,
        "sluicegate": {"verdict": verdict},
    }  # fmt: skip


def _hosts(client: str, server: str) -> dict[str, object]:
    """Return who asks whom; the same flow has the same number."""
    both = hashlib.sha256(f"{client}|{server}".encode()).digest()
    found: dict[str, object] = {
        "flow_id": int.from_bytes(both[:7], "big") >> 5,  # JSON keeps 53 bits
        "src_ip": client,
    }
    if server:
        found["dest_ip"] = server
    return found | {"proto": "TCP", "app_proto": "modbus"}


def _message(exchanges: ExchangeBatch, row: int) -> dict[str, object]:
    function = int(exchanges.function[row])
    problems = int(exchanges.problems[row])
    flags = [name for bits, name in FLAGS if problems & int(bits)]
    return {
        "transaction_id": int(exchanges.tid[row]),
        "protocol_id": 0,
        "unit_id": int(exchanges.unit[row]),
        "function_raw": function,
        "function_code": function_code(function),
        "access_type": access_type(function),
        "category": category(function),
        "error_flags": " | ".join(flags) or "NONE",
    }


def _asked(exchanges: ExchangeBatch, row: int) -> dict[str, object]:
    """Return the places that a request names; 0-based, as on the wire."""
    found: dict[str, object] = {}
    function = int(exchanges.function[row])
    reads = function == 23 or not exchanges.is_write[row]
    if reads and exchanges.count[row]:
        found["read"] = {
            "address": int(exchanges.address[row]),
            "quantity": int(exchanges.count[row]),
        }
    if exchanges.write_count[row]:
        found["write"] = {
            "address": int(exchanges.write_address[row]),
            "quantity": int(exchanges.write_count[row]),
        }
    return found


def _answered(exchanges: ExchangeBatch, row: int) -> dict[str, object]:
    code = int(exchanges.exception[row])
    if not code:
        return {}
    return {
        "function_raw": int(exchanges.function[row]) | EXCEPTION_BIT,
        "exception": {"raw": code, "code": EXCEPTIONS.get(code, "unknown")},
    }


def timestamp(time_ns: int) -> str:
    """Return ``2026-03-02T06:00:00.000000+0000``, as Suricata writes times."""
    seconds, rest = divmod(time_ns, 10**9)
    at = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+0000"
