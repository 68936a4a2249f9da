"""The policy: it compiles, passes lint and floor, and its recipients have keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.cards import SUFFIX, recipients_of
from agent.commands.doctor.model import Check, bad, good, quoted, warn
from agent.errors import BadInput
from policies.errors import PolicyError
from policies.files import LOCKDOWN
from policies.rows import EVENT_ITEM
from policies.tables import NO_RULE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

SOON_NS: Final = 30 * 86_400 * 10**9
SHOWN_MAX: Final = 3


def _parse(context: Context) -> Iterable[Found]:
    try:
        policy = context.loaded.compiled.policy
    except PolicyError as error:
        where = f"line {error.line} of {error.file}" if error.line else error.file
        yield bad(
            str(error), f"mend {where}" + (f" ({error.hint})" if error.hint else "")
        )
        return
    yield good(f"{policy.name} {policy.version}")


def _lint(context: Context) -> Iterable[Found]:
    errors = context.loaded.errors
    for one in errors:
        fix = f"mend line {one.line} of {one.file} (docs/formats/policy.md, {one.rule})"
        yield bad(str(one), fix, one.rule)
    if not errors:
        yield good("no rule of lint refuses it")


def _floor(context: Context) -> Iterable[Found]:
    violations, paths = context.loaded.violations, context.paths
    for one in violations:
        whose = f"rule `{one.policy_rule}`" if one.policy_rule else "the policy"
        fix = (
            f"tighten {whose} of {paths.policy()} as rule `{one.floor_rule}` of"
            f" {paths.floor()} demands"
        )
        yield bad(str(one), fix, one.floor_rule)
    if not violations:
        yield good("not below the owner's floor" if paths.floor() else "there is none")


def _coverage(context: Context) -> Iterable[Found]:
    items = context.loaded.compiled.policy.items
    pairs = zip(items.name, items.classified.tolist(), strict=True)
    unknown = [name for name, known in pairs if not known]
    if not unknown:
        yield good(f"all of {len(items.name)} items are in a catalogue")
        return
    shown = ", ".join(unknown[:SHOWN_MAX]) + (
        " ..." if len(unknown) > SHOWN_MAX else ""
    )
    said = f"{len(unknown)} items are in no catalogue and stay: {shown}"
    where = " or ".join(context.paths.bindings())
    yield warn(
        said, f"give {unknown[0]} a `category` in {where}, or a name of a catalogue"
    )


def _events(context: Context) -> Iterable[Found]:
    policy = context.loaded.compiled.policy
    if policy.name == LOCKDOWN:
        return  # nothing leaves, and that is meant
    row = policy.items.name.index(EVENT_ITEM)
    chains = [destination.chain[row] for destination in policy.destinations]
    if any((chain != NO_RULE).any() for chain in chains):
        yield good("a rule lets inspection's events leave")
    else:
        fix = f"add a rule for category `security.event` to {context.paths.policy()}"
        yield warn("no rule lets inspection's events leave", fix)


def _card(context: Context, name: str) -> str:
    folder = context.paths.of(context.paths.config.recipients)
    return (
        f"run `sluicectl keys new {name}` where the recipient's keys are, then copy"
        f" {name}{SUFFIX} to {quoted(folder)}"
    )


def _cards(context: Context) -> Iterable[Found]:
    try:
        policy, cards = context.decides
    except BadInput as error:
        folder = (
            "copy the folder of cards to " if "no such folder" in error.reason else ""
        )
        yield bad(str(error), f"{folder or 'mend or remove '}{error.file}")
        return
    names = recipients_of(policy)
    missing = [name for name in names if name not in cards]
    if missing and not context.paths.config.recipients:
        fix = 'set `recipients = "cards"`, and copy the cards into that folder'
        yield bad(f"{', '.join(missing)}: no folder of cards is named", fix)
        return
    for name in missing:
        yield bad(f"{name} has no key card", _card(context, name), name)
    if not missing:
        yield good(f"{len(names)} recipients have one" if names else "nobody needs one")


def _expiry(context: Context) -> Iterable[Found]:
    policy, cards = context.decides
    now_ns = context.host.clock.now_ns()
    named = [name for name in recipients_of(policy) if name in cards]
    stale = False
    for name in named:
        card = cards[name]
        for verdict, at_ns in ((bad, now_ns), (warn, now_ns + SOON_NS)):
            try:
                card.check(at_ns / 1e9)
            except ValueError as error:
                stale = True
                until = f"until {card.not_after}" if verdict is warn else str(error)
                yield verdict(
                    f"the card of {name}: {until}", _card(context, name), name
                )
                break
    if not stale:
        yield good(f"{len(named)} cards are good for a month at least")


NEEDS: Final = ("config.parse", "policy.parse")
CHECKS: Final = (
    Check(
        "policy.parse",
        "the policy, its bindings, databases and floor",
        "the agent does not start",
        "mend the line that is named",
        _parse,
        ("config.parse",),
    ),
    Check(
        "policy.lint",
        "the rules of lint that refuse a policy",
        "the agent does not start",
        "mend the line that is named",
        _lint,
        NEEDS,
    ),
    Check(
        "policy.floor",
        "the policy against the owner's floor",
        "the policy is refused: the agent does not start",
        "tighten the rule that is named",
        _floor,
        NEEDS,
    ),
    Check(
        "policy.coverage",
        "whether every bound item is in a catalogue",
        "what is in none stays",
        "name a `category` in the bindings",
        _coverage,
        NEEDS,
    ),
    Check(
        "policy.events",
        "whether a rule lets events of inspection leave",
        "nobody is told of attacks",
        "add a rule for category `security.event`",
        _events,
        NEEDS,
    ),
    Check(
        "recipients.cards",
        "the key cards of the recipients that the policy names",
        "the policy is refused: the agent does not start",
        "`sluicectl keys new`, copy the card",
        _cards,
        NEEDS,
    ),
    Check(
        "recipients.expiry",
        "how long the cards are good",
        "destinations are closed: what is for them stays",
        "`sluicectl keys new`, copy the card",
        _expiry,
        (*NEEDS, "recipients.cards", "clock.floor"),
    ),
)
