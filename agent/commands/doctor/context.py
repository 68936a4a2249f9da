"""What several checks look at, fetched once: files, policy, store, agent, broker.

Every property raises what fetching it raises; a check that uses one names the check
that reports so (``Check.needs``).
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.cards import load_cards
from agent.adapters.configuration import read_config
from agent.adapters.enrolment import enrolled
from agent.adapters.mqtt import connect
from agent.adapters.policy.inbox import PolicyInbox
from agent.adapters.policy.loader import Paths, load_local, pinned_root
from agent.adapters.policy.shelf import restore
from agent.adapters.sqlite_check import StoredDocuments, read_state
from agent.adapters.sqlite_connection import connect as open_database
from agent.adapters.status_client import fetch_page, state_of
from agent.commands.doctor.pem import Handshake, shake_hands
from agent.commands.parts import mqtt_options
from agent.errors import Refused, Unavailable
from protocols.topics import down_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.adapters.policy.shelf import Restored
    from agent.commands.doctor.host import Host
    from agent.store.accounting import State
    from policies.files import Loaded
    from policies.tables import CompiledPolicy
    from protocols.recipients import RecipientCard

CLIENT_SUFFIX: Final = "-doctor"  # another client id: the agent keeps its connection


@dataclass(frozen=True, slots=True)
class User:
    """Who looks. ``stepped_down``: root has become the user that the agent runs as."""

    name: str
    group: str
    stepped_down: bool = False

    @classmethod
    def current(cls, *, stepped_down: bool = False) -> User:
        """Return who this process is."""
        return cls(user_name(os.geteuid()), group_name(os.getegid()), stepped_down)

    @property
    def owner(self) -> str:
        """Return ``user:group``, as chown takes it."""
        return f"{self.name}:{self.group}"


def user_name(number: int) -> str:
    """Return a user's name; the number where it has none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def group_name(number: int) -> str:
    """Return a group's name; the number where it has none."""
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says of itself."""

    state: State
    oldest_ns: int  # of what waits; 0: nothing does
    first: int  # position of the first entry of evidence that is here
    first_entry: bytes  # b"": there is none


@dataclass(frozen=True, slots=True)
class Broker:
    """What a connection to the broker told."""

    packet_bytes_max: int
    denied: Mapping[str, str]  # topic -> why


class Context:
    """One examination."""

    def __init__(self, config_file: Path, host: Host, user: User) -> None:
        """Look at nothing yet."""
        self.config_file = config_file
        self.host = host
        self.user = user

    # --- files ----------------------------------------------------------------------

    @cached_property
    def paths(self) -> Paths:
        """The configuration, with what an enrolment brings; BadInput."""
        return enrolled(Paths(str(self.config_file), read_config(self.config_file)))

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps what is its own."""
        return Path(self.paths.of(self.paths.config.state_dir))

    @property
    def store_file(self) -> Path:
        """The database."""
        return self.state_dir / "store.db"

    # --- policy ---------------------------------------------------------------------

    @cached_property
    def loaded(self) -> Loaded:
        """The local policy, compiled; PolicyError, DatabaseError."""
        return load_local(self.paths)

    @cached_property
    def cards(self) -> Mapping[str, RecipientCard]:
        """Recipients' cards; BadInput."""
        folder = self.paths.of(self.paths.config.recipients)
        return load_cards(folder) if folder else {}

    @cached_property
    def restored(self) -> Restored:
        """What a start would let decide, where policies are pushed."""
        root = pinned_root(self.paths)
        return restore(self.paths, StoredDocuments(self.store_file), root)

    @property
    def decides(self) -> tuple[CompiledPolicy, Mapping[str, RecipientCard]]:
        """The policy that a start would let decide, and the cards that it has."""
        if self.paths.config.trust.root and self.store_file.exists():
            accepted = self.restored.accepted
            return accepted.compiled.policy, {**self.cards, **accepted.cards}
        return self.loaded.compiled.policy, self.cards

    # --- store ----------------------------------------------------------------------

    @cached_property
    def stored(self) -> Stored:
        """The sums of the store; Unavailable, Damaged."""
        with contextlib.closing(open_database(self.store_file, read_only=True)) as raw:
            row = raw.execute(
                "SELECT ifnull(min(created_ns), 0) FROM (SELECT created_ns FROM spool"
                " ORDER BY row LIMIT 1)"
            ).fetchone()
            entry = raw.execute(
                "SELECT position, body FROM entries ORDER BY position LIMIT 1"
            ).fetchone()
            first, body = entry or (0, b"")
            return Stored(read_state(raw), int(row[0]), int(first), bytes(body))

    # --- the unit ---------------------------------------------------------------------

    @cached_property
    def unit(self) -> Mapping[str, str]:
        """Properties of the agent's unit; empty where there is none; Unavailable."""
        return self.host.unit()

    # --- the running agent ----------------------------------------------------------

    @cached_property
    def status(self) -> Mapping[str, object]:
        """What the running agent says; Unavailable where none answers."""
        return self.fetch_status()

    def fetch_status(self) -> Mapping[str, object]:
        """Ask the running agent now; Unavailable where none answers."""
        metrics = self.paths.config.metrics
        place = self.paths.of(metrics.socket)
        return state_of(fetch_page(place, metrics.port, "/status"))

    # --- the broker -----------------------------------------------------------------

    @cached_property
    def handshake(self) -> Handshake:
        """What TLS with the broker came to; OSError where there is no connection."""
        mqtt, of = self.paths.config.mqtt, self.paths.of
        return shake_hands(
            (mqtt.host, mqtt.port), of(mqtt.ca_file), of(mqtt.cert_file),
            of(mqtt.key_file),
        )  # fmt: skip

    @cached_property
    def broker(self) -> Broker:
        """One clean connection, topics asked for one by one; Unavailable, BadInput."""
        return asyncio.run(self._ask_broker())

    async def _ask_broker(self) -> Broker:
        options = replace(
            mqtt_options(self.paths, CLIENT_SUFFIX),
            clean_start=True,
            session_expiry_s=0,  # nothing of us stays at the broker
        )
        link = await connect(options)
        try:
            denied: dict[str, str] = {}
            for topic in self._topics():
                try:
                    await link.subscribe([topic])
                except Refused as error:
                    denied[topic] = error.reason.removeprefix(f"{topic}: ")
            return Broker(link.packet_bytes_max, denied)
        finally:
            with contextlib.suppress(Unavailable):
                await link.close()

    def _topics(self) -> tuple[str, ...]:
        config = self.paths.config
        more: tuple[str, ...] = ()
        if config.trust.root:
            more = PolicyInbox(config.fleet, config.device).topics
        return (down_topic(config.fleet, config.device, "receipt"), *more)
