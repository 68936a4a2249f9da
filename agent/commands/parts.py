"""Wires what the daemon has opened: names become objects, once, in order.

Everything that ``agent/runtime.py`` runs is made here; nothing here awaits.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace as renewed

from agent.adapters.access import NOT_ENROLLED, EnrolledAccess, FileAccess
from agent.adapters.buses import Buses
from agent.adapters.clock import ClockConfidence
from agent.adapters.consenting import Consenting
from agent.adapters.counting import volumes_of
from agent.adapters.enrolment import enrolled, enrolments_of
from agent.adapters.eve_file import EveFile, EveLog
from agent.adapters.files import read_secret
from agent.adapters.handed import Handed
from agent.adapters.keeper import Keeper
from agent.adapters.mails import Mails
from agent.adapters.modbus.between import Between
from agent.adapters.mqtt import MqttOptions, check
from agent.adapters.open_files import allowed
from agent.adapters.opening import open_link, open_tap, proxy_link
from agent.adapters.outside import Now, Outside
from agent.adapters.policy.inbox import MESSAGE_BYTES_MAX, PolicyInbox
from agent.adapters.policy.loader import accept_again, accept_signed
from agent.adapters.pruning import Pruner
from agent.adapters.publisher import Publisher
from agent.adapters.renewing import Renewing
from agent.adapters.room import Reserve, Room
from agent.adapters.steering import Desk
from agent.adapters.uplink import Uplink
from agent.adapters.watch import ClockWatch
from agent.descriptors import fitted, wanted
from agent.errors import Unavailable
from agent.inspection.eve import EveLines
from agent.runtime import Agent, Parts
from agent.sources.losses import Losses
from agent.steps import Speaker
from agent.telemetry.state import Autonomy
from agent.uplink.authority import Authority
from agent.uplink.backoff import Backoff
from agent.uplink.scheduler import Scheduler
from protocols.receipts import RECEIPT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.adapters.access import Access
    from agent.adapters.journal import Journal
    from agent.adapters.modbus.poll import ModbusPoller
    from agent.adapters.policy.feed import PolicyFeed
    from agent.adapters.policy.loader import Paths
    from agent.adapters.policy.shelf import Restored
    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.store_thread import StoreThread
    from agent.adapters.systemd import Notifier
    from agent.adapters.watch import WallClock
    from agent.assembly import Identity
    from agent.config import Can, Config
    from agent.control import Accepted
    from agent.evidence import Evidence
    from agent.ports import FrameSource

log = logging.getLogger("sluicegate.start")


@dataclass(frozen=True, slots=True)
class World:
    """What a test may want otherwise: time, buses, and who is told of the start.

    ``handed``: listening sockets that whoever started us has opened.
    """

    clock: WallClock
    open_bus: Callable[[Can, int], FrameSource]
    started: Callable[[Agent], None]
    handed: Handed = field(default_factory=Handed)


@dataclass(frozen=True, slots=True)
class Opened:
    """What is open once the store is."""

    identity: Identity
    evidence: Evidence
    journal: Journal
    store: SqliteStore
    thread: StoreThread
    notifier: Notifier


def authority(paths: Paths, accepted: Accepted) -> Authority:
    """Return whose receipts settle what under this policy."""
    return Authority(
        paths.config.device,
        accepted.compiled.policy,
        accepted.compiled.document.model.home_region,
        {name: card.receipt_key() for name, card in accepted.cards.items()},
    )


def parts_of(paths: Paths, accepted: Accepted, opened: Opened, world: World) -> Parts:
    """Return what the runtime runs; the policy ``accepted`` decides first."""
    config, few = fitted(paths.config, allowed(wanted(paths.config)))
    paths, names = replace(paths, config=config), (config.fleet, config.device)
    store, clock, thread = opened.store, world.clock, opened.thread
    identity, evidence = opened.identity, opened.evidence
    autonomy, losses, now = Autonomy(), Losses(), Now(accepted)
    now.troubles |= {"open files": few} if few else {}
    asked: list[Outside] = []  # the publisher asks it, and it needs the uplink
    publisher = Publisher(
        names,
        identity.signer,
        clock,
        lambda number, online: asked[0].state(number, online),  # noqa: PLW0108  # the list fills later
        accepted.compiled.policy.checkpoint_ns,
    )
    uplink = _uplink(paths, accepted, opened, publisher, clock)
    keeper = Keeper(
        store, thread, opened.journal, evidence, identity.signer, identity.boot, clock,
        autonomy, uplink.nudge, _room(paths, store), _pruner(config, opened),
    )  # fmt: skip
    between = _between(paths, world)
    now.troubles |= dict(_dismissed(world.handed))
    buses = _buses(config, world, losses, now)
    asked.append(Outside(
        identity, clock, keeper, uplink, losses, autonomy, now, between, buses,
        config.source_names(),
    ))  # fmt: skip

    def adopt(taken: Accepted) -> None:
        uplink.authority = authority(paths, taken)
        publisher.checkpoint_ns = taken.compiled.policy.checkpoint_ns

    desk = Desk(
        now=now,
        identity=identity,
        evidence=evidence,
        clock=clock,
        watch=ClockWatch(clock, ClockConfidence(store.clock_floor_ns), store),
        keeper=keeper,
        uplink=uplink,
        publisher=publisher,
        losses=losses,
        volumes=volumes_of(store),
        between=between,
        buses=buses,
        load=partial(accept_again, paths),
        adopt=adopt,
        eve=_eve(paths),
    )
    socket = paths.of(config.metrics.socket)
    return Parts(
        config=renewed(config, metrics=renewed(config.metrics, socket=socket)),
        desk=desk,
        consenting=_consenting(paths, desk),
        notifier=opened.notifier,
        outside=asked[0],
        open_links=partial(_pollers, config, clock),
        renewing=_renewing(paths, desk),
    )


def _pollers(config: Config, clock: WallClock, taken: Accepted) -> list[ModbusPoller]:
    """Return a poller for each link that we ask things ourselves."""
    return [
        open_link(link, number, taken.compiled, clock)
        for number, link in enumerate(config.modbus)
        if link.mode == "poll"
    ]


def _buses(config: Config, world: World, losses: Losses, now: Now) -> Buses:
    """Return the CAN buses: nothing is open yet."""

    def opened(number: int) -> FrameSource:
        return world.open_bus(config.can[number], number)

    return Buses(config.can, opened, losses, now.troubles, world.clock)


def _consenting(paths: Paths, desk: Desk) -> Consenting:
    """Return who follows the file of consents."""
    state = Path(paths.of(paths.config.state_dir))
    return Consenting(state, desk.keeper, desk.evidence, desk.clock, desk.now)


def _room(paths: Paths, store: SqliteStore) -> Room:
    """Return who holds spool and retained data within what the disk has."""
    configured = (paths.config.spool.max_bytes, paths.config.retained.max_bytes)
    return Room(store, configured, Reserve(store.folder))


def _pruner(config: Config, opened: Opened) -> Pruner:
    """Return who deletes what of the evidence log is over its retention."""
    return Pruner(opened.store, opened.journal, config.evidence.keep_days)


def _eve(paths: Paths) -> EveLog | None:
    """Return the owner's own log, open; BadInput where its place is no place."""
    told = paths.config.eve
    if told is None:
        return None
    file = EveFile(Path(paths.of(told.file)), told.max_bytes)
    return EveLog(file, EveLines(told.modbus))


