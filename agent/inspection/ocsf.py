"""Events in the words of other people's tools: OCSF Detection Finding, class 2004.

Source: OCSF 1.x schema, https://schema.ocsf.io (class_uid 2004, category 2); AUTOSAR
QSEv ids and UN R155 rows ride in ``unmapped`` until OCSF knows vehicles. Ids of our own
(``qsev`` numbers) are defaults: OEMs renumber them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from agent.inspection.findings import Finding

OCSF_VERSION: Final = "1.6.0"
BUCKET_NS: Final = 600 * 10**9  # one event per (detector, bus, id) in ten minutes


@dataclass(frozen=True, slots=True)
class Kind:
    """What a detector's finding means to the outside."""

    title: str
    severity_id: int  # OCSF: 1 informational, 2 low, 3 medium, 4 high
    risk: str  # the MIIT risk vocabulary (regulation.md MON-01)
    r155: tuple[str, ...]  # UN R155 Annex 5 Part A rows
    qsev: int  # security event id, ours until an OEM maps it


KINDS: Final = {
    "D1": Kind("Unknown CAN identifier", 3, "illegal access", ("06.1", "11.1"), 0x8001),
    "D2": Kind("Wrong CAN length or frame kind", 3, "tamper", ("06.2", "11.1"), 0x8002),
    "ID1": Kind("Vehicle identifier seen on a bus", 2, "leak", ("19.2",), 0x8010),
    "ID2": Kind("Vehicle identifier written", 4, "tamper", ("20.1",), 0x8011),
}


@dataclass(frozen=True, slots=True)
class Context:
    """What every event of this process carries."""

    device: str
    buses: tuple[str, ...]
    policy_digest: bytes
    clock_confidence: str
    version: str


def event(finding: Finding, context: Context, lost_frames: int) -> bytes:
    """Return one Detection Finding as JSON. Carries ids and counts, no payload."""
    kind = KINDS[finding.detector]
    bus = context.buses[finding.bus] if finding.bus < len(context.buses) else "?"
    subject = f"{finding.detector}|{bus}|{finding.ident:08X}"
    bucket = finding.first_ns // BUCKET_NS
    uid = hashlib.sha256(f"{context.device}|{subject}|{bucket}".encode()).hexdigest()
    body = {
        "class_uid": 2004,
        "category_uid": 2,
        "activity_id": 1,
        "type_uid": 200401,
        "time": finding.first_ns // 10**6,
        "start_time": finding.first_ns // 10**6,
        "end_time": finding.last_ns // 10**6,
        "severity_id": kind.severity_id,
        "status_id": 1,
        "count": finding.count,
        "finding_info": {
            "uid": uid[:32],
            "title": kind.title,
            "types": [finding.detector],
            "desc": finding.detail,
        },
        "metadata": {
            "version": OCSF_VERSION,
            "product": {
                "name": "Sluicegate",
                "vendor_name": "Sluicegate",
                "version": context.version,
            },
        },
        "device": {"uid": context.device, "type_id": 7, "interface_name": bus},
        "action": "observed",
        "unmapped": {
            "can": {"bus": bus, "ident": f"{finding.ident:X}"},
            "risk_type": kind.risk,
            "r155": list(kind.r155),
            "qsev": {
                "idsm_instance": 0,
                "sensor_instance": finding.bus,
                "security_event": kind.qsev,
            },
            "time_ns": finding.first_ns,
            "clock": context.clock_confidence,
            "policy": context.policy_digest.hex(),
            "degraded": lost_frames > 0,
            "lost_frames": lost_frames,
        },
    }
    return msgspec.json.encode(body)
