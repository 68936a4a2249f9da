"""`sluicegate run`: opens everything that the daemon needs, then runs it.

No typer and no rich in here: the daemon loads neither.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import secrets
import signal
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace as renewed

from agent import VERSION
from agent.adapters.clock import ClockConfidence, SystemClock
from agent.adapters.consenting import Consenting
from agent.adapters.counting import volumes_of
from agent.adapters.device_key import load_or_create
from agent.adapters.eve_file import EveFile, EveLog
from agent.adapters.files import read_limited, read_secret, write_durably
from agent.adapters.journal import Journal
from agent.adapters.keeper import Keeper
from agent.adapters.modbus.between import Between
from agent.adapters.mqtt import MqttOptions
from agent.adapters.opening import open_bus, open_link, open_tap, proxy_link
from agent.adapters.outside import Now, Outside
from agent.adapters.policy.inbox import MESSAGE_BYTES_MAX, PolicyInbox
from agent.adapters.policy.loader import (
    Paths,
    accept,
    accept_again,
    accept_signed,
    pinned_root,
)
from agent.adapters.publisher import Publisher
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.adapters.steering import Desk
from agent.adapters.store_thread import StoreThread
from agent.adapters.systemd import Notifier
from agent.adapters.uplink import Uplink
from agent.adapters.watch import ClockWatch
from agent.assembly import Identity
from agent.config import parse_config
from agent.errors import BadInput
from agent.evidence import Evidence
from agent.inspection.eve import EveLines
from agent.limits import CONFIG_BYTES_MAX, RETAINED_BYTES_DEFAULT
from agent.protection.keyring import KeyRing
from agent.runtime import Agent, Parts
from agent.sources.losses import Losses
from agent.steps import Speaker
from agent.telemetry.state import Autonomy
from agent.uplink.authority import Authority
from agent.uplink.backoff import Backoff
from agent.uplink.scheduler import Scheduler
from protocols.receipts import RECEIPT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.policy.feed import PolicyFeed
    from agent.adapters.policy.shelf import Restored
    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.watch import WallClock
    from agent.config import Can
    from agent.control import Accepted
    from agent.ports import FrameSource

MASTER_BYTES: Final = 32
RUNNING: Final = b"running"
STOPPED: Final = b"stopped"


@dataclass(frozen=True, slots=True)
class World:
    """What a test may want otherwise: time, buses, and who is told of the start."""

    clock: WallClock
    open_bus: Callable[[Can, int], FrameSource]
    started: Callable[[Agent], None]


@dataclass(frozen=True, slots=True)
class Opened:
    """What is open once the store is."""

    identity: Identity
    evidence: Evidence
    journal: Journal
    store: SqliteStore
    thread: StoreThread


def main(arguments: list[str], world: World | None = None) -> int:
    """Run the daemon, in this world where no other is given; return its exit code."""
    parser = argparse.ArgumentParser(prog="sluicegate run")
    parser.add_argument(
        "--config", "-c", default="/etc/sluicegate/sluicegate.toml", type=Path
    )
    config_file: Path = parser.parse_args(arguments).config
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload before we are up is no end
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s"
    )
    text = read_limited(config_file, CONFIG_BYTES_MAX, "name it with --config")
    paths = Paths(str(config_file), parse_config(text, str(config_file)))
    root = pinned_root(paths)
    first = None if root else accept(paths)  # with a root, the store is asked first
    folder = Path(paths.of(paths.config.state_dir))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or "cannot be made"
        raise BadInput(str(config_file), "state_dir", reason) from None
    here = world or World(SystemClock(), open_bus, on_signals)
    asyncio.run(serve(paths, first, here))
    return 0


def authority(paths: Paths, accepted: Accepted) -> Authority:
    """Return whose receipts settle what under this policy."""
    return Authority(
        paths.config.device,
        accepted.compiled.policy,
        accepted.compiled.document.model.home_region,
        {name: card.receipt_key() for name, card in accepted.cards.items()},
    )


async def serve(paths: Paths, accepted: Accepted | None, world: World) -> None:
    """Open everything, run until asked to stop, close everything.

    ``accepted``: the policy that decides; None where pushed ones may, so that the store
    must be asked.
    """
    config, clock = paths.config, world.clock
    folder = Path(paths.of(config.state_dir))
    boot = secrets.token_bytes(16)
    signer = load_or_create(folder / "device.key", config.device)
    evidence = Evidence(config.device, boot, VERSION)
    journal = Journal(evidence, clock)
    options = StoreOptions(
        config.spool.max_bytes,
        RETAINED_BYTES_DEFAULT,
        journal.witness,
        journal.broken,
    )
    identity = Identity(
        config.device, boot, VERSION, signer, secrets.token_bytes,
        KeyRing(_master(folder / "pseudonym.key"), secrets.token_bytes),
    )  # fmt: skip
    store = open_store(folder / "store.db", options)
    with StoreThread().working() as thread:
        try:
            journal.attach(store)
            opened = Opened(identity, evidence, journal, store, thread)
            restored = None
            if accepted is None:
                from agent.adapters.policy.floors import newest_entries
                from agent.adapters.policy.shelf import restore

                root = pinned_root(paths)
                restored = await thread.run(
                    restore, paths, store, root, newest_entries(store)
                )
                accepted = restored.accepted
            parts = _parts(paths, accepted, opened, world)
            if restored is not None:
                parts = replace(parts, feed=_feed(paths, parts.desk, restored))
            await _booted(parts, store, thread)
            agent = Agent(parts)
            world.started(agent)
            await agent.run()
            await thread.run(store.keep_document, "run", STOPPED)
        finally:
            await thread.run(store.close)


def _parts(paths: Paths, accepted: Accepted, opened: Opened, world: World) -> Parts:
    config, names = paths.config, (paths.config.fleet, paths.config.device)
    store, clock, thread = opened.store, world.clock, opened.thread
    identity, evidence = opened.identity, opened.evidence
    policy = accepted.compiled.policy
    autonomy, losses, now = Autonomy(), Losses(), Now(accepted)
    asked: list[Outside] = []  # the publisher asks it, and it needs the uplink
    publisher = Publisher(
        names,
        identity.signer,
        clock,
        lambda number, online: asked[0].state(number, online),  # noqa: PLW0108  # the list fills later
        policy.checkpoint_ns,
    )
    uplink = _uplink(paths, accepted, opened, publisher, clock)
    keeper = Keeper(
        store, thread, opened.journal, evidence, identity.signer, identity.boot, clock,
        autonomy, uplink.nudge,
    )  # fmt: skip
    between = _between(paths, clock)
    asked.append(
        Outside(identity, clock, keeper, uplink, losses, autonomy, now, between)
    )

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
        load=partial(accept_again, paths),
        adopt=adopt,
        eve=_eve(paths),
    )
    socket = paths.of(config.metrics.socket)
    return Parts(
        config=renewed(config, metrics=renewed(config.metrics, socket=socket)),
        desk=desk,
        consenting=Consenting(
            Path(paths.of(config.state_dir)), keeper, evidence, clock, now
        ),
        notifier=Notifier(),
        outside=asked[0],
        open_bus=lambda number: world.open_bus(config.can[number], number),
        open_links=lambda taken: [
            open_link(link, number, taken.compiled, clock)
            for number, link in enumerate(config.modbus)
            if link.mode == "poll"
        ],
    )


def _eve(paths: Paths) -> EveLog | None:
    """Return the owner's own log, open; BadInput where its place is no place."""
    told = paths.config.eve
    if told is None:
        return None
    file = EveFile(Path(paths.of(told.file)), told.max_bytes)
    return EveLog(file, EveLines(told.modbus))


