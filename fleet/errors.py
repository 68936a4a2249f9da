"""Errors of the operator's side.

BadInput     a file or argument that a person must mend: one line, exit code 2
Refused      bytes from a device that are not acceptable: a finding, never used
Unavailable  broker or disk is away: one line, exit code 1
"""


class FleetError(Exception):
    """Root of the fleet's own errors."""


class BadInput(FleetError):
    """A file or argument that a person must mend."""

    def __init__(self, file: str, place: str, reason: str, hint: str = "") -> None:
        """Name the file, the place in it, the reason and what to do."""
        line = ": ".join(part for part in (file, place, reason) if part)
        super().__init__(f"{line} ({hint})" if hint else line)


class Refused(FleetError):
    """A message of a device that is not acceptable; ``rule`` says by which rule."""

    def __init__(self, rule: str, reason: str) -> None:
        """Name the rule that refused and the reason, without any value."""
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


class Unavailable(FleetError):
    """Something of the world is away for now; ``what`` names it."""

    def __init__(self, what: str, reason: str) -> None:
        """Name what is away and why."""
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason
