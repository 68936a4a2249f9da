"""One capture through the production path, in a process of its own.

The very stages of the daemon and a real store; only the source is a file and the clock
is the recording's. Without recipient cards everything is sealed to nobody: keys that no
one holds.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import VERSION
from agent.adapters.captures import open_capture
from agent.adapters.cards import check_cards, load_cards, stale_cards
from agent.adapters.clock import SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.assembly import Identity, assemble
from agent.commands.modbus_source import Source, links_named
from agent.commands.modbus_where import Where
from agent.commands.scan_feeds import CanFeed, Feed, NetworkFeed, is_network
from agent.commands.scan_result import (
    DestinationResult,
    Failed,
    ScanResult,
    item_results,
)
from agent.consent_file import SECOND_NS, Statement
from agent.consents import Consents
from agent.errors import BadInput, SluicegateError
from agent.evidence import Evidence
from agent.firewall.book import FirewallBook
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from agent.firewall.stage import Firewall
from agent.limits import BATCH_FRAMES_MAX, RETAINED_BYTES_DEFAULT, SPOOL_BYTES_DEFAULT
from agent.merging import CommitGroup
from agent.protection.keyring import KeyRing
from agent.protection.transforms import SHUTDOWN
from agent.records import Commit
from agent.tally import ItemTally
from policies.errors import PolicyError, shown
from policies.files import bus_names, link_names, load, policy_text
from policies.parse import parse_policy
from protocols.errors import DatabaseError, WireError
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.adapters.sqlite_store import SqliteStore
    from agent.flow import Flow
    from policies.compile import Compiled
    from policies.tables import CompiledConsent, CompiledPolicy

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
    consents: tuple[str, ...] = ()  # given from the first frame on, as long as may be
    config: str = ""  # of a gateway: where its Modbus devices are
    links: tuple[str, ...] = ()  # NAME=ADDRESS or NAME=ADDRESS:PORT


def try_scan(
    path: Path, request: Request, progress: Callable[[int, int], None] | None = None
) -> ScanResult | Failed:
    """Scan one capture; what is wrong with it comes back as a value."""
    try:
        return scan_one(path, request, progress)
    except (BadInput, PolicyError, DatabaseError, WireError) as error:
        return Failed(str(error), is_bad_input=True)
    except SluicegateError as error:
        return Failed(str(error), is_bad_input=False)


def prepare(
    request: Request, buses: Sequence[str] = (), links: Sequence[str] = ()
) -> Compiled:
    """Return the compiled policy; BadInput where lint refuses it.

    ``buses``: of the capture, for bindings that say ``*``; ``links``: that options and
    policy name.
    """
    # cantools warns of what is the database's author's to mend; stderr is for errors.
    logging.getLogger("cantools").setLevel(logging.ERROR)
    folder = Path(request.databases) if request.databases else None
    loaded = load(
        request.policy,
        request.bindings,
        None,
        folder,
        buses=tuple(buses) or None,
        links=tuple(links) or None,
    )
    if loaded.errors:
        raise BadInput("", "", str(loaded.errors[0]))
    return loaded.compiled


def buses_of_capture(path: Path) -> list[str]:
    """Return the names of a capture's buses, as far as it can be read."""
    with open_capture(path, BATCH_FRAMES_MAX) as capture:
        with contextlib.suppress(BadInput):  # told when the frames are read
            for _ in capture.batches():
                pass
        return list(capture.buses)


def source_of(path: Path, request: Request) -> Source:
    """Return which Modbus devices there are: of options, policy and bindings."""
    config = Path(request.config) if request.config else None
    where = Where(captures=(path,), config=config, links=request.links)
    file, text = policy_text(request.policy)
    named = links_named(parse_policy(text, file).model)
    return Source(where, [*named, *link_names(request.bindings)])


def scan_one(
    path: Path, request: Request, progress: Callable[[int, int], None] | None = None
) -> ScanResult:
    """Scan one capture; ``progress`` is told (bytes read, bytes in all)."""
    named, is_open = bus_names(request.bindings)
    source = source_of(path, request)
    network = is_network(path, has_links=bool(source.places))
    present = buses_of_capture(path) if is_open and not network else []
    compiled = prepare(request, list(dict.fromkeys([*named, *present])), source.links)
    with tempfile.TemporaryDirectory(prefix="sluicegate-scan-") as temporary:
        folder = Path(request.out) if request.out else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{path.name}.store"
        if file.exists():
            raise BadInput(str(file), "", "exists already", "name another --out folder")
        if network and link_names(request.bindings) and not source.places:
            hint = f"--link {source.links[0]}=ADDRESS, or --config"
            raise BadInput(str(path), "", "no address of a bound link is known", hint)
        scan = _Scan(compiled, request, file, source.peers.names)
        try:
            feed: Feed = (
                NetworkFeed(path, source) if network else CanFeed(path, compiled.buses)
            )
            with feed:
                return scan.run(path, feed, progress, keep=bool(request.out))
        finally:
            scan.store.close()


def _firewall(compiled: Compiled, peers: Sequence[str]) -> Firewall:
    """Return the stage that judges as the daemon's does what a tap hears."""
    rules = compiled.policy.firewall
    judge = None if rules is None else Judge(rules, Memory())
    names = [] if rules is None else [rule.name for rule in rules.rules]
    return Firewall(judge, peers, compiled.links, names)


