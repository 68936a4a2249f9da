"""All rules of one destination over one batch: split, transform, account.

A batch costs one stable sort and then numpy calls per rule that it hits (and per rule
whose windows and trips go on without samples), never per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from agent.limits import HELD_SAMPLES_MAX
from agent.protection.transforms import RuleRunner, ticks
from agent.records import Outcome, Released
from agent.track import Tracker
from policies.tables import NO_RULE, Action, consent_of
from protocols.samples import empty_samples, empty_texts

if TYPE_CHECKING:
    from agent.protection.keyring import KeyRing
    from agent.protection.transforms import RunResult
    from agent.records import Treatment
    from policies.tables import CompiledPolicy, CompiledRule
    from protocols.frames import I16, I64, U16, U32, Bool, Index
    from protocols.samples import SampleBatch, TextBatch

# (rule index or NO_RULE, outcome, packed label, samples): a CounterRow without names.
CountCell: TypeAlias = "tuple[int, Outcome, int, int]"
# Outcomes that are counted under the label of the rule's output; what stays or is
# destroyed never became that, and is counted under the item's own label.
_OUT = (Outcome.SENT, Outcome.KEPT, Outcome.MERGED)
CONSENT = "consent"  # why a rule is flushed: any word but ``transforms.SHUTDOWN``


@dataclass(frozen=True, slots=True)
class Protected:
    """What one destination's rules made of one batch."""

    released: tuple[Released, ...]  # KEEP's too: the rule's action tells where it goes
    cells: tuple[CountCell, ...]  # sorted by rule, outcome, label
    held: int  # samples that wait inside transforms now
    failures: tuple[tuple[int, str], ...] = ()  # (rule, type of the exception)


class Protector:
    """Applies a destination's rules; keeps their state until the policy is swapped."""

    def __init__(
        self, policy: CompiledPolicy, destination: int, keyring: KeyRing
    ) -> None:
        """Make a runner for every rule of the destination that lets something out."""
        self._items = policy.items
        self._rules = policy.rules
        self._tracker = Tracker(policy.items)
        waiting = max(1, sum(map(ticks, policy.rules)))
        self._drops = {
            number
            for number, rule in enumerate(policy.rules)
            if rule.action == Action.DROP
            or (rule.action == Action.KEEP and not policy.custodian)
        }
        self._runners = {
            number: RuleRunner(
                rule,
                policy.items,
                keyring,
                number=number,
                held_max=HELD_SAMPLES_MAX // waiting,
            )
            for number, rule in enumerate(policy.rules)
            if rule.destination == destination and number not in self._drops
        }
        self._ticking = {n for n in self._runners if ticks(policy.rules[n])}

    @property
    def held(self) -> int:
        """Return how many samples wait inside transforms."""
        return sum(runner.held for runner in self._runners.values())

    def protect(
        self,
        samples: SampleBatch,
        treatment: Treatment,
        texts: TextBatch,
        text_treatment: Treatment,
        now_ns: int,
    ) -> Protected:
        """Run every rule over what was decided to be its.

        ``treatment.rule`` [N] and ``text_treatment.rule`` [M] as the classifier gave
        them for this destination and batch; ``now_ns``: wall clock. A rule of another
        destination is a mix-up: its samples fail.
        """
        track = self._tracker.observe(samples)
        books = _Books(self)
        numbers = _split(treatment.rule)
        text_numbers = _split(text_treatment.rule)
        released: list[Released] = []
        failures: list[tuple[int, str]] = []
        for number in sorted({*numbers, *text_numbers, *self._ticking}):
            rows, text_rows = numbers.get(number), text_numbers.get(number)
            mine = empty_samples() if rows is None else samples.take(rows)
            my_texts = empty_texts() if text_rows is None else texts.take(text_rows)
            runner = self._runners.get(number)
            if runner is None:
                books.stay(number, mine.item)
                books.stay(number, my_texts.item)
                continue
            result = runner.apply(mine, my_texts, now_ns, track)
            books.run(number, result)
            released += result.released
            if result.failure:
                failures.append((number, result.failure))
        return Protected(tuple(released), books.cells(), self.held, tuple(failures))

    def forget(self, ended: frozenset[str]) -> Protected:
        """Destroy what waits inside the rules that need one of these consents.

        It is thinned, and the rules go on from there.
        """
        return self._flushed(
            {
                n: r
                for n, r in self._runners.items()
                if consent_of(self._rules[n]) in ended
            },
            CONSENT,
        )

    def flush(self, reason: str) -> Protected:
        """End the work of all rules; see ``RuleRunner.flush``. Nothing is held then."""
        return self._flushed(self._runners, reason)

    def _flushed(self, runners: dict[int, RuleRunner], reason: str) -> Protected:
        books = _Books(self)
        released: list[Released] = []
        for number, runner in runners.items():
            result = runner.flush(reason)
            books.run(number, result)
            released += result.released
        return Protected(tuple(released), books.cells(), self.held)

    def label(self, number: int, outcome: Outcome, item: U32) -> U16:
        """Return the packed labels [N] under which an outcome is counted."""
        if outcome in _OUT:
            return self._rules[number].label_out[item]
        return self._items.label[item]

    def stays(self, number: int, item: U32) -> list[tuple[Outcome, Bool]]:
        """Return which of the items [N] of a rule without a runner ends how."""
        if number in self._drops:
            return [(Outcome.DROPPED, np.ones(len(item), np.bool_))]
        if number != NO_RULE:
            return [(Outcome.FAILED, np.ones(len(item), np.bool_))]
        classified = self._items.classified[item]
        return [(Outcome.KEPT_BACK, classified), (Outcome.UNCLASSIFIED, ~classified)]

    def is_kept(self, number: int) -> bool:
        """Tell whether what the rule lets through stays here for the custodian."""
        return self._rules[number].action == Action.KEEP


