"""With what we come to the broker: looked up anew for each connection.

Certificates are replaced while the daemon runs, by `sluicegate provision install`, by
our own renewal or by the owner's tool. A connection that stands is not touched; the
next one comes with what is there by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from agent.adapters.enrolment_changes import changing
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.adapters.enrolment import Enrolments
    from agent.adapters.mqtt import MqttOptions
    from agent.ports import Link
    from agent.records import Outgoing

NOT_ENROLLED: Final = "not enrolled yet: sluicegate provision begin"
Mark: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class Access(Protocol):
    """Who says how the broker is reached, and hears how it went."""

    certificate: Path | None  # that the last connection came with
    trouble: str  # what is wrong with a new one, "" where nothing is
    told: Callable[[], None]  # called when a broker has let us in

    def options(self) -> MqttOptions:
        """Return how to come this time; Unavailable, BadInput say why not."""

    async def taken(self) -> None:
        """The broker has let us in with the last options."""

    def turned_away(self, reason: str) -> None:
        """It has not, or was not there."""

    def wanted(self) -> object:
        """Return a mark of what would be used now."""

    def newest(self) -> MqttOptions:
        """Return how we would come with it; Unavailable, BadInput say why not."""

    def has_changed(self) -> bool:
        """Tell whether that is something else than the last connection came with."""


async def let_in(
    access: Access,
    connect: Callable[[MqttOptions], Awaitable[Link]],
    will: Outgoing | None,
) -> Link:
    """Return a new connection with what there is by now; ``access`` hears how it went.

    Unavailable, BadInput say why there is none.
    """
    options = access.options()
    try:
        link = await connect(replace(options, will=will))
    except (Unavailable, BadInput) as error:
        access.turned_away(str(error))
        raise
    await access.taken()
    return link


class FileAccess:
    """Files that the owner named, and replaces when it is time."""

    def __init__(self, options: MqttOptions) -> None:
        """Nothing is connected yet."""
        self._options = options
        self._used: Mark = ()
        self.trouble = ""
        self.certificate: Path | None = None
        self.told: Callable[[], None] = _nobody

    def options(self) -> MqttOptions:
        """Return the options; the files are looked at before they are read."""
        self._used = self.wanted()
        name = self._options.cert_file
        self.certificate = Path(name) if name else None
        return self._options

    async def taken(self) -> None:
        """Nothing is kept of the files that were there before."""
        self.trouble = ""
        self.told()

    def turned_away(self, reason: str) -> None:
        """There is nothing to go back to; the uplink tells it."""

    def wanted(self) -> Mark:
        """Return which files lie there, and since when."""
        o = self._options
        return tuple(_mark(name) for name in (o.ca_file, o.cert_file, o.key_file))

    def newest(self) -> MqttOptions:
        """Return the options: names do not change."""
        return self._options

    def has_changed(self) -> bool:
        """Tell whether a file is another one, or was written, since the connection."""
        return self.wanted() != self._used


class EnrolledAccess:
    """What `sluicegate provision` installed; the former one until the new one works."""

    def __init__(self, options: MqttOptions, enrolments: Enrolments) -> None:
        """Take what does not change: client id, keepalive, sizes."""
        self._options = options
        self._enrolments = enrolments
        self._used = ""  # the enrolment that the last connection came with
        self._failed = ""  # the new one, where it was turned away last
        self.trouble = ""
        self.certificate: Path | None = None
        self.told: Callable[[], None] = _nobody

    def options(self) -> MqttOptions:
        """Return how to come; with a new certificate and with the former in turn."""
        now = self._enrolments.standing()
        name = now.current
        if now.former and not now.proved and self._failed == now.current:
            name, self._failed = now.former, ""
        options = self._of(name)
        self._used, self.certificate = name, Path(options.cert_file)
        return options

    async def taken(self) -> None:
        """Let the former one go, where the new one was taken."""
        if self._used == self.wanted():
            self.trouble = ""
            # on the disk, so in a thread: the data path does not wait for it
            with contextlib.suppress(Unavailable):  # tried again at the next one
                await asyncio.to_thread(self._prove, self._used)
        self.told()

    def _prove(self, name: str) -> None:
        with changing(self._enrolments) as folder:
            folder.prove(name)

    def turned_away(self, reason: str) -> None:
        """Come with the former one the next time, where the new one is not proved."""
        now = self._enrolments.standing()
        if self._used == now.current and now.former and not now.proved:
            self._failed = now.current
            self.trouble = f"the new one is not taken: {reason}"

    def wanted(self) -> str:
        """Return the number of the present enrolment."""
        return self._enrolments.standing().current

    def newest(self) -> MqttOptions:
        """Return how to come with the present enrolment."""
        return self._of(self.wanted())

    def has_changed(self) -> bool:
        """Tell whether another enrolment is the present one."""
        return self.wanted() != self._used

    def _of(self, name: str) -> MqttOptions:
        if not name:
            raise Unavailable("mqtt", NOT_ENROLLED)
        found = self._enrolments.installed(name)
        if found.answer.broker is None:
            raise BadInput(str(found.folder), "", "names no broker")
        return replace(
            self._options,
            host=found.answer.broker.host,
            port=found.answer.broker.port,
            ca_file=str(found.ca_file),
            cert_file=str(found.cert_file),
            key_file=str(found.key_file),
        )


def _nobody() -> None:
    """Whoever renews tells where to."""


def _mark(name: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(name)  # noqa: PTH116  # a name that may be empty
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size
