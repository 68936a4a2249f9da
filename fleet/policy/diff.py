"""`sluicectl policy diff`: what another version of a policy lets out, in words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.listing import write, write_table
from fleet.policy.source import read
from policies.diff.compare import compare

if TYPE_CHECKING:
    from fleet.policy.source import Against
    from policies.diff.compare import Difference, Line

NOTHING: Final = "none"  # as OLD: a device that has no policy yet


def diff(old: str, new: str, against: Against, *, as_json: bool) -> int:
    """Print how ``new`` differs; 0: nothing looser, 1: looser, or not comparable."""
    before = None if old == NOTHING else read(old, against).compiled
    after = read(new, against).compiled
    found = compare(before, after)
    if as_json:
        sys.stdout.write(msgspec.json.encode(_whole(found)).decode() + "\n")
    else:
        was = f"{before.policy.name} version {before.policy.version}" if before else old
        write(f"{was} -> {after.policy.name} version {after.policy.version}")
        print_difference(found, against)
    return 1 if found.is_looser else 0


def _whole(found: Difference) -> dict[str, object]:
    lines = [
        {**msgspec.to_builtins(line), "label": _label(line)} for line in found.lines
    ]
    weakens = [
        {
            **msgspec.to_builtins(one),
            "tier": None if one.tier is None else one.tier.name.lower(),
        }
        for one in found.weakens
    ]
    return {
        "looser": found.is_looser,
        "second_approval": bool(found.guarded),
        "lines": lines,
        "weakens": weakens,
        "omitted": found.omitted,
    }


def _label(line: Line) -> str:
    return "" if line.label is None else str(line.label)


def print_difference(found: Difference, against: Against) -> None:
    """Print the lines of a difference, and what they come to."""
    rows = [(str(line.kind), "*" if line.is_guarded else "", str(line))
            for line in found.lines]  # fmt: skip
    write_table(("", "", "what"), rows)
    if found.omitted:
        write(f"and {found.omitted} lines more")
    if not found.lines:
        write("nothing leaves otherwise than before")
    elif not found.is_looser:
        write("only tighter: nothing leaves that did not leave before")
    else:
        changed = len(found.changed)
        also = (
            f", {changed} that cannot be ranked and count as looser" if changed else ""
        )
        write(f"looser: {len(found.looser)} lines{also}")
    if found.guarded:
        names = sorted({one.category or one.why for one in found.guarded})
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        write(
            f"needs a second approval (*): it weakens important or core data ({shown});"
            " two different people must sign it (GOV-04)"
        )
    if not against.is_bound:
        write("compared for every category; give -b for the items of a gateway")
