"""From files to the tables of ``policies/tables.py``: everything decided once.

Steps: (1) bindings to rows of the item table; (2) catalogue: category, label, role and
group of every row; (3) each rule for each of its destinations: which items it could
match, its conditions, transforms, action, and the label of its output; (4) per
destination the order of rules per item, cut off behind the first rule without
conditions, because nothing behind it can ever match.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.bindings import bind
from policies.catalogue import CatalogueSet
from policies.chains import chain_of
from policies.checks import SUITES, check_policy
from policies.consents import compiled_consents, ignition_tests
from policies.firewall.compile import compile_firewall
from policies.inspection import compile_inspection
from policies.items import item_table
from policies.matching import Matcher
from policies.outcome import Outcomes
from policies.quantities import NS, duration_ns
from policies.raising.combinations import Combiner, read_combinations
from policies.raising.precision import Precisions
from policies.raising.volumes import read_volumes, with_volumes
from policies.rules import RuleReader
from policies.tables import CompiledDestination, CompiledPolicy, CompiledRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from policies.bindings import DiagnosticBinding
    from policies.model import Bindings, Catalogue, Policy
    from policies.parse import Document
    from policies.raising.precision import Grain
    from policies.raising.volumes import VolumeRule
    from policies.rules import RuleForm
    from policies.tables import ItemTable
    from protocols.can.database import Database
    from protocols.can.plan import DecodePlan, SignalBinding
    from protocols.frames import I16
    from protocols.modbus.sunspec import ModelDefinition, SunSpecBinding
    from protocols.modbus.values import Point

DEVICE: Final = "device"  # the destination of ``keep``: this device, and nobody else
RETENTION_DEFAULT_NS: Final = 30 * 86_400 * NS


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy with everything that reads, decodes and decides for it."""

    policy: CompiledPolicy
    document: Document[Policy]
    catalogues: CatalogueSet
    buses: tuple[str, ...]  # what FrameBatch.bus indexes
    links: tuple[str, ...]  # what TransactionBatch.link indexes
    can: tuple[SignalBinding, ...]
    plan: DecodePlan  # of ``can`` and ``databases``
    databases: dict[int, tuple[Database, ...]]  # by bus
    diagnostics: tuple[DiagnosticBinding, ...]
    modbus: tuple[Point, ...]
    sunspec: tuple[SunSpecBinding, ...]
    forms: tuple[RuleForm, ...]  # beside ``policy.rules``: which file rule each is of
    combiner: Combiner
    volumes: tuple[VolumeRule, ...]  # beside ``policy.volumes``
    grains: tuple[Grain, ...]  # [items] how fine each is bound
    precisions: Precisions


def compile_policy(
    policy: Document[Policy],
    catalogues: Sequence[Document[Catalogue]],
    bindings: Sequence[Document[Bindings]],
    databases: Mapping[str, Database],
    buses: tuple[str, ...] = (),
    links: tuple[str, ...] = (),
    models: Mapping[int, ModelDefinition] | None = None,
) -> Compiled:
    """Compile a policy against the catalogues it names and a gateway's bindings.

    ``databases``: by the name that bindings give them; ``models``: SunSpec definitions.
    PolicyError (file, line, path, reason) for the first thing that does not fit. What
    regulation refuses is another question: ``policies.lint.linting``.
    """
    known = CatalogueSet(catalogues)
    check_policy(policy, known)
    bound = bind(bindings, databases, buses, links, models or {})
    precisions = Precisions(known)
    matcher = Matcher([row.name for row in bound.rows])
    items, grains = item_table(
        bound.rows, known, policy, precisions, matcher, buses, links
    )
    outcomes = Outcomes(known, items, precisions, grains)
    reader = RuleReader(policy, known, items, outcomes, matcher)
    combiner = Combiner(policy, items, read_combinations(policy, known), matcher)
    volumes = read_volumes(policy, known)
    forms = reader.read([*policy.model.destinations])
    forms = combiner.applied(with_volumes(policy, forms, volumes, matcher))
    firewall = compile_firewall(policy, items.name, bound.modbus, links)
    digest = _digest([d.digest for d in (*catalogues, *bindings)])
    return Compiled(
        policy=dataclasses.replace(
            _tables(policy, items, forms, volumes, digest),
            firewall=firewall,
            inspection=compile_inspection(policy),
        ),
        document=policy,
        catalogues=known,
        buses=buses,
        links=links,
        can=bound.can,
        plan=bound.plan,
        databases=bound.databases,
        diagnostics=bound.diagnostics,
        modbus=bound.modbus,
        sunspec=bound.sunspec,
        forms=forms,
        combiner=combiner,
        volumes=volumes,
        grains=grains,
        precisions=precisions,
    )


def _tables(
    document: Document[Policy],
    items: ItemTable,
    forms: Sequence[RuleForm],
    volumes: Sequence[VolumeRule],
    digest: bytes,
) -> CompiledPolicy:
    """Return what the data path reads. ``digest``: of catalogues and bindings."""
    policy = document.model
    names = [*policy.destinations]
    if not names or any(form.destination == len(names) for form in forms):
        names.append(DEVICE)
    return CompiledPolicy(
        name=policy.name,
        version=policy.version,
        digest=document.digest,
        catalogue_digest=digest,
        items=items,
        destinations=tuple(
            _destination(policy, name, chain_of(forms, number, len(items)))
            for number, name in enumerate(names)
        ),
        rules=tuple(_rule(form) for form in forms),
        custodian=policy.custodian,
        retention_ns={
            name: duration_ns(text)
            for name, text in policy.retention.items()
            if name != "default"
        },
        retention_default_ns=_default_retention(policy),
        telemetry_ns=duration_ns(policy.telemetry.interval),
        checkpoint_ns=duration_ns(policy.telemetry.checkpoint),
        consents=compiled_consents(document),
        ignition=ignition_tests(document, items),
        volumes=tuple(one.table for one in volumes),
    )


def _digest(parts: Sequence[bytes]) -> bytes:
    """Return one digest of many of 32 bytes each; their number is part of it."""
    return hashlib.sha256(len(parts).to_bytes(8, "big") + b"".join(parts)).digest()


def _default_retention(policy: Policy) -> int:
    text = policy.retention.get("default")
    return RETENTION_DEFAULT_NS if text is None else duration_ns(text)


def _rule(form: RuleForm) -> CompiledRule:
    return CompiledRule(
        name=form.name,
        purpose=form.purpose,
        destination=form.destination,
        action=form.action,
        transforms=form.transforms,
        conditions=form.conditions,
        label_out=form.label_out,
        category_out=form.category_out,
        volumes=form.volumes,
    )


def _destination(policy: Policy, name: str, chain: I16) -> CompiledDestination:
    given = policy.destinations.get(name)
    if given is None:
        recipients = (policy.custodian,) if policy.custodian else ()
        return CompiledDestination(
            DEVICE, policy.home_region, recipients, SUITES[0], "receipt", chain
        )
    return CompiledDestination(
        name,
        given.region,
        tuple(given.recipients),
        given.suite,
        given.confirm,
        chain,
    )


def unclassified(items: ItemTable) -> tuple[str, ...]:
    """Return the names of bound items that are in no catalogue: they stay."""
    return tuple(
        name
        for name, known in zip(items.name, items.classified.tolist(), strict=True)
        if not known
    )
