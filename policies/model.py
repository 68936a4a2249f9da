"""The files that people write, as strict records: unknown fields are refused.

Schemas: ``sluicegate/policy/1``, ``catalogue/1`` and ``bindings/1``; ``floor/1`` stands
in ``model_floor.py``. The records hold what the file says; ``steps.py`` and
``compile.py`` give it meaning.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from policies.model_base import (
    END,
    Category,
    FormName,
    GeoName,
    Mark,
    MaybeName,
    Name,
    Names,
    PiName,
    Quantity,
    RecognitionName,
    Region,
    Text,
    TierName,
    Version,
)
from policies.model_firewall import Firewall  # noqa: TC001  # msgspec reads it
from policies.model_inspection import Inspection
from policies.model_raising import RAISING_MAX, Combination, Finer, Volume

RULES_MAX: Final = 5000
ITEMS_MAX: Final = 65_536
DESTINATIONS_MAX: Final = 64
RECIPIENTS_MAX: Final = 16
ZONE_POINTS_MAX: Final = 10_000
CONSENTS_MAX: Final = 256

Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
Comparisons: TypeAlias = Annotated[
    dict[Operator, bool | float],
    Meta(extra_json_schema={"propertyNames": {"enum": [*get_args(Operator)]}}),
]
Statistic: TypeAlias = Literal["min", "max", "mean", "count", "sum", "last"]
DatumName: TypeAlias = Literal["WGS-84", "GCJ-02"]
HYSTERESIS: Final = "60s"  # how long the closed side of a zone lingers; ours


class Strict(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of all records."""


# --- Policy ---------------------------------------------------------------------------


class RoundStep(Strict, frozen=True, kw_only=True):
    """``{round: {step: 0.5, down: true}}``."""

    step: float
    down: bool = False


class ClampStep(Strict, frozen=True, kw_only=True):
    """``{clamp: {low: 0, high: 120}}``."""

    low: float
    high: float


class ZonesStep(Strict, frozen=True, kw_only=True):
    """``{drop_zones: {zones: [depots], hysteresis: 60s}}``."""

    zones: Names
    hysteresis: Quantity = HYSTERESIS


class TripEndsStep(Strict, frozen=True, kw_only=True):
    """``{trip_ends: {length: 500m, gap: 5m}}``."""

    length: Quantity
    gap: Quantity = "5m"


class AggregateStep(Strict, frozen=True, kw_only=True):
    """``{aggregate: {window: 10m, of: [min, mean, max]}}``."""

    window: Quantity
    of: list[Statistic]


class MaskStep(Strict, frozen=True, kw_only=True):
    """``{mask: {keep_first: 3, keep_last: 0}}``."""

    keep_first: Annotated[int, Meta(ge=0, le=64)] = 0
    keep_last: Annotated[int, Meta(ge=0, le=64)] = 0


class PseudonymiseStep(Strict, frozen=True, kw_only=True):
    """``{pseudonymise: {purpose: warranty, period: 30d}}``; purpose: the rule's own."""

    purpose: MaybeName = ""
    period: Quantity = "30d"


class NoiseStep(Strict, frozen=True, kw_only=True):
    """``{noise: {epsilon: 1, sensitivity: 1}}``."""

    epsilon: float
    sensitivity: float


class Step(Strict, frozen=True, kw_only=True):
    """One entry of ``do`` that has parameters; exactly one field is set."""

    round: float | RoundStep | None = None
    clamp: ClampStep | None = None
    bucket: list[float] | None = None
    grid: Quantity | None = None
    drop_zones: str | list[str] | ZonesStep | None = None
    trip_ends: str | TripEndsStep | None = None
    every: Quantity | None = None
    on_change: float | None = None
    aggregate: AggregateStep | None = None
    mask: MaskStep | None = None
    pseudonymise: PseudonymiseStep | None = None
    noise: NoiseStep | None = None


class Destination(Strict, frozen=True, kw_only=True):
    """A place that data may go to."""

    region: Region
    recipients: Annotated[list[Name], Meta(min_length=1, max_length=RECIPIENTS_MAX)]
    suite: str = "x25519-aes256gcm"
    confirm: Literal["receipt", "puback"] = "receipt"
    purpose: MaybeName = ""  # of the rules that name none themselves


