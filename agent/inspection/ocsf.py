"""Events in the words of other people's tools: OCSF Detection Finding, class 2004.

Source: OCSF 1.x schema, https://schema.ocsf.io (class_uid 2004, category 2); AUTOSAR
QSEv ids and UN R155 rows ride in ``unmapped`` until OCSF knows vehicles; what is about
Modbus names its ATT&CK techniques in ``finding_info`` and its hosts in ``unmapped``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from agent.inspection.attack import aliases, record
from agent.inspection.findings import ALL_IDENTS, ALL_UNITS, NO_HOST, CanId
from agent.inspection.kinds import kind_of
from protocols.modbus.exchanges import UNLISTED

if TYPE_CHECKING:
    from agent.inspection.findings import Conversation, Finding, Subject
    from agent.inspection.kinds import Kind

OCSF_VERSION: Final = "1.6.0"
BUCKET_NS: Final = 600 * 10**9  # one event per (detector, bus, id) in ten minutes


@dataclass(frozen=True, slots=True)
class Context:
    """What every event of this process carries."""

    device: str
    buses: tuple[str, ...]
    policy_digest: bytes
    clock_confidence: str
    version: str
    links: tuple[str, ...] = ()
    # Links where what is refused is held back: proxied ones, where rules are enforced.
    held: frozenset[int] = frozenset()


def event(finding: Finding, context: Context, lost_frames: int) -> bytes:
    """Return one Detection Finding as JSON. Carries ids and counts, no payload."""
    kind = kind_of(finding)
    where, key, place = subject_of(finding.subject, context)
    subject = "|".join(one for one in (finding.detector, finding.variant, key) if one)
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
            **_attacks(kind),
        },
        "metadata": {
            "version": OCSF_VERSION,
            "product": {
                "name": "Sluicegate",
                "vendor_name": "Sluicegate",
                "version": context.version,
            },
        },
        "device": {"uid": context.device, "type_id": 7, "interface_name": where},
        "action": action_of(finding, context),
        "unmapped": {
            **place,
            "risk_type": kind.risk,
            "r155": list(kind.r155),
            "qsev": {
                "idsm_instance": 0,
                "sensor_instance": _sensor(finding.subject),
                "security_event": kind.qsev,
            },
            "time_ns": finding.first_ns,
            "clock": context.clock_confidence,
            "policy": context.policy_digest.hex(),
            "degraded": lost_frames > 0,
            "lost_frames": lost_frames,
            **_more(finding, kind),
        },
    }
    return msgspec.json.encode(body)


def subject_of(
    subject: Subject, context: Context
) -> tuple[str, str, dict[str, object]]:
    """Return the interface's name, what tells the subject apart, and its record."""
    if isinstance(subject, CanId):
        known = subject.bus < len(context.buses)
        bus = context.buses[subject.bus] if known else "?"
        if subject.ident == ALL_IDENTS:
            return bus, bus, {"can": {"bus": bus}}
        record_ = {"bus": bus, "ident": f"{subject.ident:X}"}
        return bus, f"{bus}|{subject.ident:08X}", {"can": record_}
    link = link_name(subject, context)
    told: dict[str, object] = {"client": subject.client}
    if subject.server != NO_HOST:
        told["server"] = subject.server
    if subject.link != UNLISTED:
        told["link"] = link
    if subject.unit != ALL_UNITS:
        told["unit"] = subject.unit
    key = f"{subject.client}|{subject.server}|{link}|{subject.unit}"
    return link, key, {"modbus": told}


def link_name(subject: Conversation, context: Context) -> str:
    """Return the configured name of the device; its address where it has none."""
    known = subject.link < len(context.links)
    return context.links[subject.link] if known else subject.server


def action_of(finding: Finding, context: Context) -> str:
    """Tell whether what a finding is about was only seen, or also held back."""
    subject = finding.subject
    held = not isinstance(subject, CanId) and subject.link in context.held
    return "denied" if held and finding.refused else "observed"


def _sensor(subject: Subject) -> int:
    return subject.bus if isinstance(subject, CanId) else subject.link


def _attacks(kind: Kind) -> dict[str, object]:
    """Return the techniques; nothing for what has none (all that is about CAN)."""
    return {"attacks": [record(one) for one in kind.attacks]} if kind.attacks else {}


def _more(finding: Finding, kind: Kind) -> dict[str, object]:
    more: dict[str, object] = {}
    old = aliases(kind.attacks)
    if old:
        more["attack_v18"] = old
    if finding.bound is not None:
        more["certified_fp_per_h"] = round(finding.bound, 3)
    return more