def _between(paths: Paths, world: World) -> Between:
    """Return the proxied links: not open yet, and nobody decides there."""
    links = [
        proxy_link(link, number, paths.of)
        for number, link in enumerate(paths.config.modbus)
        if link.mode == "proxy"
    ]
    taken = [world.handed.take((one.listen_host, one.listen_port)) for one in links]
    links = [
        replace(link, handed=sock) for link, sock in zip(links, taken, strict=True)
    ]
    between = Between(links, world.clock, paths.config.modbus)
    between.taps = [
        open_tap(tap, paths.config.modbus, between.peers, world.clock)
        for tap in paths.config.tap
    ]
    return between


def _dismissed(handed: Handed) -> Iterator[tuple[str, str]]:
    """Yield, for the status, what was handed over and is of no use; log it once."""
    for what, why in handed.dismiss():
        log.warning("%s %s", what, why)
        yield what, why


def feed_of(paths: Paths, desk: Desk, restored: Restored) -> PolicyFeed:
    """Return who takes pushed policies; the uplink's mail is for it.

    Imported here: a daemon without [trust] neither loads nor waits for it.
    """
    from agent.adapters.policy.feed import PolicyFeed
    from agent.adapters.policy.recorder import PolicyRecorder

    desk.now.confirmed = restored.confirmed
    inbox = PolicyInbox(paths.config.fleet, paths.config.device)
    before = desk.uplink.mail
    desk.uplink.mail = inbox if before is None else Mails(before, inbox)
    identity, groups = desk.identity, tuple(paths.config.trust.groups)
    speaker = Speaker(identity.device, identity.boot, groups, identity.signer.sign)
    recorder = PolicyRecorder(desk, speaker, restored.standing)
    load = partial(accept_signed, paths)
    return PolicyFeed(desk, inbox, recorder, restored, groups, load)