class Match(Strict, frozen=True, kw_only=True):
    """Which data a rule is about; all that is given must hold."""

    category: Category | list[Category] | None = None  # dotted prefix
    item: str | list[str] | None = None  # pattern: * one part, ** any number
    min_tier: TierName | None = None
    max_tier: TierName | None = None
    pi: PiName | list[PiName] | None = None
    geo: GeoName | list[GeoName] | None = None
    region: Region | list[Region] | None = None  # of the destination
    when: dict[str, bool | float | Comparisons] = {}
    inside: Names | None = None  # zones
    outside: Names | None = None
    hysteresis: Quantity | None = None  # of inside and outside; none: HYSTERESIS
    time: Quantity | None = None
    consent: Name | None = None


class Rule(Strict, frozen=True, kw_only=True):
    """One rule; the first one that matches decides."""

    name: Name
    match: Match
    do: Annotated[list[str | Step], Meta(min_length=1, max_length=16)]
    to: Names | None = None  # destinations; none: wherever it might go
    purpose: MaybeName = ""
    becomes: Category | None = None
    approval: Text = ""  # reference of an export assessment or regulator's approval
    note: Text = ""


class ZoneFile(Strict, frozen=True, kw_only=True):
    """A named area. The datum is mandatory: GCJ-02 is up to 700 m off WGS-84."""

    datum: DatumName
    polygons: Annotated[list[list[tuple[float, float]]], Meta(min_length=1)]
    buffer: Quantity | None = None


class Consent(Strict, frozen=True, kw_only=True):
    """What a person may agree to: one class of data, one purpose, for a time."""

    about: Annotated[str, Meta(min_length=1, max_length=1000)]  # as a person reads it
    categories: Annotated[list[Category], Meta(min_length=1, max_length=16)]
    at_most: Quantity  # the longest that it may be given for
    purpose: MaybeName = ""  # of the rules that it opens; none: whatever they name
    survives_ignition: bool = False  # a person may opt in to that


class Ignition(Strict, frozen=True, kw_only=True):
    """Which item tells that a new ignition cycle has begun, and its value when on."""

    item: str
    on: bool | float | Comparisons = True


class Telemetry(Strict, frozen=True, kw_only=True):
    """How often compliance counters and checkpoints go out."""

    interval: Quantity = "60s"
    checkpoint: Quantity = "10m"


class Policy(Strict, frozen=True, kw_only=True):
    """A policy file."""

    schema: Literal["sluicegate/policy/1"]
    name: Name
    version: Version
    min_version: Version = 1
    note: Text = ""
    catalogues: Annotated[list[str], Meta(min_length=1, max_length=16)]
    destinations: Annotated[
        dict[Name, Destination], Meta(max_length=DESTINATIONS_MAX)
    ] = {}
    home_region: Region = "CN"
    custodian: MaybeName = ""
    zones: Annotated[dict[Name, ZoneFile], Meta(max_length=1000)] = {}
    consents: Annotated[dict[Name, Consent], Meta(max_length=CONSENTS_MAX)] = {}
    ignition: Ignition | None = None
    combinations: Annotated[list[Combination], Meta(max_length=RAISING_MAX)] = []
    volumes: Annotated[list[Volume], Meta(max_length=RAISING_MAX)] = []
    rules: Annotated[list[Rule], Meta(max_length=RULES_MAX)] = []
    retention: dict[str, Quantity] = {}
    telemetry: Telemetry = Telemetry()
    inspection: Inspection = Inspection()
    modbus: Firewall | None = None


# --- Catalogue ------------------------------------------------------------------------


class LabelFile(Strict, frozen=True, kw_only=True):
    """The five axes of ``protocols.labels``."""

    tier: TierName
    pi: PiName = "none"
    form: FormName = "raw"
    geo: GeoName = "none"
    recognition: RecognitionName = "none"


class Raise(Strict, frozen=True, kw_only=True):
    """What lifts the level of a category, in words, and to which level."""

    when: Text
    to: Text


class Entry(Strict, frozen=True, kw_only=True):
    """One category of a catalogue."""

    id: Name
    category: Category
    about: Text
    label: LabelFile
    raises: list[Raise] = []  # in words; what can be computed stands in finer,
    finer: list[Finer] = []  # and in the catalogue's combinations and volumes
    default: Text
    basis: Annotated[list[Text], Meta(min_length=1)]
    basis_mark: Mark
    items: list[str] = []


