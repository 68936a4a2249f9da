"""Which parts of the daemon still make progress, and what it says of itself. Pure.

Every part has a count that rises with each of its steps, and tells whether a step is
due at all: who has nothing to do, or waits for another part, is not judged (the other
one is). A part is stalled when a step was due for longer than its patience and none
came. Only time in which we looked counts: a machine that slept, or a process that was
stopped, has not stalled by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND_NS: Final = 1_000_000_000
PROBLEM_CHARACTERS: Final = 120
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sign:
    """What a part shows at one moment."""

    part: str
    count: int  # of its steps since the start
    due: bool  # False: idle, or waits for another part
    patience_s: float  # how long a step may take


@dataclass(frozen=True, slots=True)
class Stalled:
    """A part that owes a step, and for how long."""

    part: str
    seconds: float


class Vitals:
    """Compares the signs of one look with those of the last."""

    def __init__(self, look_max_s: float) -> None:
        """``look_max_s``: more time than this between two looks was no time of ours."""
        self._look_max_ns = int(look_max_s * SECOND_NS)
        self._last_ns: int | None = None
        self._seen: dict[str, tuple[int, int]] = {}  # part -> its count, ns without one

    def look(self, monotonic_ns: int, signs: Iterable[Sign]) -> tuple[Stalled, ...]:
        """Return who is stalled now; a part that is not shown is forgotten."""
        last_ns = monotonic_ns if self._last_ns is None else self._last_ns
        passed_ns = min(max(monotonic_ns - last_ns, 0), self._look_max_ns)
        self._last_ns = monotonic_ns
        seen: dict[str, tuple[int, int]] = {}
        stalled: list[Stalled] = []
        for sign in signs:
            count, still_ns = self._seen.get(sign.part, (-1, 0))
            is_still = sign.due and count == sign.count
            still_ns = still_ns + passed_ns if is_still else 0
            seen[sign.part] = (sign.count, still_ns)
            if still_ns > sign.patience_s * SECOND_NS:
                stalled.append(Stalled(sign.part, still_ns / SECOND_NS))
        self._seen = seen
        return tuple(stalled)


@dataclass(frozen=True, slots=True)
class Summary:
    """What one line can say of a running agent; no value of any datum."""

    policy: str
    version: int
    state: str
    sources_open: int
    sources: int
    uplink: str
    spool_bytes: int
    problems: tuple[str, ...]


def sentence(now: Summary) -> str:
    """Return the line that ``systemctl status`` shows."""
    said = [
        f"policy {now.policy} {now.version} {now.state}",
        f"{now.sources_open} of {now.sources} sources",
        now.uplink,
        f"{now.spool_bytes / MIB:.1f} MiB spooled",
    ]
    if now.problems:
        first = " ".join(now.problems[0].split())
        if len(first) > PROBLEM_CHARACTERS:
            first = first[: PROBLEM_CHARACTERS - 3] + "..."
        count = len(now.problems)
        said.append(f"{count} problem{'s' if count > 1 else ''}, first: {first}")
    return "; ".join(said)


def alarm(stalled: tuple[Stalled, ...]) -> str:
    """Return the line that names who is stalled."""
    names = ", ".join(f"{one.part} ({one.seconds:.0f} s)" for one in stalled)
    return f"no progress: {names}"
