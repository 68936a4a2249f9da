"""`sluicectl policy check`: parse, compile, lint and floor, as a table or JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.errors import BadInput
from fleet.listing import write, write_table
from fleet.policy.source import read
from policies.representative import ABOUT_BOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.policy.source import Against
    from policies.files import Loaded

FLOOR: Final = "floor"  # the rule id of what is weaker than the owner's floor
FLOOR_DUTY: Final = "DESIGN 2(8), ours"
READS: Final = "reads"  # ... of what cannot be read or compiled at all


@dataclass(frozen=True, slots=True)
class Said:
    """One line about one file."""

    rule: str
    grade: str  # error | warning
    line: int  # 0: the file as a whole
    path: str
    reason: str
    duty: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in one file."""

    file: str
    policy: str
    version: int
    rules: int
    items: int
    found: tuple[Said, ...]

    @property
    def errors(self) -> int:
        """Return how many findings refuse the policy."""
        return sum(one.grade == "error" for one in self.found)

    @property
    def warnings(self) -> int:
        """Return how many findings only tell its author."""
        return len(self.found) - self.errors

    @property
    def is_broken(self) -> bool:
        """Tell whether it could not even be compiled."""
        return any(one.rule == READS for one in self.found)


def check_all(
    policies: Sequence[str], against: Against, *, strict: bool, as_json: bool
) -> int:
    """Print what is wrong with each file; return the exit code.

    0: nothing refuses a policy. 1: lint or the floor does (``strict``: or warns). What
    cannot be read is told on stderr, one line each, and the exit code is 2.
    """
    checked = [check(policy, against) for policy in policies]
    if as_json:
        told = [
            {**msgspec.to_builtins(one), "errors": one.errors, "warnings": one.warnings}
            for one in checked
        ]
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        for one in checked:
            if not one.is_broken:
                _print(one, against)
    sys.stdout.flush()
    broken = [one.found[0].reason for one in checked if one.is_broken]
    for reason in broken[:-1]:
        sys.stderr.write(f"sluicectl: {reason}\n")
    if broken:
        raise BadInput("", "", broken[-1])
    refused = any(one.errors or (strict and one.warnings) for one in checked)
    return 1 if refused else 0


def check(policy: str, against: Against) -> Checked:
    """Return what is wrong with one policy."""
    try:
        loaded = read(policy, against)
    except BadInput as error:
        said = Said(READS, "error", 0, "", str(error), "")
        return Checked(policy, "", 0, 0, 0, (said,))
    compiled = loaded.compiled
    return Checked(
        policy,
        compiled.policy.name,
        compiled.policy.version,
        len(compiled.document.model.rules),
        len(compiled.policy.items),
        tuple(_found(loaded, is_bound=against.is_bound)),
    )


def _found(loaded: Loaded, *, is_bound: bool) -> list[Said]:
    out = [
        Said(
            one.rule, "error" if one.is_error else "warning", one.line, one.path,
            one.reason, one.duty,
        )
        for one in loaded.findings
        if is_bound or one.rule not in ABOUT_BOUND
    ]  # fmt: skip
    model = loaded.compiled.document.model
    tree = loaded.compiled.document.tree
    numbers = {rule.name: number for number, rule in enumerate(model.rules)}
    for violation in loaded.violations:
        number = numbers.get(violation.policy_rule)
        line = 0 if number is None else tree.line(("rules", number))
        reason = (
            f"weaker than floor rule {violation.floor_rule}: for"
            f" {violation.destination}: {violation.item}: {violation.reason}"
        )
        path = f"rules[{violation.policy_rule}]"
        out.append(Said(FLOOR, "error", line, path, reason, FLOOR_DUTY))
    return out


def _print(one: Checked, against: Against) -> None:
    bound = "" if against.is_bound else " (of every category; give -b for a gateway's)"
    write(f"{one.file}: {one.policy} version {one.version}, {one.rules} rules,"
          f" {one.items} items{bound}")  # fmt: skip
    write_table(
        ("line", "rule", "grade", "duty", "what"),
        [
            (
                str(said.line or "-"),
                said.rule,
                said.grade,
                said.duty or "-",
                f"{said.path}: {said.reason}" if said.path else said.reason,
            )
            for said in one.found
        ],
        right=(0,),
    )
    write(f"{one.errors} errors, {one.warnings} warnings")
