"""MITRE ATT&CK for ICS: the techniques that findings name, by version.

Source: https://attack.mitre.org, matrix "ICS". Version 19 (April 2026) renumbered nine
techniques; whoever still works with version 18 finds the old id as an alias. Ids stand
here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERSION: Final = "19.1"


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique, and what version 18 called it, "" where it was the same."""

    id: str
    name: str
    alias: str = ""


TECHNIQUES: Final[dict[str, Technique]] = {
    one.id: one
    for one in (
        Technique("T0806", "Brute Force I/O"),
        Technique("T0814", "Denial of Service"),
        Technique("T0815", "Denial of View"),
        Technique("T0816", "Device Restart/Shutdown"),
        Technique("T0830", "Adversary-in-the-Middle"),
        Technique("T0831", "Manipulation of Control"),
        Technique("T0836", "Modify Parameter"),
        Technique("T0843", "Program Download"),
        Technique("T0845", "Program Upload"),
        Technique("T0846", "Remote System Discovery"),
        Technique("T0846.001", "Remote System Discovery: Port Scan", "T0846"),
        Technique("T0848", "Rogue Master"),
        Technique("T0858", "Change Operating Mode"),
        Technique("T0861", "Point & Tag Identification"),
        Technique("T0888", "Remote System Information Discovery"),
        Technique(
            "T1691.002",
            "Block Operational Technology Message: Reporting Message",
            "T0804",
        ),
        Technique("T1692.001", "Unauthorized Message: Command Message", "T0855"),
        Technique("T1692.002", "Unauthorized Message: Reporting Message", "T0856"),
        Technique("T1693.001", "Modify Firmware: System Firmware", "T0857"),
    )
}


def record(technique: str) -> dict[str, object]:
    """Return a technique as an OCSF ``attack`` object."""
    known = TECHNIQUES[technique]
    return {
        "technique": {"uid": known.id, "name": known.name},
        "version": VERSION,
    }


def aliases(techniques: tuple[str, ...]) -> dict[str, str]:
    """Return the ids of version 18 of those that were renumbered."""
    found = ((one, TECHNIQUES[one].alias) for one in techniques)
    return {one: alias for one, alias in found if alias}
