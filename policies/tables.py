"""What a policy compiles to: the tables that the data path reads, and nothing else.

Built by ``policies/compile.py``, read by the stages of ``agent/``. Everything is
decided here once per policy so that the data path only gathers: which rules could ever
match an item, what label each would give its output, which transforms it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from policies.firewall.tables import CompiledFirewall
    from policies.inspection import CompiledInspection
    from protocols.frames import F64, I16, I32, U8, U16, Bool

NO_RULE: Final = -1  # in chains and decisions: nothing matched, the datum is kept back


class Action(IntEnum):
    """What a rule finally does with what its transforms let through."""

    DROP = 0  # destroyed here, counted
    KEEP = 1  # sealed to the custodian's key, stays on the device for its retention
    ALLOW = 2  # leaves in the open, signed
    ENCRYPT = 3  # leaves sealed to the destination's recipients


class Role(IntEnum):
    """What a position item is within its group (one group is one position)."""

    NONE = 0
    LATITUDE = 1
    LONGITUDE = 2
    ALTITUDE = 3
    HEADING = 4
    SPEED = 5
    FIX = 6  # fix quality: 0 = no fix, so positions of the group are not to be trusted


@dataclass(frozen=True, slots=True)
class ItemTable:
    """One row per bound item (the same name bound on two buses is two rows)."""

    name: tuple[str, ...]  # VSS path or area/line/unit/point path
    category: tuple[str, ...]  # catalogue category, "" where unclassified
    unit: tuple[str, ...]
    label: (
        U16  # [N] packed label (protocols.labels), UNCLASSIFIED where in no catalogue
    )
    classified: Bool  # [N]
    kind: U8  # [N] protocols.samples.Kind
    scale: F64  # [N]
    offset: F64  # [N]
    role: U8  # [N] Role
    group: I32  # [N] position group, -1 none; roles of one group are one position
    source: tuple[str, ...] = ()  # [N] bus or link that it comes from
    gcj02: frozenset[int] = frozenset()  # groups whose coordinates are GCJ-02

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.name)


# --- Transforms. Lengths in metres, times in ns, angles in degrees (WGS-84). ----------


@dataclass(frozen=True, slots=True)
class Round:
    """Value to the nearest multiple of ``step`` (floor where ``down``)."""

    step: float
    down: bool = False


@dataclass(frozen=True, slots=True)
class Clamp:
    """Value into [low, high]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """Value to the lower edge of its bucket; below the first edge: the first edge."""

    edges: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Latitude and longitude to the centre of a cell of ``size_m`` metres."""

    size_m: float


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon of (latitude, longitude) vertices, dilated by ``buffer_m``.

    In WGS-84. ``gcj02`` is the same polygon in GCJ-02, for groups of that datum; None
    where no bound position is.
    """

    name: str
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]
    buffer_m: float
    gcj02: tuple[tuple[float, ...], tuple[float, ...]] | None = None


@dataclass(frozen=True, slots=True)
class DropZones:
    """Samples of the group taken inside a zone (or without a fix) are destroyed."""

    zones: tuple[Zone, ...]
    hysteresis_ns: int


@dataclass(frozen=True, slots=True)
class TripEnds:
    """The first and last ``length_m`` of every trip are destroyed."""

    length_m: float
    gap_ns: int  # silence this long ends a trip


@dataclass(frozen=True, slots=True)
class Every:
    """At most one sample per item in each ``period_ns``."""

    period_ns: int


@dataclass(frozen=True, slots=True)
class OnChange:
    """Only samples that differ from the last one sent by more than ``deadband``."""

    deadband: float


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One sample per statistic and closed window; of: min max mean count sum last."""

    window_ns: int
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """Text: all but the first and last so many characters become ``*``."""

    keep_first: int
    keep_last: int


@dataclass(frozen=True, slots=True)
class Pseudonymise:
    """base32(HMAC-SHA-256(HKDF(master, purpose/epoch), class 00 value))[:26]."""

    purpose: str
    period_ns: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Laplace noise of scale ``sensitivity / epsilon``; refused on positions."""

    epsilon: float
    sensitivity: float


@dataclass(frozen=True, slots=True)
class Blank:
    """The time stays, the value goes (NaN, or the empty text)."""


Transform: TypeAlias = (
    Round
    | Clamp
    | Bucket
    | Grid
    | DropZones
    | TripEnds
    | Every
    | OnChange
    | Aggregate
    | Mask
    | Pseudonymise
    | Noise
    | Blank
)


