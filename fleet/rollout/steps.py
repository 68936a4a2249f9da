"""The steps of a rollout: from the one that is signed to the next that will be. Pure.

``start`` replaces what is over; ``widen`` only adds; a paused one resumes; an abort
takes every device back to the stable policy and is the end of this attempt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from fleet.errors import BadInput
from policies.errors import PolicyError
from policies.rollout import SLOTS, Halt, Rollout, check_rollout

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?) ?%")
NOTE_CHARACTERS_MAX: Final = 200


class Who(NamedTuple):
    """Whom a rollout is for, as typed."""

    upto: str = ""
    groups: Sequence[str] = ()
    devices: Sequence[str] = ()


class When(NamedTuple):
    """At which hours it may begin, as typed."""

    window: str = ""
    not_before: str = ""
    not_after: str = ""


def share(text: str, place: str) -> int:
    """Return ten-thousandths of ``1%``, ``0.25%`` or ``100 %``; BadInput otherwise."""
    found = _SHARE.fullmatch(text.strip())
    whole, _, part = (found[1] if found else "").partition(".")
    number = int(whole or 0) * 100 + int(part.ljust(2, "0"))
    if not found or number > SLOTS:
        raise BadInput("", place, "is not a share", "such as 1% or 0.25%")
    return number


def halt(refused: str, reverted: str, min_acks: int) -> Halt:
    """Return the limits as typed; BadInput otherwise."""
    return Halt(
        refused_share=share(refused, "--halt-refused"),
        reverted_share=share(reverted, "--halt-reverted"),
        min_acks=min_acks,
    )


def started(
    before: Rollout | None,
    candidate: int,
    who: Who,
    when: When,
    limits: Halt,
    *,
    name: str,
    salt: str,
    stable: int | None = None,
    replace: bool = False,
) -> Rollout:
    """Return the first step of a rollout; BadInput where another is on its way."""
    if before is not None and not (is_over(before) or replace):
        raise BadInput(
            "", before.name,
            f"is {before.state} at {before.upto / 100:g} %",
            "widen or abort it first, or --replace it",
        )  # fmt: skip
    if stable is None:
        stable = stable_after(before)
        if stable >= candidate:  # started anew after everybody had it
            stable = before.stable if before is not None else 0
    # devices named and nothing else: they alone
    upto = who.upto or ("0%" if who.devices and not who.groups else "1%")
    return _checked(
        Rollout(
            name=name or f"policy-{candidate}",
            attempt=1 if before is None else before.attempt + 1,
            candidate=candidate, stable=stable, salt=salt, upto=share(upto, "--upto"),
            groups=_names(who.groups), devices=_names(who.devices), window=when.window,
            not_before=when.not_before, not_after=when.not_after, halt=limits,
        )
    )  # fmt: skip


def is_over(rollout: Rollout) -> bool:
    """Tell whether nothing of a rollout is left to do: aborted, or for everybody."""
    everybody = rollout.upto == SLOTS and not rollout.groups
    return rollout.state == "aborted" or (rollout.state == "running" and everybody)


def stable_after(rollout: Rollout | None) -> int:
    """Return the version that the fleet decides by when ``rollout`` is over."""
    if rollout is None:
        return 0
    if rollout.state != "aborted" and is_over(rollout):
        return rollout.candidate
    return rollout.stable


def widened(before: Rollout, who: Who, *, any_group: bool = False) -> Rollout:
    """Return the next, larger cohort; BadInput where it is none or not running."""
    if before.state != "running":
        hint = "resume it first" if before.state == "paused" else "start another"
        raise BadInput("", before.name, f"is {before.state}", hint)
    upto = share(who.upto, "--upto") if who.upto else before.upto
    if upto < before.upto:
        raise BadInput("", "--upto", "is less than now", "abort it, and start another")
    if who.groups and not before.groups:
        raise BadInput("", "--group", "would narrow it: it is for every group")
    groups = () if any_group else _names((*before.groups, *who.groups))
    after = msgspec.structs.replace(
        before, upto=upto, groups=groups,
        devices=_names((*before.devices, *who.devices)), note="",
    )  # fmt: skip
    if after == msgspec.structs.replace(before, note=""):
        raise BadInput("", before.name, "is as wide already", "give a larger --upto")
    return _checked(after)


def paused(before: Rollout, why: str) -> Rollout:
    """Return the rollout halted: who has begun goes on, nobody else begins."""
    if before.state != "running":
        raise BadInput("", before.name, f"is {before.state}")
    return _noted(before, "paused", why)


def resumed(before: Rollout, *, retry: bool) -> Rollout:
    """Return it running again; ``retry``: those who refused or reverted try again."""
    if before.state != "paused":
        raise BadInput("", before.name, f"is {before.state}", "only a paused one can")
    attempt = before.attempt + retry
    return _checked(
        msgspec.structs.replace(before, state="running", attempt=attempt, note="")
    )


def aborted(before: Rollout, why: str) -> Rollout:
    """Return its end: everybody goes back to the stable policy."""
    if before.state == "aborted":
        raise BadInput("", before.name, "is aborted already")
    return _noted(before, "aborted", why)


def _noted(before: Rollout, state: str, why: str) -> Rollout:
    plain = "".join(c if c.isprintable() else " " for c in why)
    return _checked(
        msgspec.structs.replace(before, state=state, note=plain[:NOTE_CHARACTERS_MAX])
    )


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _checked(rollout: Rollout) -> Rollout:
    """Return it as devices will read it; BadInput where they would refuse it."""
    try:
        # the record's own limits are msgspec's: they hold where text is read
        plain = msgspec.convert(msgspec.to_builtins(rollout), Rollout)
        check_rollout(plain, "")
    except msgspec.ValidationError as error:
        raise BadInput("", "rollout", str(error).replace("`", "'")) from None
    except PolicyError as error:
        raise BadInput("", error.path or "rollout", error.reason) from None
    return plain
