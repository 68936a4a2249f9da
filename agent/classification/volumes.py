"""How much left to whom: the counters behind ``VolumeTest``. Pure.

Counted is what was sealed or made ready to leave, by limit and recipient, in slots of
time; a window slides by slots, and a slot that is partly out of it still counts. The
counters are part of the commit of the data they count, so a power cut loses neither.

What is not known to be below is above:

  * while the clock is not believed (what leaves then counts once it is),
  * for one window after the counters were lost, or a limit got another window or unit.

A limit may be passed by what one batch lets out: it is looked at once per batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.tables import CompiledVolume, VolumeTest

SERIES_MAX: Final = 65_536
ONCE_BELIEVED: Final = -1  # lost, at a time that is not known yet


class Series(msgspec.Struct):
    """What one limit counts for one recipient."""

    name: str
    recipient: str
    slot_ns: int
    by_time: bool
    unknown_ns: int = 0  # until one window after it nobody knows; 0: known
    counts: dict[int, int] = msgspec.field(default_factory=dict)  # slot -> samples
    # The same by a clock that was not believed.
    pending: dict[int, int] = msgspec.field(default_factory=dict)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    lost_ns: int
    series: list[Series]


class Volumes:
    """All counters of a device; they outlive policies."""

    def __init__(self, series: Iterable[Series] = (), lost_ns: int = 0) -> None:
        """``lost_ns``: when all was lost; ``ONCE_BELIEVED``: at the next good time."""
        self.changed = False  # since ``document`` was asked for
        self._series = {(one.name, one.recipient): one for one in series}
        self._lost_ns = lost_ns
        self._now_ns = 0
        self._clock_ok = False

    def look(self, now_ns: int, *, clock_ok: bool) -> None:
        """Take the time of a batch: before it is judged."""
        self._now_ns, self._clock_ok = now_ns, clock_ok
        if not clock_ok:
            return
        if self._lost_ns == ONCE_BELIEVED:
            self._lost_ns, self.changed = now_ns, True
        for series in self._series.values():
            if series.pending:
                self._settle(series)

    def is_above(self, test: VolumeTest) -> bool:
        """Tell whether a test's limit is passed, or may be."""
        volume, now_ns = test.volume, self._now_ns
        lost = self._lost_ns and now_ns < self._lost_ns + volume.window_ns
        if lost or not self._clock_ok:
            return True
        return any(self._is_above(volume, name) for name in test.recipients)

    def left(
        self, volumes: Iterable[CompiledVolume], recipients: Sequence[str], samples: int
    ) -> None:
        """Count what a batch lets out to recipients."""
        for volume in volumes:
            for name in recipients:
                series = self._of(volume, name)
                counts = series.counts if self._clock_ok else series.pending
                slot = self._now_ns // volume.slot_ns
                counts[slot] = counts.get(slot, 0) + samples
                oldest = (self._now_ns - volume.window_ns) // volume.slot_ns
                for old in [one for one in counts if one < oldest]:
                    del counts[old]
                self.changed = True

    def document(self) -> bytes:
        """Return all counters, for the commit of what they count."""
        self.changed = False
        known = _Document(1, self._lost_ns, list(self._series.values()))
        return msgspec.msgpack.encode(known)

    def _is_above(self, volume: CompiledVolume, recipient: str) -> bool:
        if (volume.name, recipient) not in self._series:
            return False
        series = self._of(volume, recipient)
        if series.unknown_ns and self._now_ns < series.unknown_ns + volume.window_ns:
            return True
        oldest = (self._now_ns - volume.window_ns) // volume.slot_ns
        counts = {s: n for s, n in series.counts.items() if s >= oldest}
        if volume.by_time:
            return len({*counts, self._now_ns // volume.slot_ns}) > volume.more_than
        return sum(counts.values()) >= volume.more_than

    def _of(self, volume: CompiledVolume, recipient: str) -> Series:
        """Return the counter; one of another kind begins anew, as unknown."""
        key = volume.name, recipient
        series = self._series.get(key)
        kind = volume.slot_ns, volume.by_time
        if series is None or (series.slot_ns, series.by_time) != kind:
            unknown_ns = 0 if series is None else max(self._now_ns, 1)
            series = Series(*key, *kind, unknown_ns)
            self._series[key], self.changed = series, True
        return series

    def _settle(self, series: Series) -> None:
        """Move what left under a wrong clock to the end of the right one."""
        shift = self._now_ns // series.slot_ns - max(series.pending)
        for slot, samples in series.pending.items():
            at = slot + shift
            series.counts[at] = series.counts.get(at, 0) + samples
        series.pending, self.changed = {}, True


def restored(document: bytes | None, *, was_used: bool) -> Volumes:
    """Return the counters of a document.

    Without one, or with one that is damaged, all is unknown where ``was_used`` says
    that something left already; a new device begins at nothing.
    """
    if document is None:
        return Volumes((), ONCE_BELIEVED if was_used else 0)
    try:
        known = msgspec.msgpack.decode(document, type=_Document)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Volumes((), ONCE_BELIEVED)
    sound = known.v == 1 and len(known.series) <= SERIES_MAX
    sound &= known.lost_ns >= ONCE_BELIEVED
    if not sound or any(one.slot_ns <= 0 for one in known.series):
        return Volumes((), ONCE_BELIEVED)
    return Volumes(known.series, known.lost_ns)