# --- Conditions: all must hold. A condition that cannot be decided does not hold. -----


@dataclass(frozen=True, slots=True)
class ItemTest:
    """The latest value of any item row in ``items`` compares as told; unknown: no."""

    items: tuple[int, ...]
    op: str  # == != < <= > >=
    value: float


@dataclass(frozen=True, slots=True)
class TimeTest:
    """Wall clock within [start_s, end_s) of one of ``days`` (0 = Monday)."""

    days: frozenset[int]
    start_s: int
    end_s: int
    utc_offset_s: int


@dataclass(frozen=True, slots=True)
class ZoneTest:
    """The latest position is inside (or outside) the zones; no fix: does not hold.

    One side of the border closes: it counts at once, and lingers for ``hysteresis_ns``
    after the last position on it. It is the outside where ``lingers_outside``.
    """

    zones: tuple[Zone, ...]
    inside: bool
    hysteresis_ns: int = 0
    lingers_outside: bool = False


@dataclass(frozen=True, slots=True)
class ConsentTest:
    """A consent of this name is given and has not expired."""

    name: str


@dataclass(frozen=True, slots=True)
class CompiledVolume:
    """More than so many samples (or spans of time with data) within a window."""

    name: str
    more_than: int
    window_ns: int
    slot_ns: int  # what is counted is kept by slots of this width
    by_time: bool  # slots with data are counted, not samples


@dataclass(frozen=True, slots=True)
class VolumeTest:
    """More (``above``) or less than a limit left to any of ``recipients``.

    One of the two always holds: what is not known to be below is above.
    """

    volume: CompiledVolume
    recipients: tuple[str, ...]
    above: bool


Condition: TypeAlias = ItemTest | TimeTest | ZoneTest | ConsentTest | VolumeTest


@dataclass(frozen=True, slots=True)
class CompiledConsent:
    """What a person may agree to."""

    name: str
    about: str  # as the person reads it
    classes: tuple[str, ...]  # categories of the data that it is for
    terms: bytes  # digest of what the person was told, 32 bytes
    at_most_ns: int
    survives_ignition: bool  # where the person opts in to that


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule for one destination."""

    name: str
    purpose: str
    destination: int  # index into CompiledPolicy.destinations
    action: Action
    transforms: tuple[Transform, ...]
    conditions: tuple[Condition, ...]
    label_out: U16  # [items] packed label of the rule's output for that item
    category_out: tuple[str, ...]  # [items] category of the rule's output
    volumes: tuple[int, ...] = ()  # limits that all it lets out counts to


def consent_of(rule: CompiledRule) -> str:
    """Return the name of the consent that a rule asks for, "" where it asks for none.

    The language lets a rule ask for one at most.
    """
    asked = [c.name for c in rule.conditions if isinstance(c, ConsentTest)]
    return asked[0] if asked else ""


@dataclass(frozen=True, slots=True)
class CompiledDestination:
    """One place that data may go to, with the order of rules per item."""

    name: str
    region: str
    recipients: tuple[str, ...]
    suite: str  # x25519-aes256gcm | mlkem768x25519-aes256gcm
    confirm: str  # receipt | puback
    chain: I16  # [items, depth] rule indices in order, padded with NO_RULE


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """The whole policy as the data path sees it. Immutable; swapped between batches."""

    name: str
    version: int
    digest: bytes  # SHA-256 of the policy text as read, 32 bytes
    catalogue_digest: bytes  # SHA-256 over the catalogues and bindings used
    items: ItemTable
    destinations: tuple[CompiledDestination, ...]
    rules: tuple[CompiledRule, ...]
    custodian: str  # recipient name that `keep` seals to, "" none: keep is then drop
    retention_ns: I64Map  # category prefix -> retention, longest prefix wins
    retention_default_ns: int
    telemetry_ns: int  # interval of compliance telemetry
    checkpoint_ns: int  # interval of published checkpoints
    consents: tuple[CompiledConsent, ...] = ()
    ignition: tuple[ItemTest, ...] = ()  # all hold: on; (): nothing tells
    volumes: tuple[CompiledVolume, ...] = ()
    inspection: CompiledInspection | None = None  # None: every detector, as it comes
    firewall: CompiledFirewall | None = None  # None: the policy has no ``modbus:``


I64Map: TypeAlias = dict[str, int]
