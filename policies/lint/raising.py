"""Lint of what lifts labels: combinations, and how near a policy is to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.lint.findings import finding
from policies.rules import LEAVES
from policies.tables import Role
from policies.words import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.compile import Compiled
    from policies.lint.findings import Finding
    from policies.raising.combinations import CompiledCombination, Part
    from policies.raising.raised import Raised
    from policies.rules import RuleForm

NAMES_SHOWN_MAX: Final = 3


def raising_findings(compiled: Compiled) -> Iterator[Finding]:
    """Yield what combinations do to the rules of a policy."""
    known = {one.name: one for one in compiled.combiner.combinations}
    volumes = {one.table.name for one in compiled.volumes}
    for form in compiled.forms:
        where = compiled.policy.destinations[form.destination].name
        for one in form.raised:
            if one.name in volumes and one.name not in known:
                yield _above(compiled, form, one)
                continue
            reason = (
                f"{_names(compiled, one.rows)} to {where}: with what else goes there"
                f" they make {one.name}, and leave labelled {one.becomes};"
                f" to end it, {_remedy(known[one.name])}"
            )
            yield finding(compiled, "SG018", ("rules", form.number), reason)
        for one in form.cut:
            reason = (
                f"{_names(compiled, one.rows)} stay: with what else goes to {where}"
                f" they make {one.name} ({one.becomes}), which the match of this rule"
                f" does not allow; {_remedy(known[one.name])}"
            )
            yield finding(compiled, "SG019", ("rules", form.number), reason)
    yield from _near(compiled)
    yield from _fine(compiled)
    yield from _uncounted(compiled)


def _above(compiled: Compiled, form: RuleForm, one: Raised) -> Finding:
    """Return what becomes of a rule above a volume."""
    where = compiled.policy.destinations[form.destination].name
    what = f"above {one.name}, {_names(compiled, one.rows)}"
    if form.action in LEAVES:
        reason = f"{what} leave to {where} labelled {one.becomes}"
    else:
        reason = (
            f"{what} stay: the match of this rule does not allow {one.becomes};"
            f" send {where} less of it, or allow that label"
        )
    return finding(compiled, "SG022", ("rules", form.number), reason)


def _uncounted(compiled: Compiled) -> Iterator[Finding]:
    counted = {number for form in compiled.forms for number in form.volumes}
    own = [one.name for one in compiled.document.model.volumes]
    for number, volume in enumerate(compiled.volumes):
        name = volume.table.name
        if number not in counted and name in own:
            path = ("volumes", own.index(name))
            reason = f"nothing that leaves is of {', '.join(volume.prefixes)}"
            yield finding(compiled, "SG023", path, reason)


def _fine(compiled: Compiled) -> Iterator[Finding]:
    """Yield the categories whose items are bound too finely to be called so."""
    items = compiled.policy.items
    found: dict[tuple[str, str, float], list[int]] = {}
    for row, grain in enumerate(compiled.grains):
        if grain.category in compiled.precisions:
            role = Role(items.role[row])
            at = compiled.precisions.at(grain.category, role, grain.resolution)
            if at.bound is not None:
                key = grain.category, at.category, at.bound.than
                found.setdefault(key, []).append(row)
    for (said, becomes, than), rows in found.items():
        reason = (
            f"{_names(compiled, rows)}: bound finer than {than:g}, so {becomes} and not"
            f" {said}, until a rule makes it coarser (round, grid)"
        )
        yield finding(compiled, "SG021", ("catalogues",), reason)


def _remedy(combination: CompiledCombination) -> str:
    if combination.every_ns:
        return f"thin one side to less than one in {span(combination.every_ns)}"
    return "let only one side go there"


def _names(compiled: Compiled, rows: Sequence[int]) -> str:
    names = sorted({compiled.policy.items.name[row] for row in rows})
    more = len(names) - NAMES_SHOWN_MAX
    shown = ", ".join(names[:NAMES_SHOWN_MAX])
    return f"{shown} and {more} more" if more > 0 else shown


def _near(compiled: Compiled) -> Iterator[Finding]:
    """Yield the rules that alone keep a combination from being complete."""
    combiner, forms = compiled.combiner, compiled.forms
    rules = compiled.document.model.rules
    for receiver in combiner.receivers:
        reach = combiner.reach(forms, receiver)
        for combination in combiner.combinations:
            if not combination.every_ns:
                continue
            sets = combiner.parts(forms, reach, combination)
            number = _keeper(forms, sets)
            if number is None or combination.name in rules[number].note:
                continue
            names = [compiled.policy.destinations[d].name for d in sorted(receiver)]
            reason = (
                f"only the rate of this rule keeps {combination.name}"
                f" ({combination.becomes}) from {', '.join(names)}: more often than one"
                f" in {span(combination.every_ns)} completes it; if that is known,"
                f" name {combination.name} in the note of the rule"
            )
            yield finding(compiled, "SG020", ("rules", number, "do"), reason)


def _keeper(forms: Sequence[RuleForm], sets: Sequence[Sequence[Part]]) -> int | None:
    """Return the one rule of the file that thins every set which nobody sends fast."""
    lacking = [parts for parts in sets if not any(part.is_fast for part in parts)]
    if not lacking or not all(lacking):
        return None  # complete, or some set does not leave at all
    able = [{forms[part.form].number for part in parts} for parts in lacking]
    together = set.intersection(*able)
    return min(together) if together else None
