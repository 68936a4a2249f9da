"""`sluicegate run`: opens everything that the daemon needs, then runs it.

No typer and no rich in here: the daemon loads neither.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import os
import secrets
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import VERSION
from agent.adapters.clock import SystemClock
from agent.adapters.configuration import read_config
from agent.adapters.enrolment import enrolled
from agent.adapters.handed import Handed
from agent.adapters.identities import master_of, signer_of
from agent.adapters.journal import Journal
from agent.adapters.lineage import Lineage
from agent.adapters.named_store import open_named
from agent.adapters.opening import open_bus
from agent.adapters.policy.loader import (
    Paths,
    accept,
    pinned_root,
)
from agent.adapters.room import Reserve, opened_within
from agent.adapters.sqlite_open import StoreOptions
from agent.adapters.starting import Hangups, Start
from agent.adapters.store_thread import StoreThread
from agent.adapters.systemd import Notifier
from agent.assembly import Identity
from agent.commands.parts import Opened, World, feed_of, parts_of
from agent.evidence import Evidence
from agent.protection.keyring import KeyRing
from agent.runtime import Agent, Parts

if TYPE_CHECKING:
    from agent.adapters.sqlite_store import SqliteStore
    from agent.control import Accepted

RUNNING: Final = b"running"
STOPPED: Final = b"stopped"


def main(arguments: list[str], world: World | None = None) -> int:
    """Run the daemon, in this world where no other is given; return its exit code."""
    parser = argparse.ArgumentParser(prog="sluicegate run")
    parser.add_argument(
        "--config", "-c", default="/etc/sluicegate/sluicegate.toml", type=Path
    )
    config_file: Path = parser.parse_args(arguments).config
    os.umask(0o077)
    hangups = Hangups()
    signal.signal(signal.SIGHUP, hangups.note)  # a reload before we are up is no end
    faulthandler.enable(2)  # who is ended by the watchdog says where it was: no values
    notifier, handed = Notifier(), Handed.by_systemd()
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s"
    )
    paths = enrolled(Paths(str(config_file), read_config(config_file)))
    root = pinned_root(paths)
    first = None if root else accept(paths)  # with a root, the store is asked first
    paths.make_state_dir()
    here = world or World(SystemClock(), open_bus, on_signals, handed)
    asyncio.run(serve(paths, first, here, notifier, hangups))
    return 0


async def serve(
    paths: Paths,
    accepted: Accepted | None,
    world: World,
    notifier: Notifier | None = None,
    hangups: Hangups | None = None,
) -> None:
    """Open everything, run until asked to stop, close everything.

    ``accepted``: the policy that decides; None where pushed ones may, so that the store
    must be asked. ``hangups``: reloads asked for so far.
    """
    notifier = notifier or Notifier({})
    config, clock = paths.config, world.clock
    folder = Path(paths.of(config.state_dir))
    boot = secrets.token_bytes(16)
    signer = signer_of(paths)
    evidence = Evidence(config.device, boot, VERSION)
    journal = Journal(evidence, clock)
    options = StoreOptions(
        config.spool.max_bytes,
        config.retained.max_bytes,
        journal.witness,
        journal.broken,
    )
    identity = Identity(
        config.device, boot, VERSION, signer, secrets.token_bytes,
        KeyRing(master_of(paths), secrets.token_bytes), Lineage(),
    )  # fmt: skip
    with StoreThread().working() as thread:
        start = Start(notifier, thread)
        store = await start.step(
            "opens the store", _store, folder, options, config.device
        )
        try:
            journal.attach(store)
            opened = Opened(identity, evidence, journal, store, thread, notifier)
            restored = None
            if accepted is None:
                from agent.adapters.policy.floors import newest_entries
                from agent.adapters.policy.shelf import restore

                root = pinned_root(paths)
                restored = await start.step(
                    "reads the policy", restore, paths, store, root,
                    newest_entries(store),
                )  # fmt: skip
                accepted = restored.accepted
            parts = parts_of(paths, accepted, opened, world)
            if restored is not None:
                parts = replace(parts, feed=feed_of(paths, parts.desk, restored))
            await _booted(parts, store, thread)
            agent = Agent(parts)
            world.started(agent)
            if hangups is not None and hangups.asked:
                agent.reload()
            await agent.run()
            await thread.run(store.keep_document, "run", STOPPED)
        finally:
            await thread.run(store.close)


def _store(folder: Path, options: StoreOptions, device: str) -> SqliteStore:
    """Return the open store; on a full disk, with what the reserve gives."""
    path = folder / "store.db"
    return opened_within(lambda: open_named(path, options, device), Reserve(folder))


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


def on_signals(agent: Agent) -> None:
    """Let signals stop the agent, or make it read its policy again."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    loop.add_signal_handler(signal.SIGHUP, agent.reload)
