"""Errors of policy, catalogue, bindings and floor files, and of signed updates.

PolicyError   a file that a person wrote must be mended; names file, line, path, reason
TrustError    an update was not acceptable: record it, keep what there is

Any other exception that leaves this package is a bug here.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_CHARACTERS_MAX: Final = 60  # of a name or value that a message repeats


class PolicyError(ValueError):
    """``file:line: path: reason (hint)``. Line 0: the file as a whole."""

    def __init__(
        self, file: str, line: int, path: str, reason: str, hint: str = ""
    ) -> None:
        """Keep the facts apart so that callers may print or record them alone."""
        place = f"{file}:{line}" if line else file
        text = ": ".join(part for part in (place, path, reason) if part)
        super().__init__(f"{text} ({hint})" if hint else text)
        self.file = file
        self.line = line
        self.path = path
        self.reason = reason
        self.hint = hint


class TrustError(ValueError):
    """An update that is refused; what was trusted before it still is.

    ``rule`` is a stable word that acks, evidence and tickets name (the table stands in
    docs/formats/trust.md section 5); ``reason`` is one line without a value.
    """

    def __init__(self, rule: str, reason: str) -> None:
        """Keep rule and reason apart."""
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


def shown(value: object) -> str:
    """Return a value of a file as a message may repeat it: short, on one line."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) > SHOWN_CHARACTERS_MAX:
        text = text[: SHOWN_CHARACTERS_MAX - 3] + "..."
    return f"'{text}'"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the nearest known name, "" where none is near."""
    choices = sorted(set(known))
    found = get_close_matches(name, choices, n=1, cutoff=0.6)
    if not found:
        lower = {choice.lower(): choice for choice in choices}
        near = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
        found = [lower[one] for one in near]
    return f"did you mean {shown(found[0])}?" if found else ""
