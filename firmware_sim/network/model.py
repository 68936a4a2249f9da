"""Scenario files of kind ``network``: PLCs, clients, attacks, faults.

Every host has two addresses: ``address`` stands in captures, ``local`` (127.0.0.x) is
bound when the network runs live. Register addresses are 0-based.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from firmware_sim.schema import (
    Duration,
    Name,
    Phase,
    ScenarioHead,
    Share,
    Strict,
    TankSpec,
)

Address: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9]{1,3}\.){3}[0-9]{1,3}$")]
Local: TypeAlias = Annotated[str, Meta(pattern=r"^127\.([0-9]{1,3}\.){2}[0-9]{1,3}$")]
Unit: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
Place: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=2000)]
Serial: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,16}$")]
Rate: TypeAlias = Annotated[float, Meta(gt=0.0, le=5000.0)]  # requests per second
SetpointType: TypeAlias = Literal["coil", "u16", "f32"]


class TankDevice(Strict, tag_field="model", tag="tank", frozen=True, kw_only=True):
    """The heated tank and its PLC program (``plant.py``, ``plant_map.py``)."""

    unit: Unit = 1
    serial: Serial
    step: Duration = "200ms"
    tank: TankSpec = TankSpec()
    recipe: Annotated[tuple[Phase, ...], Meta(min_length=1, max_length=100)]


class InverterDevice(
    Strict, tag_field="model", tag="inverter", frozen=True, kw_only=True
):
    """A SunSpec inverter with a power limit (holding 100, 0.1 %)."""

    unit: Unit = 1
    serial: Serial
    peak_kw: Annotated[float, Meta(ge=1.0, le=100.0)] = 30.0
    energy_kwh: Annotated[float, Meta(ge=0.0, le=4e6)] = 0.0


class PumpsDevice(Strict, tag_field="model", tag="pumps", frozen=True, kw_only=True):
    """A sump with two pumps (``pumps.py``)."""

    unit: Unit = 1
    serial: Serial
    inflow_m3h: Annotated[float, Meta(ge=0.0, le=200.0)] = 60.0


class MeterDevice(Strict, tag_field="model", tag="meter", frozen=True, kw_only=True):
    """An energy meter: it only tells."""

    unit: Unit = 5
    serial: Serial
    base_kw: Annotated[float, Meta(ge=0.0, le=1000.0)] = 12.0


DeviceSpec: TypeAlias = TankDevice | InverterDevice | PumpsDevice | MeterDevice


class PlcSpec(Strict, frozen=True, kw_only=True):
    """A server: one address, one device a unit. It answers one request at a time."""

    name: Name
    address: Address
    local: Local
    answers_in: Duration = "2ms"
    devices: Annotated[tuple[DeviceSpec, ...], Meta(min_length=1, max_length=32)]


class PollSpec(Strict, frozen=True, kw_only=True):
    """Reads that come again and again; ``jitter`` is the most a request is late."""

    to: Name
    unit: Unit = 1
    function: Literal[1, 2, 3, 4]
    address: Place
    count: Count
    every: Duration
    offset: Duration = "0s"
    jitter: Duration = "5ms"


class SetpointSpec(Strict, frozen=True, kw_only=True):
    """A write that belongs here: the value is read, moved by ``step`` at most, written.

    ``low``, ``high``, ``step`` in the number's own unit; a coil turns over.
    """

    name: Name
    to: Name
    unit: Unit = 1
    function: Literal[5, 6, 16]
    address: Place
    type: SetpointType = "u16"
    order: Literal["ABCD", "CDAB"] = "ABCD"
    low: float = 0.0
    high: float = 1.0
    step: float = 1.0
    every: Duration
    offset: Duration = "10s"


class IdentifySpec(Strict, frozen=True, kw_only=True):
    """Reads of the device identification (43/14) and of the server id (17)."""

    to: Name
    unit: Unit = 1
    every: Duration
    offset: Duration = "30s"


class ClientSpec(Strict, frozen=True, kw_only=True):
    """A host that connects to PLCs. One that does nothing is there for the attacks."""

    name: Name
    address: Address
    local: Local
    polls: Annotated[tuple[PollSpec, ...], Meta(max_length=200)] = ()
    setpoints: Annotated[tuple[SetpointSpec, ...], Meta(max_length=50)] = ()
    identify: Annotated[tuple[IdentifySpec, ...], Meta(max_length=50)] = ()


AttackKind: TypeAlias = Literal[
    "scan-units", "scan-addresses", "scan-functions", "recon", "write", "overwrite",
    "flood", "replay", "malformed", "malformed-replies", "drift", "mitm-freeze",
    "mitm-change", "mitm-inject", "mitm-drop", "exceptions", "dangerous",
]  # fmt: skip
# What a detector must say of the attack as a whole, where the file names no ``expect``
# (families of the inspection reference, section 3.3).
EXPECTED: Final[dict[str, tuple[str, ...]]] = {
    "scan-units": ("M4",),
    "scan-addresses": ("M4",),
    "scan-functions": ("M4",),
    "recon": ("M6",),
    "write": ("M2",),
    "overwrite": ("M3",),
    "flood": ("M8",),
    "replay": ("M2",),
    "malformed": ("M10",),
    "malformed-replies": ("M10",),
    "drift": ("M3",),
    "mitm-freeze": ("M11",),
    "mitm-change": ("M11",),
    "mitm-inject": ("M10",),
    "mitm-drop": ("M9",),
    "exceptions": ("M5",),
    "dangerous": ("M7",),
}
# Attacks in the path of somebody else's requests: ``from`` is that client.
IN_THE_MIDDLE: Final = frozenset(
    {"mitm-freeze", "mitm-change", "mitm-inject", "mitm-drop", "malformed-replies"}
)
# Attacks on a declared setpoint: ``setpoint`` names it.
ON_SETPOINT: Final = frozenset({"overwrite", "replay", "drift"})
Family: TypeAlias = Annotated[str, Meta(pattern=r"^M([1-9]|1[01])$")]


class AttackSpec(
    Strict, frozen=True, kw_only=True, rename={"source": "from", "tells": "expect"}
):
    """One attack. ``from``: whose address it bears, or whose answers it alters.

    ``function``, ``address``, ``values``: what ``write`` writes, and from where on
    ``mitm-change`` adds ``values[0]`` to a register, ``exceptions`` reads.
    """

    name: Name
    kind: AttackKind
    at: Duration
    source: Name
    to: Name
    unit: Unit = 1
    lasts: Duration | None = None
    rate: Rate | None = None
    function: Annotated[int, Meta(ge=1, le=127)] | None = None
    address: Place | None = None
    values: Annotated[tuple[Place, ...], Meta(max_length=120)] = ()
    setpoint: Name | None = None
    tells: tuple[Family, ...] | None = None

    @property
    def expected(self) -> tuple[str, ...]:
        """Return the detector families that must speak of this attack."""
        return EXPECTED[self.kind] if self.tells is None else self.tells


FaultKind: TypeAlias = Literal["reboot", "reconnect"]


class NetworkFault(Strict, frozen=True, kw_only=True):
    """A PLC that restarts (silence for ``lasts``), or connections opened anew."""

    at: Duration
    kind: FaultKind
    plc: Name
    lasts: Duration = "20s"


class NetworkScenario(
    ScenarioHead, tag_field="kind", tag="network", frozen=True, kw_only=True
):
    """A plant network. ``lost``: share of segments sent again; ``split``: in two."""

    lost: Share = 0.0
    split: Share = 0.0
    plcs: Annotated[tuple[PlcSpec, ...], Meta(min_length=1, max_length=32)]
    clients: Annotated[tuple[ClientSpec, ...], Meta(min_length=1, max_length=64)]
    attacks: Annotated[tuple[AttackSpec, ...], Meta(max_length=100)] = ()
    faults: Annotated[tuple[NetworkFault, ...], Meta(max_length=100)] = ()
