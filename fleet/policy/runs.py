"""`sluicectl policy test`: captures through the agent's path, and what must come."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.listing import progress, write, write_table
from fleet.policy.judge import judge
from fleet.policy.scan import Wanted, scan
from fleet.policy.source import bad_input
from policies.compile import DEVICE
from policies.errors import nearest, shown
from policies.files import policy_text, shipped, shipped_text
from policies.parse import CATALOGUE_BYTES_MAX, parse_policy, parse_policy_test
from policies.rules import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fleet.policy.judge import Judged
    from policies.model import Policy
    from policies.model_test import PolicyTest, Run
    from policies.parse import Document


@dataclass(frozen=True, slots=True)
class Tested:
    """All that one tests file expects, and whether it holds."""

    file: str
    policy: str
    version: int
    judged: tuple[Judged, ...]


def run_all(
    files: Sequence[str],
    policy: str,
    captures: Path | None,
    databases: Path | None,
    *,
    as_json: bool,
) -> int:
    """Run every tests file; 1 where an expectation does not hold.

    ``policy``: to be tested instead of the one that the files name, "" for that one.
    ``captures``: where captures are looked for before the folder of the tests file.
    ``databases``: of runs that name no folder of their own.
    """
    documents = [_read(file) for file in files]
    policies = [_policy(document, policy) for document in documents]
    for document, (_, model) in zip(documents, policies, strict=True):
        _check_names(document, model)
    tested: list[Tested] = []
    total = sum(len(document.model.runs) for document in documents)
    with progress("runs", total) as advance:
        for document, (place, model) in zip(documents, policies, strict=True):
            found: list[Judged] = []
            for number, run in enumerate(document.model.runs):
                scans = scan(_wanted(document, run, place, captures, databases))
                found += judge(document, number, scans)
                advance()
            tested.append(
                Tested(document.file, model.name, model.version, tuple(found))
            )
    if as_json:
        sys.stdout.write(msgspec.json.encode(tested).decode() + "\n")
    else:
        for one in tested:
            _print(one)
    return 0 if all(one.holds for test in tested for one in test.judged) else 1


def _read(file: str) -> Document[PolicyTest]:
    with bad_input():
        name = f"{file}.tests"
        if name in shipped("tests"):
            return parse_policy_test(shipped_text("tests", name), name)
        text = read_limited(Path(file), CATALOGUE_BYTES_MAX)
        return parse_policy_test(text, file)


def _policy(document: Document[PolicyTest], other: str) -> tuple[str, Policy]:
    """Return where the policy is, for the child, and what it says."""
    place = other or _beside(document, document.model.policy)
    with bad_input():
        file, text = policy_text(place)
        return place, parse_policy(text, file).model


def _beside(document: Document[PolicyTest], name: str) -> str:
    """Return a file beside the tests file where there is one, else the name itself."""
    path = Path(document.file).parent / name
    try:
        return str(path) if path.exists() else name
    except (OSError, ValueError):  # too long, or with a zero byte: no file's name
        return name


def _wanted(
    document: Document[PolicyTest],
    run: Run,
    policy: str,
    captures: Path | None,
    databases: Path | None,
) -> Wanted:
    folder = Path(document.file).parent
    named = folder / run.databases if run.databases else databases
    found = []
    for name in run.captures:
        there = None if captures is None else captures / name
        is_there = there is not None and there.exists()
        found.append(str(there if is_there else folder / name))
    return Wanted(
        tuple(found),
        policy,
        tuple(_beside(document, one) for one in run.bindings),
        str(named or ""),
        tuple(run.consents),
    )


def _check_names(document: Document[PolicyTest], policy: Policy) -> None:
    """Refuse rules, destinations and consents that the policy does not have."""
    rules = {rule.name for rule in policy.rules}
    places = {*policy.destinations, DEVICE}
    for number, run in enumerate(document.model.runs):
        path: tuple[str | int, ...] = ("runs", number)
        for name in run.consents:
            _check(document, (*path, "consents"), name, policy.consents, "consent")
        for index, one in enumerate(run.expect):
            here = (*path, "expect", index)
            if one.rule:
                _check(document, (*here, "rule"), one.rule, rules, "rule")
            for name in listed(one.to):
                _check(document, (*here, "to"), name, places, "destination")
        for index, never in enumerate(run.never):
            for name in listed(never.to):
                here = (*path, "never", index, "to")
                _check(document, here, name, places, "destination")
        for field in ("bytes_at_most", "messages_at_most"):
            for name in getattr(run.whole, field):
                here = (*path, "whole", field, name)
                _check(document, here, name, places, "destination")


def _check(
    document: Document[PolicyTest],
    path: tuple[str | int, ...],
    name: str,
    known: Collection[str],
    what: str,
) -> None:
    if name not in known:
        hint = nearest(name, known) or f"known: {', '.join(sorted(known)) or 'none'}"
        error = document.error(path, f"the policy has no {what} {shown(name)}", hint)
        raise BadInput("", "", str(error))


def _print(tested: Tested) -> None:
    write(f"{tested.file}: {tested.policy} version {tested.version}")
    write_table(
        ("line", "run", "", "expected", "found"),
        [
            (
                str(one.line or "-"),
                one.run,
                "ok" if one.holds else "FAILS",
                one.expected,
                one.found,
            )
            for one in tested.judged
        ],
        right=(0,),
    )
    failed = sum(not one.holds for one in tested.judged)
    total = len(tested.judged)
    write(f"{failed} of {total} fail" if failed else f"all {total} hold")
