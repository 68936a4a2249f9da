"""`doctor`, where policies are pushed: the root, what is trusted, what decides next.

The store is read as a start would read it (``agent/adapters/policy/shelf.py``), and
nothing of it is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.clock import SystemClock
from agent.adapters.policy.loader import pinned_root
from agent.adapters.policy.shelf import restore
from agent.adapters.sqlite_check import StoredDocuments
from agent.adapters.sqlite_connection import Damaged
from agent.commands.status import moment
from agent.errors import SluicegateError
from policies.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.adapters.policy.loader import Paths
    from agent.adapters.policy.shelf import Restored

GOOD: Final = "good"
WARN: Final = "warn"
BAD: Final = "bad"
SOON_NS: Final = 2 * 86_400 * 10**9  # a fleet renews its timestamp every day
TRUST: Final = "trust"


@dataclass(frozen=True, slots=True)
class Found:
    """One check: what was looked at, how it is, and what to do."""

    what: str
    verdict: str  # good | warn | bad
    said: str
    mend: str = ""


def trust_checks(paths: Paths) -> Iterator[Found]:
    """Look at the root and at what the store holds of pushed policies."""
    try:
        root = pinned_root(paths)
    except SluicegateError as error:
        yield Found("root", BAD, str(error), "copy the fleet's first root.json here")
        return
    name, fleet = paths.config.trust.root, paths.config.fleet
    digest = sha256(root).hexdigest()[:16]
    yield Found("root", GOOD, f"{name} of fleet {fleet}, SHA-256 {digest}...")
    store = Path(paths.of(paths.config.state_dir)) / "store.db"
    if not store.exists():
        yield Found("pushed policy", WARN, "none yet: the local one decides")
        return
    try:
        restored = restore(paths, StoredDocuments(store), root)
    except (SluicegateError, PolicyError, Damaged) as error:
        yield Found("pushed policy", BAD, str(error), "mend the file, or see the line")
        return
    yield from _decides(restored)
    yield _metadata(restored)


def _decides(restored: Restored) -> Iterator[Found]:
    policy = restored.accepted.compiled.policy
    told = f"{policy.name} {policy.version} decides ({restored.accepted.source})"
    standing = restored.standing
    if standing.version:
        told += f"; {standing.name or 'candidate'} {standing.version}"
        told += f" is {standing.state.value}"
        told += f": {standing.rule} {standing.reason}".rstrip(": ")
    failed = standing.rule and standing.state.value in {"refused", "reverted"}
    mend = "see the reason; the fleet tries again with a higher attempt"
    yield Found("pushed policy", WARN if failed else GOOD, told, mend if failed else "")
    for trouble in restored.troubles:
        mend = "the next bundle mends it, once the agent has a link"
        yield Found("pushed policy", BAD, trouble, mend)


def _metadata(restored: Restored) -> Found:
    offered = restored.offered
    if offered is None:
        return Found(TRUST, WARN, "no bundle has come yet", "check fleet and broker")
    versions = (
        f"root {offered.root_version}, timestamp {offered.timestamp_version},"
        f" targets {offered.targets_version}"
    )
    left_ns = offered.expires_ns - SystemClock().now_ns()
    until = moment(offered.expires_ns)
    mend = "the fleet must renew its timestamp (`sluicectl policy publish`)"
    if left_ns <= 0:
        said = f"{versions}: expired at {until}, nothing new is taken"
        return Found(TRUST, BAD, said, mend)
    said = f"{versions}, good until {until}"
    if left_ns < SOON_NS:
        return Found(TRUST, WARN, said, mend)
    return Found(TRUST, GOOD, said)
