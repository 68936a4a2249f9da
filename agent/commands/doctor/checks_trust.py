"""Where policies are pushed: the root, what is kept, what decides, how new it is."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.adapters.policy.loader import pinned_root
from agent.commands.doctor.model import Check, bad, good, notice, quoted, skipped, warn
from agent.commands.status import moment
from agent.errors import BadInput, Refused
from policies.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.adapters.policy.shelf import Restored
    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

SOON_NS: Final = 2 * 86_400 * 10**9  # a fleet renews its timestamp every day
RENEW: Final = "run `sluicectl policy serve` where the fleet's online keys are"
LOCAL: Final = "no policy was pushed and the local one is bad: see policy.*"
FAILED: Final = frozenset({"refused", "reverted"})


def _root(context: Context) -> Iterable[Found]:
    name = context.paths.config.trust.root
    if not name:
        return
    file = context.paths.of(name)
    try:
        root = pinned_root(context.paths)
    except BadInput as error:
        fix = (
            "copy the fleet's first root.json (`sluicectl keys init` made it) to"
            f" {quoted(file)}"
        )
        yield bad(str(error), fix)
        return
    fleet, digest = context.paths.config.fleet, sha256(root).hexdigest()[:16]
    yield good(f"{name} of fleet {fleet}, SHA-256 {digest}...")


def _kept(context: Context) -> Iterable[Found]:
    if not _has_store(context):
        return
    restored = _restored(context)
    troubles = restored.troubles if restored else []
    for trouble in troubles:
        fix = (
            "publish a bundle again: run `sluicectl policy publish` where the"
            " fleet's keys are"
        )
        yield bad(trouble, fix)
    if restored is None:
        yield skipped(LOCAL)
    elif not troubles:
        yield good("what was trusted is whole")


def _restored(context: Context) -> Restored | None:
    """Return what a start would restore; None where the local policy is bad."""
    try:
        return context.restored
    except (BadInput, PolicyError, Refused):
        return None


def _has_store(context: Context) -> bool:
    return bool(context.paths.config.trust.root) and context.store_file.exists()


def _policy(context: Context) -> Iterable[Found]:
    if not context.paths.config.trust.root:
        return
    if not context.store_file.exists():
        yield notice("none has come yet: the local one decides", RENEW)
        return
    restored = _restored(context)
    if restored is None:
        yield skipped(LOCAL)
        return
    policy, standing = restored.accepted.compiled.policy, restored.standing
    told = f"{policy.name} {policy.version} decides ({restored.accepted.source})"
    if not standing.version:
        yield good(told)
        return
    told += (
        f"; {standing.name or 'candidate'} {standing.version} is {standing.state.value}"
    )
    told += f": {standing.rule} {standing.reason}".rstrip(": ")
    if standing.rule and standing.state.value in FAILED:
        fix = (
            "mend what the reason names; the fleet tries again with a higher `attempt`"
        )
        yield warn(told, fix)
    else:
        yield good(told)


def _expiry(context: Context) -> Iterable[Found]:
    if not _has_store(context):
        return
    restored = _restored(context)
    offered = restored.offered if restored else None
    if restored is None:
        yield skipped(LOCAL)
        return
    if offered is None:
        yield notice("no bundle has come yet", RENEW)
        return
    versions = (
        f"root {offered.root_version}, timestamp {offered.timestamp_version},"
        f" targets {offered.targets_version}"
    )
    left_ns = offered.expires_ns - context.host.clock.now_ns()
    until = moment(offered.expires_ns)
    if left_ns <= 0:
        yield bad(f"{versions}: expired at {until}, nothing new is taken", RENEW)
    elif left_ns < SOON_NS:
        yield warn(f"{versions}, good until {until}", RENEW)
    else:
        yield good(f"{versions}, good until {until}")


NEEDS: Final = ("config.parse", "trust.root", "store.damage")
CHECKS: Final = (
    Check(
        "trust.root",
        "the fleet's first root that is pinned here",
        "the agent does not start",
        "copy the fleet's first root.json to its place",
        _root,
        ("config.parse",),
    ),
    Check(
        "trust.policy",
        "which policy decides, and what became of the last candidate",
        "a pushed policy was refused or taken back",
        "mend what the reason names",
        _policy,
        NEEDS,
    ),
    Check(
        "trust.kept",
        "what is kept of pushed policies",
        "lockdown stands in for a policy",
        "publish a bundle again",
        _kept,
        NEEDS,
    ),
    Check(
        "trust.expiry",
        "how long the fleet's timestamp is good",
        "the policy is stale: nothing new is taken",
        RENEW,
        _expiry,
        (*NEEDS, "clock.floor"),
    ),
)
