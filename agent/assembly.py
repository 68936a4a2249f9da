"""Puts a flow together from a compiled policy: every stage, in one place. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.classification.context import Context
from agent.classification.ignition import Ignition
from agent.classification.stage import Classifier
from agent.decoding import Decoder
from agent.events import Events
from agent.firewall.stage import Firewall
from agent.flow import Flow, Gate, Stages
from agent.inspection import ocsf
from agent.inspection.can_errors import BusErrors
from agent.inspection.frames import UnknownIdentifier, WrongShape
from agent.inspection.identifiers import IdentifierSeen
from agent.inspection.kept import Kept
from agent.inspection.modbus import modbus_detectors
from agent.inspection.stage import Inspector
from agent.protection.protector import Protector
from agent.protection.sealer import Sealer
from policies.firewall.tables import Mode
from policies.inspection import CompiledInspection
from policies.rows import EVENT_ITEM
from protocols.can.isotp import Diagnostics
from protocols.modbus.decode import compile_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.classification.volumes import Volumes
    from agent.evidence import Evidence
    from agent.ports import Signer
    from agent.protection.keyring import KeyRing
    from agent.tally import ItemTally
    from policies.compile import Compiled
    from policies.tables import CompiledPolicy
    from protocols.modbus.values import Point
    from protocols.recipients import RecipientCard


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is."""

    device: str
    boot: bytes  # 16 random bytes
    version: str
    signer: Signer
    entropy: Callable[[int], bytes]
    keyring: KeyRing
    # Changes when this process may have got a twin: a fork, a resumed snapshot.
    lineage: Callable[[], int] = lambda: 0


def assemble(
    compiled: Compiled,
    identity: Identity,
    cards: Mapping[str, RecipientCard] | None,
    evidence: Evidence,
    *,
    closed: frozenset[str] = frozenset(),
    points: Sequence[Point] | None = None,
    clock: str = "high",
    lost: Callable[[], int] = lambda: 0,
    tally: ItemTally | None = None,
    volumes: Volumes | None = None,
    firewall: Firewall | None = None,
    held: frozenset[int] = frozenset(),
    kept: Kept | None = None,
) -> Flow:
    """Return the flow of a policy.

    ``cards``: recipients by name, None seals to nobody (`scan`). ``closed``: names of
    destinations that may get nothing now (a card has expired): what is for them is
    kept back, counted. ``points``: Modbus points with those that SunSpec discovery
    found; by default the policy's own. ``lost``: frames lost so far. ``volumes``: how
    much left so far, by default nothing. ``firewall``: judges Modbus exchanges, by
    default nobody does; ``held``: links that a proxy stands before. ``kept``: what
    inspection has from the policy before. Refused where a recipient has no card.
    """
    policy, kept = compiled.policy, kept or Kept()
    context = ocsf.Context(
        identity.device,
        compiled.buses,
        policy.digest,
        clock,
        identity.version,
        compiled.links,
        held if _is_enforced(policy) else frozenset(),
    )
    names = policy.items.name
    event_item = names.index(EVENT_ITEM) if EVENT_ITEM in names else -1
    stages = Stages(
        decoder=Decoder(
            compiled.plan,
            Diagnostics(),
            _identifiers(compiled),
            compile_points(compiled.modbus if points is None else points),
        ),
        firewall=firewall or Firewall(),
        inspector=_inspector(compiled, kept),
        events=Events(event_item, context, lost, kept.eve),
        context=Context(policy, volumes),
        ignition=Ignition(policy),
        classifier=Classifier(policy),
        gates=_gates(policy, identity.keyring, closed),
        sealer=Sealer(
            policy, identity.signer, identity.entropy, identity.boot, cards,
            identity.lineage,
        ),
        evidence=evidence,
    )  # fmt: skip
    return Flow(policy, stages, tally)


def _gates(
    policy: CompiledPolicy, keyring: KeyRing, closed: frozenset[str]
) -> tuple[Gate, ...]:
    return tuple(
        Gate(
            number,
            destination,
            Protector(policy, number, keyring),
            destination.name not in closed,
        )
        for number, destination in enumerate(policy.destinations)
    )


def _is_enforced(policy: CompiledPolicy) -> bool:
    """Tell whether a proxy holds back what this policy refuses."""
    return policy.firewall is None or policy.firewall.mode is not Mode.DRY_RUN


def _inspector(compiled: Compiled, kept: Kept) -> Inspector:
    """Return the detectors in the order in which they look; new ones go here."""
    watched = frozenset(
        bus for bus, databases in compiled.databases.items() if databases
    )
    messages = compiled.plan.messages
    told = compiled.policy.inspection or CompiledInspection()
    return Inspector(
        [
            UnknownIdentifier(watched),
            WrongShape(messages.length, messages.kind, watched),
            BusErrors(),
            IdentifierSeen(),
            *modbus_detectors(compiled.policy.firewall, told, kept.learned),
        ],
        off=told.off,
        repeat_ns=told.repeat_ns,
        counts=kept.counts,
    )


def _identifiers(compiled: Compiled) -> dict[tuple[int, str], int]:
    """Return (bus, source as ``protocols.can.uds`` names it) -> item row."""
    found = {}
    for one in compiled.diagnostics:
        if one.did is not None:
            source = f"uds:{one.did:04X}"
        else:
            assert one.obd is not None
            source = f"obd:{one.obd[0]:02X}.{one.obd[1]:02X}"
        found[one.bus, source] = one.item
    return found
