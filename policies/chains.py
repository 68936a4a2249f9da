"""The order of rules per item at one destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.tables import NO_RULE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.rules import RuleForm
    from protocols.frames import I16, Bool


def placed(
    forms: Sequence[RuleForm], destination: int, items: int
) -> list[tuple[int, Bool]]:
    """Return (number, items where it may decide [N] bool) of each rule that ever may.

    A rule closes the chain of those items where it has no condition. It closes the
    chain, too, of items that it means but that it may not let out (its claim does not
    hold, a combination forbids it): they stay, and no later, wider rule lets them out.
    """
    is_open: Bool = np.ones(items, np.bool_)
    out: list[tuple[int, Bool]] = []
    for number, form in enumerate(forms):
        if form.destination != destination:
            continue
        rows = form.items & is_open
        is_open[[row for row, _ in form.refused]] = False
        for one in form.cut:
            is_open[list(one.rows)] = False
        if not rows.any():
            continue
        whole = np.array_equal(rows, form.items)
        out.append((number, form.items if whole else rows))  # no memory of its own
        if not form.conditions:
            is_open &= ~rows
    return out


def chain_of(forms: Sequence[RuleForm], destination: int, items: int) -> I16:
    """Return [items, depth] rule numbers in order, padded with NO_RULE.

    Built rule by rule over columns of items: a rule goes to the next free place of each
    item where it may decide.
    """
    rules = placed(forms, destination, items)
    depth = np.zeros(items, np.intp)
    for _, rows in rules:
        depth += rows
    chain = np.full((items, int(depth.max(initial=0))), NO_RULE, np.int16)
    depth[:] = 0
    for number, rows in rules:
        where = np.flatnonzero(rows)
        chain[where, depth[where]] = number
        depth[where] += 1
    return chain