class RoleEntry(Strict, frozen=True, kw_only=True):
    """Which items are parts of a position. ``group``: none = the item's parent path."""

    item: str
    role: Literal["latitude", "longitude", "altitude", "heading", "speed", "fix"]
    group: str = ""


class Threshold(Strict, frozen=True, kw_only=True):
    """One line of regulation section 2.1: configuration, not code."""

    id: Name
    metric: Text
    effect: Text
    value: float | None = None
    unit: Text = ""
    source: Text
    mark: Mark


class Catalogue(Strict, frozen=True, kw_only=True):
    """A catalogue file."""

    schema: Literal["sluicegate/catalogue/1"]
    name: Name
    version: Version
    note: Text = ""
    thresholds: list[Threshold] = []
    categories: Annotated[list[Entry], Meta(min_length=1, max_length=5000)]
    roles: list[RoleEntry] = []
    combinations: Annotated[list[Combination], Meta(max_length=RAISING_MAX)] = []
    volumes: Annotated[list[Volume], Meta(max_length=RAISING_MAX)] = []


# --- Bindings -------------------------------------------------------------------------


class Source(Strict, frozen=True, kw_only=True):
    """What a signal or register becomes, where its name alone does not say it all."""

    item: str
    category: Category | None = None  # wins over the catalogue's patterns
    unit: str | None = None  # must be the unit that the database states
    factor: float = 1.0
    unit_out: str | None = None  # after ``factor``
    datum: DatumName | None = None  # of a latitude or longitude; none: WGS-84


class Combined(Strict, frozen=True, kw_only=True):
    """An item that is a weighted sum of signals of one message."""

    item: str
    message: str | int
    parts: Annotated[dict[str, float], Meta(min_length=1, max_length=16)]
    category: Category | None = None
    unit: str | None = None
    datum: DatumName | None = None  # of a latitude or longitude; none: WGS-84


class CanBinding(Strict, frozen=True, kw_only=True):
    """One bus (``*``: every bus) with its database."""

    bus: str | list[str]
    database: str
    signals: dict[str, str | Source] = {}
    combined: list[Combined] = []


class DiagnosticFile(Strict, frozen=True, kw_only=True):
    """A text that UDS (``did``) or OBD-II (``obd``: service.parameter) tells."""

    bus: str | list[str]
    item: str
    did: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    obd: (
        Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{2}\.[0-9A-Fa-f]{2}" + END)] | None
    ) = None
    category: Category | None = None


class PointFile(Strict, frozen=True, kw_only=True):
    """A Modbus point; ``address``: 0-based with ``table``, or ``"40011"`` without."""

    item: str
    address: int | str
    table: Literal[0, 1, 3, 4] | None = None
    type: str = "u16"
    order: str = "ABCD"
    bit: int | None = None
    length: int = 0
    scale: float = 1.0
    offset: float = 0.0
    scale_factor: int | None = None
    invalid: Annotated[int, Meta(ge=0)] | None = None
    unit: str = ""
    period: Quantity | None = None
    category: Category | None = None
    datum: DatumName | None = None  # of a latitude or longitude; none: WGS-84


class ModbusBinding(Strict, frozen=True, kw_only=True):
    """The points of one unit on one link."""

    link: Name
    unit: Annotated[int, Meta(ge=0, le=255)]
    points: list[PointFile]


class SunSpecFile(Strict, frozen=True, kw_only=True):
    """The points of one SunSpec model in one unit."""

    link: Name
    unit: Annotated[int, Meta(ge=0, le=255)]
    model: Annotated[int, Meta(ge=1, le=65_534)]
    points: dict[str, str | Source]
    instance: Annotated[int, Meta(ge=0, le=127)] = 0
    period: Quantity | None = None


class Bindings(Strict, frozen=True, kw_only=True):
    """A bindings file."""

    schema: Literal["sluicegate/bindings/1"]
    name: Name
    note: Text = ""
    can: list[CanBinding] = []
    diagnostics: list[DiagnosticFile] = []
    modbus: list[ModbusBinding] = []
    sunspec: list[SunSpecFile] = []
