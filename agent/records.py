"""What the stages hand to one another and to the store. Columns in, records out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocols.frames import I16, FrameBatch
    from protocols.modbus.exchanges import PairBatch
    from protocols.samples import SampleBatch, TextBatch, TransactionBatch


class Outcome(IntEnum):
    """What became of a sample at one destination. Every sample has exactly one.

    Transforms that wait (aggregate, trip_ends) hold samples: HELD is the one outcome
    that is a level, not a count; `read == sum of the others + held` at any commit.
    """

    SENT = 0  # in a committed envelope (or, for an aggregate, merged into one)
    KEPT = 1  # sealed to the custodian, stays here
    DROPPED = 2  # a rule says drop
    KEPT_BACK = 3  # no rule matched
    UNCLASSIFIED = 4  # in no catalogue
    THINNED = 5  # a transform removed it: every, on_change, zone, trip end
    MERGED = 6  # went into an aggregate that is sent
    FAILED = 7  # protect error: kept back, fail closed
    HELD = 8  # waiting inside a transform
    READ = 9  # not an outcome: what a source brought (destination "", rule = category)


class Rank(IntEnum):
    """Order of shedding when disk or link do not suffice: lowest leaves first.

    DESIGN section 4: general telemetry first, then general data, then personal data;
    important-data evidence, the audit log and control never.
    """

    TELEMETRY = 0
    GENERAL = 1
    PERSONAL = 2
    IMPORTANT = 3
    CONTROL = 4  # key announcements, evidence, acks: never evicted


@dataclass(frozen=True, slots=True)
class BusChange:
    """A bus that was read and no longer is."""

    bus: int
    time_ns: int
    state: str  # absent | down


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the sources brought in one batch; at most one wall-clock window of it."""

    now_ns: int  # wall clock when the batch closed
    frames: FrameBatch | None = None
    transactions: TransactionBatch | None = None  # that our pollers made
    exchanges: PairBatch | None = None  # between others: seen by a tap, or by a proxy
    # Names of the proxy's rules that ``exchanges.rule`` numbers; None: a tap saw them.
    rules: tuple[str, ...] | None = None
    changes: tuple[BusChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Treatment:
    """The decision for every sample of a batch at one destination."""

    rule: I16  # [N] index into CompiledPolicy.rules, NO_RULE where kept back


@dataclass(frozen=True, slots=True)
class Released:
    """What one rule lets out of one batch, after its transforms.

    ``samples.item`` still indexes the policy's item table. ``statistic`` names what an
    aggregate computed for all of ``samples`` ("" = the sample itself).
    """

    rule: int
    samples: SampleBatch
    texts: TextBatch
    statistic: str = ""


@dataclass(frozen=True, slots=True)
class SpoolRecord:
    """One message that is to leave, exactly as it will be published."""

    kind: str  # data | key | event | state | telemetry
    destination: str
    rank: Rank
    label: int  # packed label
    epoch: bytes  # 16 bytes; empty for events and telemetry
    sequence: int  # within the epoch; 0 where there is none
    created_ns: int
    body: bytes
    confirm: str = "receipt"  # receipt | puback
    samples: int = 0
    consent: str = ""  # that it was released under; not in the store, its epoch tells


@dataclass(frozen=True, slots=True)
class RetainedRecord:
    """Sealed data that stays on the device until ``expires_ns`` (action keep)."""

    category: str
    label: int
    epoch: bytes
    sequence: int
    created_ns: int
    expires_ns: int
    body: bytes
    samples: int


@dataclass(frozen=True, slots=True)
class CounterRow:
    """One cell of the compliance counters; what a row adds in one commit."""

    destination: str
    label: int
    rule: str
    action: str
    outcome: Outcome
    samples: int
    bytes_used: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """How often the firewall said one thing of one link's exchanges."""

    link: str  # "" a device that the configuration does not name
    rule: str  # "" none
    verdict: str  # allowed | refused
    reason: str  # as ``protocols.modbus.exchanges.Reason``, in small letters
    count: int


@dataclass(frozen=True, slots=True)
class Commit:
    """All that one pass of the flow makes durable, in one transaction (promise 2)."""

    records: tuple[SpoolRecord, ...] = ()
    retained: tuple[RetainedRecord, ...] = ()
    evidence: tuple[bytes, ...] = ()  # encoded entries, in order
    counters: tuple[CounterRow, ...] = ()
    held: int = 0  # samples held inside transforms after this pass
    coverage: tuple[int, int] = (0, 0)  # classified, unclassified: read by this pass
    snapshot: bool = False  # evidence holds a count.snap of all counters before this
    verdicts: tuple[VerdictRow, ...] = ()  # of the firewall
    documents: Mapping[str, bytes] = field(default_factory=dict)  # b"": kept no more

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to make durable."""
        return not (
            self.records
            or self.retained
            or self.evidence
            or self.counters
            or self.verdicts
            or self.documents
        )


@dataclass(frozen=True, slots=True)
class Queued:
    """A spooled message on its way out."""

    row: int  # the store's own number of it, rising
    record: SpoolRecord


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One MQTT message to publish at QoS 1."""

    topic: str
    body: bytes
    retain: bool = False
    content_type: str = ""
    properties: tuple[tuple[str, str], ...] = ()  # MQTT 5 user properties


@dataclass(frozen=True, slots=True)
class Incoming:
    """One MQTT message received; acknowledged by hand once it is dealt with."""

    topic: str
    body: bytes
    retain: bool
    qos: int
    number: int  # packet identifier, for the acknowledgement
    content_type: str = ""
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Eviction:
    """What the store let go of: one row per (label, kind); recorded as evidence."""

    kind: str
    label: int
    records: int
    bytes_used: int
    samples: int
    epoch_ranges: tuple[tuple[bytes, int, int], ...] = field(default=())
    cause: str = "evicted"  # evicted | refused | expired | destroyed | damaged


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """How the store was after its last transaction; costs no query."""

    records: int
    bytes_used: int
    bytes_max: int
    oldest_ns: int  # 0 where empty
    evidence_size: int
    evidence_sent: int
    evicted_records: int
    retained_records: int
    evidence_first: int = 0  # entries before this one were pruned
    evidence_bytes: int = 0  # of the entries that are here
