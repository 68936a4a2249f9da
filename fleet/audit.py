"""Offline verification of one device's evidence log: one command, no trust needed.

Steps, in order (docs/formats/evidence-log.md):
(1) every checkpoint is signed by the device and its root is the root of the entries
(2) entries decode, and count without a gap within each boot
(3) no (epoch, sequence) stands for two different envelopes: no nonce was used twice
(4) sequences of every epoch are contiguous from 1
(5) every envelope that the log names was received with that digest, or its loss is
    recorded with a cause; every received envelope is named by the log
(6) the counters add up: read = sum of outcomes + held, at every destination
(7) what was sent by count equals what the envelopes say
(8) published telemetry says what the log's count.snap says
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import msgpack
from protocols.tlog.checkpoint import CheckpointError, open_checkpoint
from protocols.tlog.tree import Growth, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from protocols.telemetry import Telemetry

Place: TypeAlias = tuple[bytes, int, str]  # epoch, sequence, kind
ENVELOPES: Final = ("flow.out", "key.life")
PROBLEMS_MAX: Final = 100  # told one by one; the rest is a number
SENT: Final = ("sent", "merged")


@dataclass(slots=True)
class Report:
    """What was checked and what was found; no problem = every check held."""

    device: str
    log: str
    entries: int = 0
    boots: int = 0
    checkpoints: int = 0
    covered: int = 0  # entries under the newest good checkpoint
    envelopes: int = 0  # that left, by the log
    received: int = 0
    kept: int = 0  # envelopes that stay on the device
    lost: dict[str, int] = field(default_factory=dict)  # cause -> count
    waiting: int = 0  # named by the log, not received, not lost: still on the way
    samples_sent: int = 0
    problems: list[str] = field(default_factory=list)
    problems_more: int = 0

    def problem(self, text: str) -> None:
        """Note a problem; past PROBLEMS_MAX only count it."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)
        else:
            self.problems_more += 1


