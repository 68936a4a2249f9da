"""Which rule decides for every datum: a gather for most, column masks for the rest.

``CompiledDestination.chain`` lists per item the rules that could match, in order. Most
items have an unconditional first rule: one gather decides them. Where conditions stand
in the way the chain is walked level by level over the columns that are still open.

Fail closed has two sides. A rule that lets data out (allow, encrypt) applies only where
every condition is known to hold. A rule that keeps data in (drop, keep) applies unless
some condition is known not to hold: were an undecidable drop skipped, the datum would
fall through to a later, more permissive rule, and ignorance would open a way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.records import Treatment
from policies.tables import NO_RULE, Action

if TYPE_CHECKING:
    from agent.classification.context import Context
    from policies.tables import CompiledPolicy, CompiledRule
    from protocols.frames import I16, I64, U32, Bool
    from protocols.samples import SampleBatch, TextBatch


class Classifier:
    """Decides by one policy. Holds no state of the stream: that is ``Context``'s."""

    def __init__(self, policy: CompiledPolicy) -> None:
        """Prepare per destination what one gather can decide."""
        self._rules = policy.rules
        conditional = np.array([bool(r.conditions) for r in policy.rules] + [False])
        self._chains: list[I16] = []
        self._first: list[I16] = []
        self._open: list[Bool] = []
        for destination in policy.destinations:
            chain = destination.chain.copy()
            if not chain.shape[1]:
                chain = np.full((len(policy.items), 1), NO_RULE, np.int16)
            # An item in no catalogue never leaves, whatever a chain may say.
            chain[~policy.items.classified] = NO_RULE
            self._chains.append(chain)
            self._first.append(np.ascontiguousarray(chain[:, 0]))
            self._open.append(conditional[chain[:, 0]])

    def classify(
        self, samples: SampleBatch, context: Context, destination: int
    ) -> Treatment:
        """Return the rule of every sample [N] at a destination; NO_RULE: kept back.

        ``context`` must have observed this batch. Unclassified items get NO_RULE too:
        ``ItemTable.classified`` tells them apart.
        """
        return self._decide(samples.time_ns, samples.item, context, destination)

    def classify_texts(
        self, texts: TextBatch, context: Context, destination: int
    ) -> Treatment:
        """Return the rule of every text [N] at a destination; see ``classify``."""
        return self._decide(texts.time_ns, texts.item, context, destination)

    def _decide(
        self, time_ns: I64, item: U32, context: Context, destination: int
    ) -> Treatment:
        rule = self._first[destination][item]
        rows = np.flatnonzero(self._open[destination][item])
        if not len(rows):
            return Treatment(rule)
        chain = self._chains[destination]
        rule[rows] = NO_RULE
        for level in range(chain.shape[1]):
            candidate = chain[item[rows], level]
            settled = candidate == NO_RULE  # the end of the chain: kept back
            for number in np.unique(candidate[~settled]).tolist():
                mine = np.flatnonzero(candidate == number)
                applies = _applies(self._rules[number], context, time_ns[rows[mine]])
                rule[rows[mine[applies]]] = number
                settled[mine[applies]] = True
            rows = rows[~settled]
            if not len(rows):
                break
        return Treatment(rule)


def kept_back(treatment: Treatment) -> Treatment:
    """Return a treatment of the same length under which nothing leaves."""
    return Treatment(np.full_like(treatment.rule, NO_RULE))


def _applies(rule: CompiledRule, context: Context, time_ns: I64) -> Bool:
    """Tell for samples taken at ``time_ns`` [N] whether the rule applies."""
    tightens = rule.action in {Action.DROP, Action.KEEP}
    applies = np.ones(len(time_ns), np.bool_)
    for condition in rule.conditions:
        holds, undecidable = context.judge(condition, time_ns)
        applies &= (holds | undecidable) if tightens else holds
    return applies
