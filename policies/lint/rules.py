"""The rules of lint: how grave each is, the duty it comes from, and what it is about.

Rule ids are stable: operators name them in tickets, so none is ever given twice. Errors
refuse the policy; warnings tell its author. Duties are control ids and articles as the
reference of regulation numbers them; "ours" marks a rule that only good sense asks for.

(A hash without a key has no name in the language at all: the parser refuses it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class LintRule:
    """One rule of lint."""

    is_error: bool
    duty: str
    about: str


def _error(duty: str, about: str) -> LintRule:
    return LintRule(is_error=True, duty=duty, about=about)


def _warning(duty: str, about: str) -> LintRule:
    return LintRule(is_error=False, duty=duty, about=about)


# SG030 to SG039 are for consents, SG040 to SG049 and SG060 to
# SG069 for the Modbus firewall, SG050 to SG059 for inspection.
LINT_RULES: Final[Mapping[str, LintRule]] = {
    "SG001": _error("GOV-07, AUTO 4", "a rule lets data leave without a purpose"),
    "SG002": _error(
        "DSL 31, CBDF, TRX-03, TRX-04",
        "important or sensitive personal data leaves the home region without approval",
    ),
    "SG003": _error("GOV-06", "`becomes` claims what no transform does"),
    "SG004": _error("COL-04", "noise on a position: a track averages it out"),
    "SG005": _error("MIITM 17, TRX-01", "personal or G3+ data leaves in the open"),
    "SG006": _error("MIITM 24, TRX-07", "core data leaves without an approval"),
    "SG007": _warning(
        "GOV-07, ours", "a rule can never decide: earlier ones take its items"
    ),
    "SG008": _warning("GOV-07, ours", "rules that match no bound item"),
    "SG009": _warning(
        "GOV-07, ours", "`when` names an item that is not bound: it never holds"
    ),
    "SG010": _warning("STO-03, T54", "positions are retained longer than 14 days"),
    "SG011": _warning("AUTO 3(1), ours", "a position lacks latitude or longitude"),
    "SG012": _warning("MIITM 8, GOV-02", "items in no catalogue: they stay"),
    "SG013": _warning("GOV-06, ours", "a transform that no item of the rule can take"),
    "SG014": _warning("GOV-06", "items that `becomes` does not hold for: they stay"),
    "SG015": _warning("TRX-04, ours", "`region` names no region of the rule's places"),
    "SG016": _warning(
        "AUTO 3(1), T62", "a zone in GCJ-02 has points where no datum is shifted"
    ),
    "SG017": _warning(
        "AUTO 3(1), T62", "a hysteresis of 0: noise at the border opens the zone"
    ),
    "SG018": _warning(
        "AUTO 6(3), COL-04", "a combination: what leaves together has a graver label"
    ),
    "SG019": _warning(
        "MIITM 13, COL-04", "a combination that a rule does not allow: its items stay"
    ),
    "SG020": _warning(
        "AUTO 6(3), COL-04", "one rule's rate alone keeps a combination incomplete"
    ),
    "SG021": _warning(
        "GOV-06, T60", "an item is bound finer than its category: it is another one"
    ),
    "SG022": _warning(
        "GOV-06, TRX-03", "above a volume what a rule lets out is another category"
    ),
    "SG023": _warning("GOV-06, ours", "a volume that nothing here counts to"),
    "SG030": _error(
        "PIPL 29, PI-01", "a rule lets out under a consent what that consent is not for"
    ),
    "SG031": _error("PIPL 14", "... or for another purpose than the person agreed to"),
    "SG032": _warning(
        "PIPL 29, AUTO 9, PI-01",
        "sensitive personal data leaves, and nothing says why it may",
    ),
    "SG033": _warning("PIPL 14, ours", "a consent that no rule asks for"),
    "SG034": _warning(
        "PIPL 29, PI-01", "one consent for several classes of sensitive data"
    ),
    "SG036": _warning("PIPL 14, ours", "a consent on a rule that keeps data in"),
    "SG037": _warning(
        "AUTO 6(2), COL-02", "the ignition item is not bound: only a start is a cycle"
    ),
    "SG040": _warning("DSL 27, ours", "a Modbus write is allowed to anybody"),
    "SG041": _warning("DSL 27, ours", "a Modbus write is allowed to any address"),
    "SG042": _warning("ours", "a Modbus rule that can never decide"),
    "SG043": _warning("ours", "a Modbus rule names what this gateway does not have"),
    "SG044": _warning(
        "DSL 27, ours", "a Modbus rule allows restarts, or vendors' functions"
    ),
    "SG045": _warning("ours", "the Modbus firewall lets through what no rule allows"),
    "SG046": _warning("ours", "read-only, and a Modbus rule allows writes"),
    "SG047": _warning("ours", "a limit of a Modbus rule that has nothing to limit"),
    "SG048": _warning(
        "MIITM 14, COL-08", "a Modbus client with addresses of the internet"
    ),
    "SG049": _warning("ours", "a unit above 247: none on a serial line"),
    "SG050": _warning("MON-01, ours", "what the firewall refuses is told to nobody"),
    "SG051": _warning("ours", "engineering hosts as wide as anybody"),
    "SG060": _warning(
        "MIITM 14, COL-08", "one master may be two Modbus clients of different roles"
    ),
    "SG061": _warning("DSL 27, ours", "a Modbus rule allows broadcast writes"),
    "SG062": _warning("DSL 27, ours", "a Modbus write of any value is allowed"),
    "SG063": _warning("ours", "a Modbus client that no rule names"),
    "SG064": _warning("ours", "a Modbus firewall without rules: all is refused"),
}
