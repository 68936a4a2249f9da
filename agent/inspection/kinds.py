"""What each detector's findings mean to the outside: one row each.

The risk words are those of the MIIT (regulation.md MON-01); ``qsev`` numbers are ours
until an OEM maps them; techniques stand in ``attack.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.inspection.findings import Finding


@dataclass(frozen=True, slots=True)
class Kind:
    """What a detector's finding means to the outside."""

    title: str
    severity_id: int  # OCSF: 1 informational, 2 low, 3 medium, 4 high, 5 critical
    risk: str  # the MIIT risk vocabulary (regulation.md MON-01)
    r155: tuple[str, ...]  # UN R155 Annex 5 Part A rows
    qsev: int  # security event id, ours until an OEM maps it
    attacks: tuple[str, ...] = ()  # ATT&CK for ICS


ILLEGAL: Final = "illegal access"
TAMPER: Final = "tamper"
ABUSE: Final = "abuse"  # beyond the scope that was given
ABNORMAL: Final = "abnormal traffic"

KINDS: Final = {
    "D1": Kind("Unknown CAN identifier", 3, ILLEGAL, ("06.1", "11.1"), 0x8001),
    "D2": Kind("Wrong CAN length or frame kind", 3, TAMPER, ("06.2", "11.1"), 0x8002),
    "D8": Kind("CAN error frames", 1, ABNORMAL, ("11.1",), 0x8008),
    "D8/bus-off": Kind("CAN bus-off", 4, ABNORMAL, ("11.1", "24.1"), 0x8018),
    "D8/passive": Kind("CAN error-passive", 3, ABNORMAL, ("11.1", "24.1"), 0x8028),
    "D8/burst": Kind("CAN error frames in a burst", 3, ABNORMAL, ("11.1",), 0x8038),
    "D8/overrun": Kind("CAN controller overrun", 2, ABNORMAL, ("24.1",), 0x8048),
    "D8/gone": Kind("CAN interface gone", 3, ABNORMAL, ("24.1",), 0x8058),
    "ID1": Kind("Vehicle identifier seen on a bus", 2, "leak", ("19.2",), 0x8010),
    "ID2": Kind("Vehicle identifier written", 4, TAMPER, ("20.1",), 0x8011),
    "FW": Kind("Modbus request that a rule watches", 2, ILLEGAL, (), 0x8100),
    "M1": Kind(
        "Modbus client that no rule names", 3, ILLEGAL, (), 0x8101, ("T0846.001",)
    ),
    "M1/write": Kind(
        "Modbus write by a client that no rule names", 4, ILLEGAL, (), 0x8111,
        ("T1692.001", "T0848"),
    ),
    "M2": Kind(
        "Modbus write outside the policy", 4, ABUSE, (), 0x8102,
        ("T1692.001", "T0836"),
    ),
    "M2/coil": Kind(
        "Modbus coil write outside the policy", 4, ABUSE, (), 0x8112,
        ("T1692.001", "T0831"),
    ),
    "M2/read": Kind(
        "Modbus read outside the policy", 2, ABUSE, (), 0x8122, ("T0861",)
    ),
    "M3": Kind(
        "Modbus write beyond its limits", 4, TAMPER, (), 0x8103, ("T0836",)
    ),
    "M4": Kind(
        "Modbus scan", 3, ABNORMAL, (), 0x8104, ("T0846.001", "T0888", "T0861")
    ),
    "M5": Kind(
        "Modbus exceptions in a burst", 2, ABNORMAL, (), 0x8105, ("T0888", "T0846")
    ),
    "M6": Kind("Modbus device identified", 2, ILLEGAL, (), 0x8106, ("T0888",)),
    "M7": Kind("Modbus device silenced", 4, ABNORMAL, (), 0x8107, ("T0814",)),
    "M7/restart": Kind(
        "Modbus device restarted", 4, ABNORMAL, (), 0x8117, ("T0816", "T0814")
    ),
    "M7/program": Kind(
        "Modbus controller programmed", 5, TAMPER, (), 0x8127,
        ("T0843", "T0845", "T0858"),
    ),
    "M7/firmware": Kind(
        "Modbus firmware replaced", 5, TAMPER, (), 0x8137, ("T1693.001",)
    ),
    "M8": Kind("Modbus requests in a flood", 3, ABNORMAL, (), 0x8108, ("T0814",)),
    "M8/write": Kind(
        "Modbus writes in a flood", 4, ABNORMAL, (), 0x8118, ("T0806", "T0814")
    ),
    "M9": Kind(
        "Modbus poll unanswered or missing", 3, ABNORMAL, (), 0x8109,
        ("T0815", "T1691.002"),
    ),
    "M10": Kind("Malformed Modbus request", 3, ABNORMAL, (), 0x810A),
    "M10/reply": Kind(
        "Modbus reply that does not fit", 4, TAMPER, (), 0x811A,
        ("T0830", "T1692.002"),
    ),
    "M11": Kind("Modbus values stand still", 3, TAMPER, (), 0x810B, ("T1692.002",)),
    "M11/other": Kind(
        "Modbus values differ from what others read", 3, TAMPER, (), 0x811B,
        ("T1692.002", "T0830"),
    ),
}  # fmt: skip


def kind_of(finding: Finding) -> Kind:
    """Return the row of a finding; a variant without one has its detector's."""
    exact = KINDS.get(f"{finding.detector}/{finding.variant}")
    return KINDS[finding.detector] if exact is None else exact
