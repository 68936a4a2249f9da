"""One capture through the production path, in a process of its own.

The very stages of the daemon and a real store; only the source is a file and the clock
is the recording's. Without recipient cards everything is sealed to nobody: keys that no
one holds.
"""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from agent import VERSION
from agent.adapters.captures import open_capture
from agent.adapters.cards import check_cards, load_cards, stale_cards
from agent.adapters.clock import SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.assembly import Identity, assemble
from agent.errors import BadInput
from agent.evidence import Evidence
from agent.limits import BATCH_FRAMES_MAX, RETAINED_BYTES_DEFAULT, SPOOL_BYTES_DEFAULT
from agent.merging import CommitGroup
from agent.protection.keyring import KeyRing
from agent.records import Arrival
from agent.tally import ItemTally
from policies.files import load
from protocols.frames import FrameBatch
from protocols.labels import unpack
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.captures import Capture
    from agent.adapters.sqlite_store import SqliteStore
    from agent.flow import Flow
    from agent.records import Commit
    from policies.compile import Compiled
    from policies.files import Loaded

DEVICE: Final = "scan"
GROUP_PASSES: Final = 16  # passes in one transaction: a scan has no deadline


@dataclass(frozen=True, slots=True)
class Request:
    """What to scan with. Plain text, so that it travels to a worker process."""

    policy: str
    bindings: tuple[str, ...] = ()
    databases: str = ""
    recipients: str = ""
    out: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule did with one item at one destination."""

    destination: str
    region: str
    rule: str  # "" = no rule: kept back
    action: str
    samples: int
    rows_left: int  # rows in envelopes; the same number stands at every rule of an item


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item of the capture."""

    name: str
    source: str
    category: str
    label: str
    classified: bool
    samples: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one capture holds and what of it would leave."""

    file: str
    format: str
    frames: int
    seconds: float
    items: tuple[ItemResult, ...]
    classified: int
    unclassified: int
    envelopes: int
    envelope_bytes: int
    evidence: int
    notices: int
    alerts: int
    skipped: tuple[tuple[str, int], ...]
    store: str  # where the envelopes are kept, "" where they are not

    @property
    def coverage(self) -> float:
        """Return classified / all samples, 0..1; 1 where there are none."""
        total = self.classified + self.unclassified
        return self.classified / total if total else 1.0


def prepare(request: Request) -> Loaded:
    """Return the compiled policy; BadInput where lint refuses it."""
    loaded = load(
        request.policy,
        request.bindings,
        None,
        Path(request.databases) if request.databases else None,
    )
    if loaded.errors:
        raise BadInput("", "", str(loaded.errors[0]))
    return loaded


def scan_one(
    path: Path, request: Request, progress: Callable[[int, int], None] | None = None
) -> ScanResult:
    """Scan one capture; ``progress`` is told (bytes read, bytes in all)."""
    compiled = prepare(request).compiled
    with tempfile.TemporaryDirectory(prefix="sluicegate-scan-") as temporary:
        folder = Path(request.out) if request.out else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{path.name}.store"
        if file.exists():
            raise BadInput(str(file), "", "exists already", "name another --out folder")
        scan = _Scan(compiled, request, file)
        try:
            with open_capture(path, BATCH_FRAMES_MAX) as capture:
                return scan.run(path, capture, progress, keep=bool(request.out))
        finally:
            scan.store.close()


class _Scan:
    """The stages and the store of one scan."""

    def __init__(self, compiled: Compiled, request: Request, file: Path) -> None:
        self._compiled = compiled
        self._policy = compiled.policy
        self._tally = ItemTally(compiled.policy)
        clock = SystemClock()
        boot = secrets.token_bytes(16)
        self._evidence = Evidence(DEVICE, boot, VERSION)
        self._signer = load_or_create(file.with_suffix(".key"), DEVICE)
        cards = None
        closed: frozenset[str] = frozenset()
        if request.recipients:
            cards = load_cards(request.recipients)
            check_cards(compiled.policy, cards, request.recipients)
            stale = stale_cards(compiled.policy, cards, clock.now_ns())
            for reason in stale.values():
                raise BadInput(request.recipients, "", reason)
        options = StoreOptions(
            SPOOL_BYTES_DEFAULT,
            RETAINED_BYTES_DEFAULT,
            lambda cause, lost: self._evidence.let_go(clock.now_ns(), cause, lost),
            lambda found: self._evidence.broken(clock.now_ns(), found),
        )
        self.store: SqliteStore = open_store(file, options)
        self._file = file
        identity = Identity(
            DEVICE, boot, VERSION, self._signer, secrets.token_bytes,
            KeyRing(secrets.token_bytes(32), secrets.token_bytes),
        )  # fmt: skip
        self._flow: Flow = assemble(
            compiled, identity, cards, self._evidence, closed=closed, tally=self._tally
        )
        self._group = CommitGroup(GROUP_PASSES)

    def run(
        self,
        path: Path,
        capture: Capture,
        progress: Callable[[int, int], None] | None,
        *,
        keep: bool,
    ) -> ScanResult:
        """Move every batch through the flow."""
        frames, first_ns, last_ns = 0, 0, 0
        for batch in capture.batches():
            if not len(batch):
                continue
            first_ns = first_ns or int(batch.time_ns[0])
            last_ns = max(last_ns, int(batch.time_ns[-1]))
            frames += len(batch)
            known = self._renumbered(batch, capture.buses)
            self._commit(self._flow.process(Arrival(last_ns, known)))
            if progress is not None:
                progress(capture.position_bytes, capture.size_bytes)
        self._commit(self._flow.finish(last_ns, "end of capture"), last=True)
        self._close()
        statistics = self.store.statistics()
        inspected = self._flow.inspected()
        totals = self.store.totals()
        return ScanResult(
            file=str(path),
            format=capture.format,
            frames=frames,
            seconds=(last_ns - first_ns) / 1e9,
            items=self._items(),
            classified=totals.classified,
            unclassified=totals.unclassified,
            envelopes=statistics.records,
            envelope_bytes=statistics.bytes_used,
            evidence=statistics.evidence_size,
            notices=inspected.notices,
            alerts=inspected.alerts,
            skipped=tuple(sorted(capture.skipped.items())),
            store=str(self._file) if keep else "",
        )

    def _commit(self, commit: Commit, *, last: bool = False) -> None:
        ready = self._group.add(commit, last=last)
        if ready is not None:
            self.store.commit(ready)

    def _close(self) -> None:
        """Sign the tree, so that the store alone can be verified."""
        size, root = self.store.root()
        origin = f"sluicegate/{DEVICE}/{DEVICE}/{self.store.log_id.hex()}"
        note = sign_checkpoint(Checkpoint(origin, size, root), self._signer)
        self.store.add_checkpoint(size, root, note)

    def _renumbered(self, batch: FrameBatch, buses: list[str]) -> FrameBatch:
        """Return the batch with the policy's bus numbers instead of the file's.

        A bus that no binding names gets a number behind all of them: its frames are
        unknown, counted, and never leave.
        """
        known = self._compiled.buses
        numbers = [known.index(name) if name in known else len(known) for name in buses]
        if numbers == list(range(len(numbers))):
            return batch
        bus = np.array(numbers, np.uint8)[batch.bus]
        return FrameBatch(
            batch.time_ns, bus, batch.ident, batch.size, batch.flags, batch.payload
        )

    def _items(self) -> tuple[ItemResult, ...]:
        items, policy = self._policy.items, self._policy
        found = []
        for row in np.flatnonzero(self._tally.read).tolist():
            decisions = []
            for place, destination in enumerate(policy.destinations):
                left = int(self._tally.left[place][row])
                counts = self._tally.decisions[place][row]
                for number in np.flatnonzero(counts).tolist():
                    rule = policy.rules[number] if number < len(policy.rules) else None
                    decisions.append(
                        Decision(
                            destination.name,
                            destination.region,
                            rule.name if rule else "",
                            rule.action.name.lower() if rule else "kept back",
                            int(counts[number]),
                            left if rule else 0,
                        )
                    )
            found.append(
                ItemResult(
                    items.name[row],
                    items.source[row] if items.source else "",
                    items.category[row],
                    str(unpack(int(items.label[row]))),
                    bool(items.classified[row]),
                    int(self._tally.read[row]),
                    tuple(decisions),
                )
            )
        return tuple(sorted(found, key=lambda item: item.name))
