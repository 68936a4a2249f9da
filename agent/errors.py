"""Errors of the agent, by who is at fault. Any other exception is a bug.

BadInput      the operator's file or argument is wrong: one line, exit code 2
Refused       a policy, key or receipt was not acceptable: recorded, the old one stays
Unavailable   disk, bus, device or broker is away: back off and try again
Fatal         we no longer know our own state: stop, and recover at the next start

(``protocols.errors.WireError``: a peer sent bytes the format forbids: counted.)
"""


class SluicegateError(Exception):
    """Root of the agent's own errors."""


class BadInput(SluicegateError):
    """A file or argument that a person must mend."""

    def __init__(self, file: str, place: str, reason: str, hint: str = "") -> None:
        """Name the file, the place in it, the reason and what to do."""
        line = ": ".join(part for part in (file, place, reason) if part)
        super().__init__(f"{line} ({hint})" if hint else line)
        self.file = file
        self.place = place
        self.reason = reason
        self.hint = hint


class Refused(SluicegateError):
    """Something from outside that we do not take; ``rule`` says by which rule."""

    def __init__(self, rule: str, reason: str) -> None:
        """Name the rule that refused and the reason."""
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


class Unavailable(SluicegateError):
    """A part of the world is away for now; ``what`` names it."""

    def __init__(self, what: str, reason: str) -> None:
        """Name what is away and why."""
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class Fatal(SluicegateError):
    """Our own state is unknown. Only recovery can tell."""
