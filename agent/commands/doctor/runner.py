"""Runs checks in the table's order, each within its time, each after what it needs.

A check runs in a thread of its own, which is left behind where it does not come back:
no system call can be taken back (a resolver that hangs, a dead network file system).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from agent.commands.doctor.model import BAD, WARN, Row, bad, skipped
from agent.config import CREDENTIAL
from agent.errors import BadInput, SluicegateError
from policies.errors import PolicyError, TrustError
from protocols.errors import DatabaseError, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Check, Found

OURS: Final = (
    SluicegateError, PolicyError, TrustError, DatabaseError, WireError, OSError,
)  # fmt: skip

IDENTITY: Final = "user.identity"
# What is wrong there for who is not the agent's user may be right for the agent, and a
# fix line would hand the agent's files to who looks.
AGENTS_OWN: Final = (
    "state.", "key.", "store.", "eve.", "trust.", "status.folder", "clock.history",
    "tls.files", "tls.secret", "broker.password",
)  # fmt: skip
NOT_THE_AGENT: Final = f"another user looks than the agent's ({IDENTITY})"


def examined(
    checks: Sequence[Check],
    context: Context,
    chosen: Iterable[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Row]:
    """Yield the rows of the ``chosen`` checks (of all where none is chosen), in order.

    What those need runs, too, unseen. ``progress`` is told each id before it runs.
    """
    by_id = {check.id: check for check in checks}
    wanted = set(chosen) or set(by_id)
    runs = _with_needs(by_id, wanted) | ({IDENTITY} & by_id.keys())
    is_stranger = False
    failed: dict[str, str] = {}  # id -> what dependants say
    for check in checks:
        if check.id not in runs:
            continue
        blocked = [failed[need] for need in check.needs if need in failed]
        if blocked:
            found = [skipped(blocked[0])]
            failed[check.id] = blocked[0]
        else:
            progress(check.id)
            found = _within(check, context)
            if any(one.verdict == BAD for one in found):
                failed[check.id] = f"{check.id} is bad"
            wrong = any(one.verdict in {BAD, WARN} for one in found)
            if check.id == IDENTITY:
                is_stranger = wrong
            elif wrong and is_stranger and check.id.startswith(AGENTS_OWN):
                found = [skipped(NOT_THE_AGENT)]
                failed[check.id] = NOT_THE_AGENT
        if check.id in wanted:
            for one in found:
                yield Row(check.id, one.subject, one.verdict, one.said, one.fix)


def _with_needs(by_id: dict[str, Check], wanted: Iterable[str]) -> set[str]:
    todo, found = list(wanted), set[str]()
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += by_id[one].needs
    return found


def _within(check: Check, context: Context) -> list[Found]:
    """Return what a check finds; a row of its own where it fails or takes too long."""
    out: list[Found] = []
    bug = _HandedOver()

    def look() -> None:
        with bug:
            try:
                out.extend(check.look(context))
            except OURS as error:
                out.append(_unlooked(check, error))

    thread = threading.Thread(target=look, name=check.id, daemon=True)
    thread.start()
    thread.join(check.limit_s)
    if thread.is_alive():
        said = f"no answer within {check.limit_s:.0f} s"
        return [bad(said, check.fix)]
    if bug.error is not None:
        raise bug.error
    return out


class _HandedOver:
    """Keeps an exception of one thread for the thread that waits, which raises it."""

    error: BaseException | None = None

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Keep what was raised."""
        self.error = error
        return True


def _unlooked(check: Check, error: Exception) -> Found:
    """Return a row for what a check could not look at."""
    if isinstance(error, BadInput) and error.place.startswith(CREDENTIAL):
        # Only the unit has them, while it runs; root can look there (`step_down`).
        return skipped(f"{error.place} is seen by the running unit only")
    return bad(str(error), check.fix)
