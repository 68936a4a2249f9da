"""Tests of a policy, ``sluicegate/policy-test/1``: captures and what must come of them.

They run through the very path that the daemon has (`sluicegate scan`); see
docs/policy-tools.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from msgspec import Meta, field

from policies.model import Strict
from policies.model_base import (
    Category,
    GeoName,
    MaybeName,
    Name,
    Names,
    PiName,
    Text,
    TierName,
)
from policies.quantities import ItemGlob
from protocols.labels import parse_label

if TYPE_CHECKING:
    from policies.parse import Document
    from policies.yaml_tree import Path

Outcome: TypeAlias = Literal["sent", "kept", "dropped", "kept-back", "stays", "absent"]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
File: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1000)]


class Expectation(Strict, frozen=True, kw_only=True):
    """What becomes of the items that a pattern names, in the captures of one run.

    Counted are: ``sent`` and ``kept``: rows in envelopes; ``dropped`` and
    ``kept-back``: samples; ``stays``: samples, of which none may leave.
    """

    item: str | list[str]  # patterns: * one part, ** any number
    outcome: Outcome
    source: str = ""  # one bus or link
    to: Names | None = None  # destinations; none: all of them together
    rule: MaybeName = ""  # what is counted is what this rule decided
    becomes: Category | None = None  # of what was sent or kept
    label: Text = ""  # such as G2/personal/deidentified/coarse/none
    at_least: Count | None = None
    at_most: Count | None = None
    note: Text = ""


class Never(Strict, frozen=True, kw_only=True):
    """What may not leave, as it would be called when it has left."""

    category: Category | list[Category] | None = None
    item: str | list[str] | None = None
    min_tier: TierName | None = None
    pi: PiName | list[PiName] | None = None
    geo: GeoName | list[GeoName] | None = None
    to: Names | None = None
    note: Text = ""


class Whole(Strict, frozen=True, kw_only=True):
    """Bounds on the run as a whole."""

    coverage_at_least: Annotated[float, Meta(ge=0, le=100)] | None = (
        None  # % of samples
    )
    alerts_at_most: Count | None = None
    notices_at_most: Count | None = None
    bytes_at_most: dict[Name, Count] = field(
        default_factory=dict
    )  # to each destination, envelopes and keys
    messages_at_most: dict[Name, Count] = field(default_factory=dict)


class Run(Strict, frozen=True, kw_only=True):
    """Captures through the policy, all into the same counts."""

    name: Name
    captures: Annotated[list[File], Meta(min_length=1, max_length=64)]
    bindings: Annotated[list[File], Meta(max_length=64)] = field(default_factory=list)
    databases: str = ""  # folder of what the bindings name
    consents: Annotated[list[Name], Meta(max_length=64)] = field(
        default_factory=list
    )  # given from the start
    expect: Annotated[list[Expectation], Meta(max_length=5000)] = field(
        default_factory=list
    )
    never: Annotated[list[Never], Meta(max_length=1000)] = field(default_factory=list)
    whole: Whole = Whole()
    note: Text = ""


class PolicyTest(Strict, frozen=True, kw_only=True):
    """A tests file."""

    schema: Literal["sluicegate/policy-test/1"]
    name: Name
    policy: File  # a file beside this one, or the name of a shipped policy
    runs: Annotated[list[Run], Meta(min_length=1, max_length=256)]
    note: Text = ""


def check_policy_test(document: Document[PolicyTest]) -> None:
    """Raise PolicyError for the first thing that does not fit together."""
    names: set[str] = set()
    for number, run in enumerate(document.model.runs):
        path: Path = ("runs", number)
        if run.name in names:
            raise document.error((*path, "name"), "another run has this name")
        names.add(run.name)
        if not (run.expect or run.never or run.whole != Whole()):
            hint = "such as never: [{category: location.precise}]"
            raise document.error(path, "expects nothing", hint)
        for index, one in enumerate(run.expect):
            _check_expectation(document, (*path, "expect", index), one)
        for index, never in enumerate(run.never):
            here = (*path, "never", index)
            given = (never.category, never.item, never.min_tier, never.pi, never.geo)
            if all(one is None for one in given):
                raise document.error(here, "names nothing in particular")
            _check_patterns(document, (*here, "item"), never.item)


def _check_expectation(
    document: Document[PolicyTest], path: Path, one: Expectation
) -> None:
    _check_patterns(document, (*path, "item"), one.item)
    least, most = one.at_least, one.at_most
    if least is not None and most is not None and least > most:
        raise document.error((*path, "at_least"), "above at_most")
    if one.outcome == "absent" and (
        one.rule or one.to or (least, most) != (None, None)
    ):
        reason = "what is not in the capture has no rule, place or count"
        raise document.error(path, reason)
    if one.outcome not in {"sent", "kept"} and (one.becomes or one.label):
        reason = "only what is sent or kept has a label of its own"
        raise document.error(path, reason)
    if one.label:
        try:
            parse_label(one.label)
        except ValueError as error:
            hint = "such as G2/personal/deidentified/coarse/none"
            raise document.error((*path, "label"), str(error), hint) from None


def _check_patterns(
    document: Document[PolicyTest], path: Path, patterns: Names | None
) -> None:
    for one in [patterns] if isinstance(patterns, str) else patterns or []:
        try:
            ItemGlob(one)
        except ValueError as error:
            raise document.error(path, str(error)) from None
    if patterns == []:
        raise document.error(path, "names no item")