def _uplink(
    paths: Paths,
    accepted: Accepted,
    opened: Opened,
    publisher: Publisher,
    clock: WallClock,
) -> Uplink:
    uplink = Uplink(
        (paths.config.fleet, paths.config.device),
        base_options(paths),
        opened.store,
        opened.thread,
        Scheduler(paths.config.spool.live_share),
        Backoff(random.random),  # spreads reconnects, no secret
        publisher,
        clock,
        authority(paths, accepted),
        opened.journal,
    )
    uplink.access = access_of(paths)
    return uplink


def _renewing(paths: Paths, desk: Desk) -> Renewing:
    """Return who keeps the certificate good; answers to its requests are its mail."""
    config, access = paths.config, desk.uplink.access
    assert access is not None  # made with the uplink
    mine = enrolments_of(paths) if config.mqtt.enrolled else None
    renewing = Renewing((config.fleet, config.device), desk, access, mine)
    if mine is not None:
        desk.uplink.mail = renewing
    return renewing


def access_of(paths: Paths) -> Access:
    """Return who says how the broker is reached; BadInput where named files are bad."""
    options = base_options(paths)
    if paths.config.mqtt.enrolled:
        return EnrolledAccess(options, enrolments_of(paths))
    check(options)
    return FileAccess(options)


def mqtt_options(paths: Paths, suffix: str = "") -> MqttOptions:
    """Return how to reach the broker now; Unavailable where we are not enrolled yet."""
    found = enrolled(paths)
    if found.config.mqtt.enrolled and not found.config.mqtt.ca_file:
        raise Unavailable("mqtt", NOT_ENROLLED)
    return base_options(found, suffix)


def base_options(paths: Paths, suffix: str = "") -> MqttOptions:
    """Return what the configuration says; ``suffix`` makes another client id."""
    mqtt, config = paths.config.mqtt, paths.config
    password = ""
    if mqtt.password_file:
        secret = read_secret(Path(paths.of(mqtt.password_file)), 4096)
        password = secret.decode("utf-8", "strict").rstrip("\n")
    return MqttOptions(
        host=mqtt.host,
        port=mqtt.port,
        client_id=f"sluicegate-{config.fleet}-{config.device}{suffix}",
        ca_file=paths.of(mqtt.ca_file),
        cert_file=paths.of(mqtt.cert_file),
        key_file=paths.of(mqtt.key_file),
        username=mqtt.username,
        password=password,
        keepalive_s=mqtt.keepalive_s,
        allow_plaintext=mqtt.allow_plaintext,
        message_bytes_max=MESSAGE_BYTES_MAX if config.trust.root else RECEIPT_BYTES_MAX,
    )
