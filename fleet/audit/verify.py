"""Offline verification of one device's evidence: one command, no trust needed.

Steps (docs/formats/evidence-log.md):
(1) every checkpoint is signed by the device and its root is the root of the entries
(2) entries decode; their numbers rise within each boot; a boot never comes back
(3) no (epoch, sequence) stands for two envelopes: no nonce was used twice
(4) an epoch is announced before it is used, and its sequences have no gap
(5) every envelope that the log names was received with that digest, or its loss is
    recorded with a cause; every received envelope is named by the log
(6) the counters add up (``fleet/audit/books.py``)
(7) what was sent by count equals what the envelopes say, and what was opened
(8) published telemetry says what the log's count.snap says
(9) the newest signed state knows of no more entries than are here
(10) pushed policies went the way from verified to confirmed, step by step, and what
    weakens important data was approved by two people (``fleet/audit/steps.py``)
(10) no consent is given for ever
(11) what the firewall refused has a reason, and its counts go on without a gap
    (``fleet/audit/firewall.py``)
(12) what the device pruned is one range from the first entry on; a log whose beginning
    is gone begins with subtrees that give its signed roots (``fleet/audit/pruned.py``)
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from fleet.audit.books import Books
from fleet.audit.entries import (
    Boot,
    Change,
    Consent,
    Destroy,
    Entry,
    FirewallSnap,
    Key,
    Loss,
    Out,
    Prune,
    Snap,
    Stop,
    decode_entry,
)
from fleet.audit.firewall import FirewallBooks
from fleet.audit.pruned import Prunings
from fleet.audit.report import Named, Place, Report, told
from fleet.audit.steps import Steps
from fleet.audit.tree import Head
from protocols.tlog.checkpoint import CheckpointError, open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleet.audit.pruned import Beginning
    from protocols.telemetry import Telemetry

CHUNK: Final = 4096
UNKNOWN: Final = -1
CONSENT_NS_MAX: Final = (365 * 86_400 + 300) * 1_000_000_000
DIGEST_BYTES: Final = 32


class Verifier:
    """Reads a device's logs front to back; memory grows with envelopes only."""

    def __init__(
        self, device: str, public_key: bytes, *, behind_ok: bool = False
    ) -> None:
        """Name the device and its 32-byte Ed25519 public key.

        ``behind_ok``: the device has not sent all yet, so what is named and not here,
        here and not named, or not signed yet is told as a number and is no problem.
        """
        self.report = Report(device)
        self._key = public_key
        self._behind_ok = behind_ok
        self._named: dict[Place, Named] = {}
        self._sequence: dict[bytes, int] = {}
        self._gone: list[tuple[bytes, int, int]] = []
        self._gone_unnamed = 0  # envelopes lost without their names; UNKNOWN: any
        self._lost_entries = False  # some entries were lost with a store
        self._snaps: dict[tuple[str, int], Snap] = {}
        self._sizes: dict[str, int] = {}  # boot -> entries of its log
        self._boot = b""
        self._boots: dict[bytes, int] = {}  # -> last number
        self._last: Entry | None = None
        self._books = Books()
        self._steps = Steps()
        self._firewall = FirewallBooks()
        self._prunings = Prunings(0)

    # --- one log --------------------------------------------------------------------

    def log(
        self,
        origin: str,
        entries: Iterable[bytes],
        checkpoints: Sequence[tuple[int, bytes, bytes]],
        begins: Beginning | None = None,
    ) -> Books:
        """Check a log: steps 1 to 4 and 6. Logs of a device come oldest first.

        ``origin``: of its checkpoints; ``checkpoints``: (size, root, signed note);
        ``begins``: behind what was pruned on the device.
        """
        marks: dict[int, list[tuple[bytes, bytes]]] = {}
        for size, root, note in checkpoints:
            marks.setdefault(size, []).append((root, note))
        self._steps = Steps()
        self._books = Books()
        tree = self._begin(begins)
        pruned = tree.root()
        before = set(self._boots)
        source = iter(entries)
        stops = [*sorted(marks), 2**62]
        covered = 0
        for stop in stops:
            while tree.size < stop:
                chunk = list(itertools.islice(source, min(CHUNK, stop - tree.size)))
                if not chunk:
                    break
                first = tree.size
                tree.append(chunk)
                for index, entry in enumerate(chunk, first):
                    self._read(index, entry)
            for root, note in marks.get(stop, ()):
                if self._checkpoint(origin, stop, tree, root, note):
                    covered = stop
                    self._prunings.signed[stop] = root
        for problem in self._prunings.close(pruned):
            self.report.problem(problem)
        self._close_log(tree.size, covered)
        for boot in self._boots.keys() - before:
            self._sizes[boot.hex()] = tree.size
        return self._books

    def _begin(self, begins: Beginning | None) -> Head:
        """Return the tree that the log begins with; of what is gone little is known."""
        self._prunings = Prunings(begins.size if begins else 0)
        if begins is None or not begins.size:
            return Head()
        self._lost_entries = True
        self._books.unknowable = f"the first {begins.size} entries were pruned"
        self.report.note(self._books.unknowable)
        return Head(begins.size, begins.edge)

    def _checkpoint(
        self, origin: str, size: int, tree: Head, root: bytes, note: bytes
    ) -> bool:
        problem = self.report.problem
        if tree.size != size:
            problem(f"a checkpoint of {size} entries, but only {tree.size} are here")
            return False
        try:
            signed = open_checkpoint(note, origin, self._key)
        except CheckpointError as error:
            problem(f"checkpoint of {size} entries: {error}")
            return False
        if signed.size != size or not tree.root() == signed.root == root:
            problem(f"checkpoint of {size} entries: the entries give another root")
            return False
        self.report.checkpoints += 1
        return True

    def _close_log(self, size: int, covered: int) -> None:
        report = self.report
        report.logs += 1
        report.envelopes = sum(not named.kept for named in self._named.values())
        report.boots = len(self._boots)
        report.entries += size
        report.covered += covered
        report.samples_sent += self._books.sent_total
        report.exchanges_passed = self._firewall.passed
        report.exchanges_refused = self._firewall.refused
        if covered < size and not self._behind_ok:
            report.problem(f"the last {size - covered} entries are not signed")

    def _read(self, index: int, body: bytes) -> None:
        entry = decode_entry(body)
        if entry is None or entry.v != 1:
            self.report.problem(f"entry {index}: cannot be read")
            return
        self._count(index, entry)
        match entry:
            case Key() | Out():
                self._envelope(index, entry)
            case Loss() | Destroy():
                self._loss(entry)
            case Snap():
                self._snap(index, entry)
            case FirewallSnap():
                self._verdicts(index, entry)
            case Change():
                self._change(index, entry)
            case Consent():
                # T51: none is permanent; a policy allows a year, a giver's clock 5 min.
                ends = 0 < entry.expires - entry.ts <= CONSENT_NS_MAX
                if entry.state == "on" and not ends:
                    self.report.problem(f"entry {index}: a consent without a good end")
            case Prune():
                for problem in self._prunings.take(index, entry):
                    self.report.problem(f"entry {index}: {problem}")
            case Boot():
                self._began(index, entry)
        self._last = entry

    def _began(self, index: int, entry: Boot) -> None:
        if entry.device != self.report.device:
            self.report.problem(f"entry {index}: of another device")
        if entry.key != self._key:
            self.report.problem(f"entry {index}: another device key")

    def _verdicts(self, index: int, entry: FirewallSnap) -> None:
        problems = [*self._firewall.take(entry)]
        if not self._lost_entries:
            for problem in problems:
                self.report.problem(f"entry {index}: {problem}")

    def _count(self, index: int, entry: Entry) -> None:
        if entry.boot != self._boot:
            if entry.boot in self._boots:
                self.report.problem(f"entry {index}: a boot that had ended")
            self._books.boot(clean=self._last is None or isinstance(self._last, Stop))
            self._boot = entry.boot
            self._boots.setdefault(entry.boot, -1)
        if entry.n <= self._boots[entry.boot]:
            self.report.problem(f"entry {index}: its number does not rise")
        self._boots[entry.boot] = entry.n

    def _envelope(self, index: int, entry: Key | Out) -> None:
        problem = self.report.problem
        is_key = isinstance(entry, Key)
        place = (entry.epoch, 0 if is_key else entry.seq)
        if place in self._named:
            problem(f"entry {index}: epoch and sequence used twice")
        if len(entry.sha256) != DIGEST_BYTES or (entry.kind == "key") != is_key:
            problem(f"entry {index}: kind or digest is none")
        kept = entry.region == "device"  # sealed to the custodian, never sent
        if is_key:
            self._sequence.setdefault(entry.epoch, 0)
        else:
            last = self._sequence.get(entry.epoch)
            if last is None and not self._lost_entries:
                problem(f"entry {index}: an epoch that was not announced")
            if entry.seq != (last or 0) + 1 and not self._lost_entries:
                problem(f"entry {index}: sequence {entry.seq} after {last or 0}")
            self._sequence[entry.epoch] = entry.seq
            if entry.samples != sum(rows for _, rows, _ in entry.rules):
                problem(f"entry {index}: its rows are not its samples")
            self._books.out(entry)
            self.report.kept += kept
        self._named[place] = Named(entry.sha256, entry.samples, kept)

    def _loss(self, entry: Loss | Destroy) -> None:
        lost = self.report.lost
        lost[entry.cause] = lost.get(entry.cause, 0) + entry.count
        self._gone += [span for row in entry.rows for span in row[5]]
        self._books.lost(entry.cause, entry.count)
        if isinstance(entry, Loss) and (entry.entries_lost or not entry.continued):
            self._lost_entries = True
            self._books.unknowable = "entries were lost with a damaged store"
            self.report.note(self._books.unknowable)
        if isinstance(entry, Loss) and entry.spool_lost:
            known = self._gone_unnamed != UNKNOWN and entry.spool_lost > 0
            more = self._gone_unnamed + entry.spool_lost
            self._gone_unnamed = more if known else UNKNOWN

    def _change(self, index: int, entry: Change) -> None:
        self._books.policy(entry.policy)
        problems = self._steps.take(entry)
        for note in self._steps.notes:
            self.report.note(note)
        if not self._lost_entries:
            for problem in problems:
                self.report.problem(f"entry {index}: {problem}")

    def _snap(self, index: int, entry: Snap) -> None:
        self._snaps[entry.boot.hex(), index] = entry
        for problem in self._books.snap(entry):
            self.report.problem(f"entry {index}: {problem}")

    # --- against what came ----------------------------------------------------------

    def received(self, batches: Iterable[tuple[Place, bytes, int]]) -> None:
        """Step 5 and 7: hold what was received against what the logs name.

        ``batches``: place, SHA-256, rows that were opened (-1: sealed to others).
        """
        report = self.report
        here: set[Place] = set()
        for place, digest, samples in batches:
            named = self._named.get(place)
            if named is None:
                self._not_named(place)
            elif named.digest != digest:
                if samples >= 0:  # else it was never authenticated: anybody's bytes
                    report.problem(f"received {told(place)} with another digest")
            else:
                here.add(place)
                if samples not in {UNKNOWN, named.samples}:
                    report.problem(
                        f"{told(place)} holds {samples} rows, the log says"
                        f" {named.samples}"
                    )
        report.received = len(here)
        leaving = {place for place, named in self._named.items() if not named.kept}
        self._missing(leaving - here)

    def _not_named(self, place: Place) -> None:
        self.report.not_named += 1
        if not (self._behind_ok or self._lost_entries):
            self.report.problem(f"received {told(place)}, which the log does not name")

    def _missing(self, places: set[Place]) -> None:
        """Take off what is lost with a cause, and keys of epochs that only keep."""
        for epoch, first, last in self._gone:
            if last - first > len(places):
                places = {
                    p for p in places if not (p[0] == epoch and first <= p[1] <= last)
                }
            else:
                places -= {(epoch, number) for number in range(first, last + 1)}
        self.report.waiting = len(places)
        if self._behind_ok or self._gone_unnamed == UNKNOWN:
            return
        if len(places) > self._gone_unnamed:
            for place in sorted(places)[self._gone_unnamed :]:
                self.report.problem(
                    f"{told(place)} is named by the log and was not received"
                )

    def stored(self, place: Place, digest: bytes) -> None:
        """Hold an envelope that the device itself still has against its log."""
        named = self._named.get(place)
        if named is None:
            self._not_named(place)
        elif named.digest != digest:
            self.report.problem(f"stored {told(place)} has another digest")
        else:
            self.report.stored += 1

    def telemetry(self, published: Iterable[Telemetry | None]) -> None:
        """Step 8: published counters against the log's; None: it could not be read."""
        for one in published:
            if one is None:
                continue
            snap = self._snaps.get((one.boot, one.evidence_index))
            where = f"telemetry of entry {one.evidence_index}"
            if snap is None:
                if not (self._behind_ok or self._lost_entries):
                    self.report.problem(f"{where}: the log has no count.snap there")
                continue
            self.report.telemetry += 1
            rows = [
                (r.destination, r.rule, r.action, r.outcome, r.samples, r.bytes_used)
                for r in one.rows
            ]
            if rows != [(r[0], *r[2:]) for r in snap.rows] or one.held != snap.held:
                self.report.problem(f"{where} says other numbers than the log")

    def state(self, boot: str, evidence_size: int) -> None:
        """Step 9: a signed state knows how long its log was."""
        here = self._sizes.get(boot, 0)
        if evidence_size > here and not self._behind_ok:
            self.report.problem(
                f"the device had {evidence_size} entries, only {here} are here"
            )