def _declared(policy: CompiledPolicy, names: Sequence[str]) -> list[CompiledConsent]:
    """Return the consents that are given; BadInput for one that there is not."""
    known = {one.name: one for one in policy.consents}
    for name in names:
        if name not in known:
            hint = f"known: {', '.join(known) or 'none'}"
            raise BadInput(policy.name, "", f"no such consent: {shown(name)}", hint)
    return [known[name] for name in dict.fromkeys(names)]


class _Scan:
    """The stages and the store of one scan."""

    def __init__(
        self, compiled: Compiled, request: Request, file: Path, peers: Sequence[str]
    ) -> None:
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
            compiled,
            identity,
            cards,
            self._evidence,
            closed=closed,
            tally=self._tally,
            firewall=_firewall(compiled, peers),
        )
        self._book = FirewallBook()
        self._group = CommitGroup(GROUP_PASSES)
        self._sent: dict[str, list[int]] = {}  # as DestinationResult has them
        self._held = 0
        self._evidence_bytes = 0
        self._started = (0.0, 0.0)  # wall clock, processor
        self._consents = Consents(compiled.policy.consents)
        self._consents.take([])  # the start, which ends what survives no ignition
        self._given = _declared(compiled.policy, request.consents)

    def run(
        self,
        path: Path,
        feed: Feed,
        progress: Callable[[int, int], None] | None,
        *,
        keep: bool,
    ) -> ScanResult:
        """Move every batch through the flow; what breaks off is told with the rest."""
        frames, first_ns, last_ns, failed = 0, 0, 0, ""
        self._started = time.perf_counter(), time.process_time()
        try:
            for arrival, count, begun_ns in feed.arrivals():
                if not frames:
                    first_ns = begun_ns
                    self._begin(first_ns)
                last_ns = max(last_ns, arrival.now_ns)
                frames += count
                self._commit(self._flow.process(arrival, consents=self._consents))
                if progress is not None:
                    progress(feed.position_bytes, feed.size_bytes)
        except BadInput as error:
            if not frames:
                raise
            failed = str(error)
        self._commit(self._flow.finish(last_ns, SHUTDOWN), last=True)
        self._close(first_ns, last_ns)
        return self._result(
            str(path), feed, frames, (last_ns - first_ns) / 1e9,
            str(self._file) if keep else "", failed,
        )  # fmt: skip

    def _result(
        self, file: str, feed: Feed, frames: int, seconds: float, store: str,
        failed: str,
    ) -> ScanResult:  # fmt: skip
        statistics, totals = self.store.statistics(), self.store.totals()
        inspected = self._flow.inspected()
        return ScanResult(
            file=file,
            format=feed.format,
            frames=frames,
            what=feed.what,
            seconds=seconds,
            items=item_results(self._policy, self._tally),
            destinations=tuple(
                DestinationResult(
                    one.name, one.region, *self._sent.get(one.name, (0,) * 5)
                )
                for one in self._policy.destinations
            ),
            classified=totals.classified,
            unclassified=totals.unclassified,
            envelopes=statistics.records,
            envelope_bytes=sum(size for _, size, *_ in self._sent.values()),
            kept_records=statistics.retained_records,
            evicted_records=statistics.evicted_records,
            evidence=statistics.evidence_size,
            notices=inspected.notices,
            alerts=inspected.alerts,
            skipped=tuple(sorted(feed.skipped.items())),
            unbound_buses=tuple(sorted(feed.unbound.items())),
            store=store,
            policy=self._policy.name,
            version=self._policy.version,
            evidence_bytes=self._evidence_bytes,
            elapsed_s=time.perf_counter() - self._started[0],
            cpu_s=time.process_time() - self._started[1],
            error=failed,
            verdicts=self._book.totals(),
        )

    def _begin(self, now_ns: int) -> None:
        """Open the evidence: who we are, which policy holds."""
        begun = now_ns // SECOND_NS
        self._consents.take(
            [
                Statement(
                    name=one.name,
                    id=secrets.token_hex(16),
                    given=begun,
                    expires=begun + one.at_most_ns // SECOND_NS,
                    opt_in=one.survives_ignition,
                )
                for one in self._given
            ]
        )
        public_key, reason = self._signer.public_key(), "scan"
        entries = (
            self._evidence.boot(now_ns, public_key, "recording", {}),
            self._evidence.policy(now_ns, self._policy, "active", reason),
        )
        self._commit(Commit(evidence=entries))

    def _commit(self, commit: Commit, *, last: bool = False) -> None:
        self._held = commit.held
        self._evidence_bytes += sum(map(len, commit.evidence))
        self._book.add(commit.verdicts)
        for record in commit.records:
            sent = self._sent.setdefault(record.destination, [0] * 5)
            sent[0] += 1
            sent[1] += len(record.body)
            sent[2] += record.samples
            if record.kind == "key":
                sent[3] += 1
                sent[4] += len(record.body)
        ready = self._group.add(commit, last=last)
        if ready is not None:
            self.store.commit(ready)

    def _close(self, first_ns: int, last_ns: int) -> None:
        """Tell the counters to the evidence and sign the tree: verifiable alone."""
        said = self._evidence.firewall(first_ns, last_ns, self._book.grown(), 0)
        if said:
            self.store.commit(Commit(evidence=said, held=self._held))
        rows = self.store.untold_counters()
        told = self._evidence.counters(first_ns, last_ns, rows, self._held)
        if told:
            self.store.commit(Commit(evidence=told, held=self._held, snapshot=True))
        size, root = self.store.root()
        origin = f"sluicegate/{DEVICE}/{DEVICE}/{self.store.log_id.hex()}"
        note = sign_checkpoint(Checkpoint(origin, size, root), self._signer)
        self.store.add_checkpoint(size, root, note)