class _Books:
    """Counts samples per (rule, outcome, label) over one pass."""

    def __init__(self, protector: Protector) -> None:
        self._protector = protector
        self._cells: dict[tuple[int, Outcome, int], int] = {}

    def stay(self, number: int, item: U32) -> None:
        for outcome, mask in self._protector.stays(number, item):
            self._add(number, outcome, item[mask], None)

    def run(self, number: int, result: RunResult) -> None:
        for outcome, item, weight in result.cells:
            kept = outcome == Outcome.SENT and self._protector.is_kept(number)
            self._add(number, Outcome.KEPT if kept else outcome, item, weight)

    def cells(self) -> tuple[CountCell, ...]:
        return tuple((*key, count) for key, count in sorted(self._cells.items()))

    def _add(
        self, number: int, outcome: Outcome, item: U32, weight: I64 | None
    ) -> None:
        label = self._protector.label(number, outcome, item)
        # Labels have 11 bits: counting them is one bincount.
        if weight is None:
            counts = np.bincount(label)
        else:
            counts = np.zeros(int(label.max(initial=0)) + 1, np.int64)
            np.add.at(counts, label, weight)  # exact, where bincount would use floats
        for code in np.flatnonzero(counts).tolist():
            key = (number, outcome, code)
            self._cells[key] = self._cells.get(key, 0) + int(counts[code])


def _split(rule: I16) -> dict[int, Index]:
    """Return for every rule number its rows, in order: one stable sort."""
    if not len(rule):
        return {}
    order = np.argsort(rule, kind="stable")
    heads = np.flatnonzero(np.diff(rule[order])) + 1
    parts = np.split(order, heads)
    return {int(rule[part[0]]): part for part in parts}


def split_by_label(
    released: Released, rule: CompiledRule
) -> list[tuple[int, Released]]:
    """Return (packed label, part) for every output label in ``released``, rising.

    One envelope has one label: ``rule.label_out`` of the item. Order within a part is
    kept.
    """
    labels = rule.label_out[released.samples.item]
    text_labels = rule.label_out[released.texts.item]
    codes = np.unique(np.concatenate((labels, text_labels))).tolist()
    if len(codes) == 1:
        return [(int(codes[0]), released)]
    rows, text_rows = _split_labels(labels), _split_labels(text_labels)
    return [
        (
            int(code),
            Released(
                released.rule,
                released.samples.take(rows[code]) if code in rows else empty_samples(),
                released.texts.take(text_rows[code])
                if code in text_rows
                else empty_texts(),
                released.statistic,
            ),
        )
        for code in codes
    ]


def _split_labels(labels: U16) -> dict[int, Index]:
    return _split(labels.astype(np.int16))  # 11 bits: fits