def _between(paths: Paths, clock: WallClock) -> Between:
    """Return the proxied links: not open yet, and nobody decides there."""
    links = [
        proxy_link(link, number, paths.of)
        for number, link in enumerate(paths.config.modbus)
        if link.mode == "proxy"
    ]
    between = Between(links, clock, paths.config.modbus)
    between.taps = [
        open_tap(tap, paths.config.modbus, between.peers, clock)
        for tap in paths.config.tap
    ]
    return between


def _feed(paths: Paths, desk: Desk, restored: Restored) -> PolicyFeed:
    """Return who takes pushed policies; the uplink's mail is for it.

    Imported here: a daemon without [trust] neither loads nor waits for it.
    """
    from agent.adapters.policy.feed import PolicyFeed
    from agent.adapters.policy.recorder import PolicyRecorder

    desk.now.confirmed = restored.confirmed
    inbox = PolicyInbox(paths.config.fleet, paths.config.device)
    desk.uplink.mail = inbox
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
    return Uplink(
        (paths.config.fleet, paths.config.device),
        mqtt_options(paths),
        opened.store,
        opened.thread,
        Scheduler(paths.config.spool.live_share),
        Backoff(random.random),  # spreads reconnects, no secret
        publisher,
        clock,
        authority(paths, accepted),
        opened.journal,
    )


async def _booted(parts: Parts, store: SqliteStore, thread: StoreThread) -> None:
    """Record the boot, and how the last run ended; count it."""
    desk = parts.desk
    desk.watch.look(desk.now)
    now_ns = desk.clock.now_ns()
    before = await thread.run(store.document, "run")
    boots = await thread.run(store.document, "boots")
    count = _whole(boots) + 1
    held = store.totals().held if before == RUNNING else 0
    await thread.run(store.keep_document, "boots", str(count).encode())
    await thread.run(store.keep_document, "run", RUNNING)
    clean = {None: "first start", STOPPED: "clean", RUNNING: "killed"}
    ended = clean.get(before, "unknown")
    entries = [
        desk.evidence.boot(
            now_ns,
            desk.identity.signer.public_key(),
            desk.now.clock_level,
            {"ended": ended, "held": held, "boots": count},
        )
    ]
    if held:
        entries.append(desk.evidence.loss(now_ns, "held at crash", held))
    if desk.keeper.firewall_lost:
        entries.append(desk.evidence.loss(now_ns, "firewall counts", 1, "damaged"))
    await desk.keeper.testify(*entries)
    desk.publisher.boots = count


def _whole(document: bytes | None) -> int:
    """Return the number in a document; 0 where damage has changed it."""
    return int(document) if document is not None and document.isdigit() else 0


def _master(file: Path) -> bytes:
    """Return the master key of the pseudonyms, made at the first start."""
    if not file.exists():
        write_durably(file, secrets.token_bytes(MASTER_BYTES))
    master = read_secret(file, MASTER_BYTES)
    if len(master) != MASTER_BYTES:
        raise BadInput(str(file), "", f"has not {MASTER_BYTES} bytes", "restore it")
    return master


def mqtt_options(paths: Paths, suffix: str = "") -> MqttOptions:
    """Return how to reach the broker; ``suffix`` makes another client id."""
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


def on_signals(agent: Agent) -> None:
    """Let signals stop the agent, or make it read its policy again."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    loop.add_signal_handler(signal.SIGHUP, agent.reload)
