"""What must hold in a policy file before it can be compiled: names, suites, spans.

The first thing that is wrong is raised as a PolicyError with its line. What regulation
refuses although it would compile is ``lint``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.consents import check_consents
from policies.errors import nearest, shown
from policies.quantities import NS, duration_ns
from policies.rules import EVERYWHERE

if TYPE_CHECKING:
    from policies.catalogue import CatalogueSet
    from policies.model import Policy
    from policies.parse import Document
    from policies.yaml_tree import Path

SUITES: Final = ("x25519-aes256gcm", "mlkem768x25519-aes256gcm")
LATER_SUITES: Final = ("sm2-sm4gcm",)
RESERVED: Final = ("device", EVERYWHERE)
TELEMETRY_NS_MIN: Final = NS
TELEMETRY_NS_MAX: Final = 86_400 * NS
CHECKPOINT_NS_MAX: Final = 3600 * NS  # DESIGN section 9: at least hourly


def check_policy(document: Document[Policy], catalogues: CatalogueSet) -> None:
    """Raise PolicyError for the first thing that does not fit together."""
    policy = document.model
    if policy.min_version > policy.version:
        reason = f"above the policy's own version {policy.version}"
        raise document.error(("min_version",), reason)
    _check_catalogues(document, catalogues)
    _check_destinations(document)
    _check_rules(document, catalogues)
    check_consents(document, catalogues)
    _check_retention(document, catalogues)
    interval = _span(document, ("telemetry", "interval"), policy.telemetry.interval)
    if not TELEMETRY_NS_MIN <= interval <= TELEMETRY_NS_MAX:
        raise document.error(("telemetry", "interval"), "must be 1 s to 1 d")
    checkpoint = _span(
        document, ("telemetry", "checkpoint"), policy.telemetry.checkpoint
    )
    if not TELEMETRY_NS_MIN <= checkpoint <= CHECKPOINT_NS_MAX:
        raise document.error(
            ("telemetry", "checkpoint"), "checkpoints go out at least hourly"
        )


def _check_catalogues(document: Document[Policy], catalogues: CatalogueSet) -> None:
    known = {one.model.name for one in catalogues.documents}
    files = {one.file for one in catalogues.documents}
    for number, name in enumerate(document.model.catalogues):
        if name not in known and not any(file.endswith(name) for file in files):
            hint = nearest(name, known)
            raise document.error(
                ("catalogues", number), f"no such catalogue: {shown(name)}", hint
            )


def _check_destinations(document: Document[Policy]) -> None:
    for name, destination in document.model.destinations.items():
        path: Path = ("destinations", name)
        if name in RESERVED:
            raise document.error(path, f"the name {shown(name)} is reserved")
        if destination.suite in LATER_SUITES:
            raise document.error(
                (*path, "suite"),
                f"{destination.suite} is not built in this version",
                f"one of {', '.join(SUITES)}",
            )
        if destination.suite not in SUITES:
            hint = nearest(destination.suite, SUITES) or f"one of {', '.join(SUITES)}"
            reason = f"no such suite: {shown(destination.suite)}"
            raise document.error((*path, "suite"), reason, hint)
        if len(set(destination.recipients)) != len(destination.recipients):
            raise document.error((*path, "recipients"), "one is there twice")


def _check_rules(document: Document[Policy], catalogues: CatalogueSet) -> None:
    names: dict[str, int] = {}
    for number, rule in enumerate(document.model.rules):
        path: Path = ("rules", number)
        if rule.name in names:
            first = document.tree.line(("rules", names[rule.name], "name"))
            raise document.error(
                (*path, "name"), "another rule has this name", f"line {first}"
            )
        names[rule.name] = number
        action = rule.do[-1]
        if action == "keep" and not document.model.custodian:
            raise document.error(
                (*path, "do"),
                "keep seals to the custodian, and the policy names none",
                "add custodian: with the name of a recipient",
            )
        if rule.becomes is None:
            continue
        if rule.becomes not in catalogues.entries:
            raise document.error(
                (*path, "becomes"),
                f"no such category: {shown(rule.becomes)}",
                catalogues.hint(rule.becomes),
            )
        if action == "drop":
            raise document.error((*path, "becomes"), "what is dropped becomes nothing")


def _check_retention(document: Document[Policy], catalogues: CatalogueSet) -> None:
    for name, text in document.model.retention.items():
        path: Path = ("retention", name)
        if name != "default" and not catalogues.under(name):
            reason = f"no such category: {shown(name)}"
            raise document.error(path, reason, catalogues.hint(name))
        _span(document, path, text)


def _span(document: Document[Policy], path: Path, text: str) -> int:
    try:
        return duration_ns(text)
    except ValueError as error:
        raise document.error(path, str(error)) from None
