"""One line of a lint report, and how a rule of lint makes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.lint.rules import LINT_RULES

if TYPE_CHECKING:
    from policies.compile import Compiled
    from policies.yaml_tree import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a lint report."""

    rule: str  # SG001 ...
    is_error: bool
    file: str
    line: int
    path: str
    reason: str
    duty: str = ""

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        kind = "error" if self.is_error else "warning"
        duty = f" [{self.duty}]" if self.duty else ""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {kind} {self.rule}: {self.reason}{duty}"


def finding(compiled: Compiled, rule: str, path: Path, reason: str) -> Finding:
    """Return the finding of rule ``SG...`` at ``path`` of the policy file."""
    error = compiled.document.error(path, reason)
    known = LINT_RULES[rule]
    return Finding(
        rule, known.is_error, error.file, error.line, error.path, reason, known.duty
    )