class Verifier:
    """Reads a log front to back once; memory grows with envelopes, not with values."""

    def __init__(self, device: str, log: bytes, origin: str, public_key: bytes) -> None:
        """Name the log and the device's Ed25519 public key (32 bytes)."""
        self._report = Report(device, log.hex())
        self._origin = origin
        self._key = public_key
        self._named: dict[Place, bytes] = {}
        self._last: dict[tuple[bytes, str], int] = {}
        self._number: dict[bytes, int] = {}
        self._lost: list[tuple[bytes, int, int]] = []
        self._sums: dict[tuple[str, str], int] = defaultdict(int)
        self._rows: dict[str, int] = defaultdict(int)
        self._snaps: dict[int, tuple[object, ...]] = {}
        self._held = 0

    def run(
        self,
        entries: Iterable[bytes],
        checkpoints: Sequence[tuple[int, bytes, bytes]],
    ) -> None:
        """Check the log itself: steps 1 to 4, gathering what 5 to 8 need."""
        marks = {size: (root, note) for size, root, note in checkpoints}
        tree = Growth(0, {})
        for index, entry in enumerate(entries):
            tree.append([leaf_hash(entry)])
            self._read(index, entry)
            if tree.size in marks:
                self._checkpoint(tree.size, tree.root(), marks.pop(tree.size)[1])
        self._report.entries = tree.size
        for size in sorted(marks):
            self._report.problem(f"checkpoint of {size} entries, but only {tree.size}")

    def _checkpoint(self, size: int, root: bytes, note: bytes) -> None:
        try:
            signed = open_checkpoint(note, self._origin, self._key)
        except CheckpointError as error:
            self._report.problem(f"checkpoint of {size} entries: {error}")
            return
        if signed.size != size or signed.root != root:
            self._report.problem(f"checkpoint of {size} entries: another root")
            return
        self._report.checkpoints += 1
        self._report.covered = max(self._report.covered, size)

    def _read(self, index: int, entry: bytes) -> None:
        try:
            facts = msgpack.unpackb(entry, raw=False)
            kind, boot, number = facts["type"], facts["boot"], facts["n"]
        except (ValueError, KeyError, TypeError, msgpack.UnpackException):
            self._report.problem(f"entry {index}: cannot be read")
            return
        expected = self._number.get(boot, 0)
        if number != expected:
            self._report.problem(f"entry {index}: number {number}, not {expected}")
        self._number[boot] = number + 1
        if kind in ENVELOPES:
            self._envelope(index, facts)
        elif kind == "loss.rec":
            self._loss(facts)
        elif kind == "count.snap":
            self._snap(index, facts)

    def _envelope(self, index: int, facts: Mapping[str, object]) -> None:
        epoch, sequence = facts["epoch"], facts["seq"]
        kind, digest = facts["kind"], facts["sha256"]
        assert isinstance(epoch, bytes)
        assert isinstance(sequence, int)
        assert isinstance(kind, str)
        assert isinstance(digest, bytes)
        key = "key" if kind == "key" else "batch"
        place = (epoch, sequence, key)
        if self._named.get(place, digest) != digest or (
            place in self._named and key == "batch"
        ):
            self._report.problem(f"entry {index}: epoch and sequence used twice")
        if key == "batch":
            last = self._last.get((epoch, key), 0)
            if sequence != last + 1:
                self._report.problem(f"entry {index}: sequence {sequence} after {last}")
            self._last[epoch, key] = sequence
            for name, rows, is_aggregate in facts["rules"]:  # type: ignore[attr-defined]  # msgpack list, checked by the format tests
                if not is_aggregate:
                    self._rows[f"{facts['dest']}|{name}"] += rows
        if kind == "keep":
            self._report.kept += 1
        else:
            self._named[place] = digest

    def _loss(self, facts: Mapping[str, object]) -> None:
        cause, count = str(facts["cause"]), facts["count"]
        assert isinstance(count, int)
        lost = self._report.lost
        lost[cause] = lost.get(cause, 0) + count
        for row in facts.get("rows", ()):  # type: ignore[attr-defined]  # msgpack list
            self._lost += [(epoch, first, last) for epoch, first, last in row[5]]

    def _snap(self, index: int, facts: Mapping[str, object]) -> None:
        rows = facts["rows"]
        assert isinstance(rows, list)
        for destination, _label, _rule, _action, outcome, samples, _bytes in rows:
            self._sums[destination, outcome] += samples
        held = facts["held"]
        assert isinstance(held, int)
        self._held = held
        self._snaps[index] = tuple(tuple(row) for row in rows)

    def received(self, batches: Iterable[tuple[Place, bytes]]) -> None:
        """Steps 5: hold what was received against what the log names."""
        here = dict(batches)
        report = self._report
        report.envelopes = len(self._named)
        for place, digest in here.items():
            named = self._named.get(place)
            if named is None:
                report.problem(f"received {_told(place)}, which the log does not name")
            elif named != digest:
                report.problem(f"received {_told(place)} with another digest")
            else:
                report.received += 1
        lost = self._lost_places()
        for place in self._named.keys() - here.keys() - lost:
            report.waiting += 1
            report.problem(f"{_told(place)} is named by the log and was not received")

    def _lost_places(self) -> set[Place]:
        return {
            (epoch, sequence, "batch")
            for epoch, first, last in self._lost
            for sequence in range(first, last + 1)
        }

    def sums(self, *, complete: bool) -> None:
        """Steps 6 and 7; ``complete``: the log ends with a snapshot of everything."""
        destinations = {d for d, _ in self._sums if d}
        read = self._sums["", "read"]
        for destination in sorted(destinations):
            parts = sum(
                count
                for (place, outcome), count in self._sums.items()
                if place == destination and outcome not in {"read", "held"}
            )
            # What is held is one number over all destinations: it bounds each.
            if not parts <= read <= parts + self._held:
                self._report.problem(
                    f"{destination}: {read} samples read, {parts} accounted for,"
                    f" {self._held} held"
                )
            if complete:
                self._compare(destination)

    def _compare(self, destination: str) -> None:
        counted = self._sums[destination, "sent"] + self._sums[destination, "kept"]
        rows = sum(
            n for name, n in self._rows.items() if name.split("|")[0] == destination
        )
        self._report.samples_sent += self._sums[destination, "sent"]
        if counted != rows:
            self._report.problem(
                f"{destination}: counters say {counted} samples in envelopes,"
                f" the envelopes' entries say {rows}"
            )

    def telemetry(self, told: Iterable[Telemetry]) -> None:
        """Step 8: published counters against the log's."""
        for one in told:
            rows = self._snaps.get(one.evidence_index)
            said = tuple(
                (r.destination, r.rule, r.action, r.outcome, r.samples, r.bytes_used)
                for r in one.rows
            )
            if rows is None:
                self._report.problem(
                    f"telemetry names entry {one.evidence_index}, no count.snap"
                )
            elif said != tuple((r[0], *r[2:]) for r in rows):
                self._report.problem(
                    f"telemetry of entry {one.evidence_index} says other numbers"
                )

    def report(self) -> Report:
        """Return the report; the verifier is done."""
        self._report.boots = len(self._number)
        return self._report


def _told(place: Place) -> str:
    epoch, sequence, kind = place
    return f"{kind} {epoch.hex()[:12]}/{sequence}"
