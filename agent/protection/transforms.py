"""One rule at work: its transforms in order, their state, and exact accounts.

``came in + held before == sent + merged + thinned + failed + held after``, for every
call. A transform that raises fails the whole selection and all that the rule held:
nothing is released, everything is counted, and the rule starts afresh.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from agent.limits import HELD_SAMPLES_MAX
from agent.protection.positions import DropZonesStep, GridStep
from agent.protection.rows import Flow, Rows
from agent.protection.texts import MaskStep, PseudonymiseStep
from agent.protection.trips import TripEndsStep
from agent.protection.values import ValueStep, is_place, transform_values
from agent.protection.windows import AggregateStep, Closed, EveryStep, OnChangeStep
from agent.records import Outcome, Released
from agent.track import Track, Tracker
from policies.tables import (
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    DropZones,
    Every,
    Grid,
    Mask,
    Noise,
    OnChange,
    Pseudonymise,
    Round,
    TripEnds,
)
from protocols.samples import empty_samples, empty_texts

if TYPE_CHECKING:
    from agent.protection.keyring import KeyRing
    from agent.protection.rows import Cell, Column, Step
    from policies.tables import CompiledRule, ItemTable, Transform
    from protocols.frames import I64, U32, Bool
    from protocols.samples import SampleBatch, TextBatch

_VALUES = (Round, Clamp, Bucket, Noise, Blank)
_FLOATS = (*_VALUES, Grid, Aggregate)
# What a transform can raise on data or parameters; anything else is a bug of ours.
_TROUBLE = (ValueError, ArithmeticError, LookupError, TypeError, MemoryError)
SHUTDOWN = "shutdown"

_Steps: TypeAlias = "list[tuple[Transform, Step | AggregateStep]]"


def gives_floats(rule: CompiledRule) -> bool:
    """Tell whether ``raw`` of the rule's output is float64 bits, whatever the kind.

    True where a transform changes numbers; else raw is the exact raw of the item.
    """
    return any(isinstance(transform, _FLOATS) for transform in rule.transforms)


def ticks(rule: CompiledRule) -> bool:
    """Tell whether the rule must run in every batch, samples for it or not.

    Windows and trips end with the clock; zones and trips follow the whole track.
    """
    kinds = (Aggregate, DropZones, TripEnds)
    return any(isinstance(transform, kinds) for transform in rule.transforms)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one rule made of one batch."""

    released: tuple[Released, ...]
    cells: tuple[Cell, ...]  # outcome, item column, weights (None: one each)
    held: int  # samples that wait inside the rule now
    failure: str = ""  # type of the exception that failed the selection

    @property
    def counts(self) -> dict[Outcome, int]:
        """Return samples per outcome; HELD is a level and not among them."""
        counts: Counter[Outcome] = Counter()
        for outcome, item, weight in self.cells:
            counts[outcome] += len(item) if weight is None else int(weight.sum())
        return dict(counts)


def _count(parts: tuple[tuple[U32, I64 | None], ...]) -> int:
    return sum(len(item) if n is None else int(n.sum()) for item, n in parts)


def _collected(step: AggregateStep, flow: Flow, flush: str) -> Closed:
    """Return the windows that close in this batch, or (``flush``) all of them."""
    closed = step.collect(flow)
    flow.rows = flow.rows.take(slice(0, 0))
    if flush:
        closed = step.close_all()
    if flush and flush != SHUTDOWN:
        return _kept(closed, np.zeros(len(closed.item), np.bool_), flow, thin=True)
    return closed


def _kept(closed: Closed, mask: Bool, flow: Flow, *, thin: bool = False) -> Closed:
    """Keep the windows where ``mask`` [W] holds; the others fail (or are thinned)."""
    if mask.all():
        return closed
    outcome = Outcome.THINNED if thin else Outcome.FAILED
    flow.tally.add(outcome, closed.item[~mask], closed.count[~mask])
    return closed.take(mask)


def _finite(closed: Closed, flow: Flow) -> Closed:
    mask = np.ones(len(closed.item), np.bool_)
    for column in closed.value.values():
        mask &= np.isfinite(column)
    return _kept(closed, mask, flow)


class RuleRunner:
    """Runs one rule's transforms; their state lives from batch to batch."""

    def __init__(
        self,
        rule: CompiledRule,
        items: ItemTable,
        keyring: KeyRing,
        *,
        number: int = 0,
        held_max: int = HELD_SAMPLES_MAX,
    ) -> None:
        """``number``: what ``Released.rule`` says. ``held_max``: samples that may wait.

        Transforms that make no sense (bad parameters, a selection behind an aggregate)
        do not raise here: such a rule fails every sample, closed and counted.
        """
        self._rule = rule
        self._items = items
        self._keyring = keyring
        self._number = number
        self._held_max = held_max
        self._tracker = Tracker(items)
        self._snapshot: tuple[tuple[U32, I64 | None], ...] = ()
        self._restart()

    def apply(
        self,
        samples: SampleBatch,
        texts: TextBatch,
        now_ns: int,
        track: Track | None = None,
    ) -> RunResult:
        """Run the transforms over what was selected for the rule.

        ``samples``/``texts`` in order of time within an item. ``now_ns``: wall clock.
        ``track``: positions of all groups in this batch; None: from ``samples`` alone.
        """
        if track is None:
            track = self._tracker.observe(samples)
        if self.broken:
            return self._failed(samples, texts, self.broken)
        try:
            with np.errstate(all="ignore"):  # bad numbers are found as such, below
                flow = Flow(self._prepared(samples, track), texts, track, now_ns)
                return self._run(flow, flush="")
        except _TROUBLE as error:
            return self._failed(samples, texts, type(error).__name__)

    def flush(self, reason: str) -> RunResult:
        """End the rule's work; afterwards it holds nothing.

        ``shutdown``: open windows are closed and released as they are. Any other reason
        (a policy swap): they are destroyed, for a stricter policy must find nothing
        that the old one would still let out. Trips are always cut (THINNED).
        """
        samples, texts = empty_samples(), empty_texts()
        if self.broken:
            return self._failed(samples, texts, self.broken)
        try:
            with np.errstate(all="ignore"):
                rows = self._prepared(samples, Track({}))
                return self._run(Flow(rows, texts, Track({}), 0), flush=reason)
        except _TROUBLE as error:
            return self._failed(samples, texts, type(error).__name__)

    @property
    def held(self) -> int:
        """Return how many samples wait inside the rule."""
        return _count(self._snapshot)

    def _restart(self) -> None:
        self._snapshot = ()
        self.broken = ""
        try:
            self._steps = self._built()
        except _TROUBLE as error:
            self._steps = []
            self.broken = type(error).__name__

    def _built(self) -> _Steps:
        steps: _Steps = []
        slot = 0
        aggregated = blanked = tripped = False
        for transform in self._rule.transforms:
            if aggregated and not isinstance(transform, _VALUES):
                raise ValueError("only a value transform may follow an aggregate")
            if isinstance(transform, Aggregate):
                if blanked:
                    raise ValueError("an aggregate of blanks")
                step: Step | AggregateStep = AggregateStep(
                    transform, len(self._items), by_clock=not tripped
                )
                aggregated = True
            else:
                if tripped and isinstance(transform, TripEnds):
                    raise ValueError("trip_ends twice")
                step = self._step(transform, slot)
            slot += isinstance(step, GridStep | DropZonesStep)
            blanked |= isinstance(transform, Blank)
            tripped |= isinstance(transform, TripEnds)
            steps.append((transform, step))
        return steps

    def _step(self, transform: Transform, slot: int) -> Step:
        match transform:
            case Round() | Clamp() | Bucket() | Noise() | Blank():
                return ValueStep(transform, self._items, self._keyring)
            case Every():
                return EveryStep(transform, len(self._items))
            case OnChange():
                return OnChangeStep(transform, len(self._items))
            case Grid():
                return GridStep(transform, self._items, slot)
            case DropZones():
                return DropZonesStep(transform, self._items, slot)
            case TripEnds():
                return TripEndsStep(transform, self._items, self._held_max)
            case Mask():
                return MaskStep(transform)
            case Pseudonymise():
                return PseudonymiseStep(transform, self._items, self._keyring)
        raise TypeError("unknown transform")

    def _prepared(self, samples: SampleBatch, track: Track) -> Rows:
        columns: list[Column] = [
            step.prepare(samples, track)
            for _, step in self._steps
            if isinstance(step, GridStep | DropZonesStep)
        ]
        return Rows(samples, tuple(columns))

    def _run(self, flow: Flow, flush: str) -> RunResult:
        closed: Closed | None = None
        blanked = False
        for transform, step in self._steps:
            if closed is not None:
                closed = self._changed(closed, transform, flow)
                blanked |= isinstance(transform, Blank)
                continue
            if not blanked and not isinstance(transform, Blank):
                flow.keep(np.isfinite(flow.rows.samples.value), Outcome.FAILED)
            if isinstance(step, AggregateStep):
                closed = _finite(_collected(step, flow, flush), flow)
                continue
            step.apply(flow)
            if flush and isinstance(step, TripEndsStep):
                step.destroy(flow.tally)
            blanked |= isinstance(transform, Blank)
        if self._steps and not blanked:
            flow.keep(np.isfinite(flow.rows.samples.value), Outcome.FAILED)
        return self._result(flow, closed)

    def _changed(self, closed: Closed, transform: Transform, flow: Flow) -> Closed:
        """Transform closed windows; one that goes bad in any statistic fails whole."""
        if not isinstance(transform, _VALUES):  # _built refuses it
            raise TypeError("not a value transform")
        if isinstance(transform, Noise):
            closed = _kept(closed, ~is_place(self._items, closed.item), flow)
        value = {
            name: transform_values(transform, column, self._keyring)
            for name, column in closed.value.items()
        }
        closed = Closed(closed.time_ns, closed.item, closed.count, value)
        return closed if isinstance(transform, Blank) else _finite(closed, flow)

    def _result(self, flow: Flow, closed: Closed | None) -> RunResult:
        released: list[Released] = []
        rows, texts = flow.rows.samples, flow.texts
        if closed is not None:
            if len(closed.item):
                flow.tally.add(Outcome.MERGED, closed.item, closed.count)
                released = [
                    Released(self._number, closed.samples(name), empty_texts(), name)
                    for name in closed.value
                ]
        elif len(rows) or len(texts):
            flow.tally.add(Outcome.SENT, rows.item)
            flow.tally.add(Outcome.SENT, texts.item)
            released = [Released(self._number, rows, texts)]
        self._snapshot = tuple(part for _, step in self._steps for part in step.held())
        return RunResult(tuple(released), tuple(flow.tally.cells), self.held)

    def _failed(self, samples: SampleBatch, texts: TextBatch, why: str) -> RunResult:
        """Fail all that came in and all that was held; start afresh."""
        parts = ((samples.item, None), (texts.item, None), *self._snapshot)
        cells = tuple((Outcome.FAILED, item, n) for item, n in parts if len(item))
        if not self.broken:
            self._restart()
        return RunResult((), cells, 0, why if cells else "")
