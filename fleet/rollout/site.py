"""Where a rollout is run: fleet, broker, registry, repository; what commands share.

Exit codes: 0 done, or as asked; 1 halted, a limit passed, the time was up, or something
is away; 2 bad input.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput, Unavailable
from fleet.files import read_limited
from fleet.registry import load_devices
from fleet.rollout.desk import Desk
from fleet.rollout.seen import seen_rollout
from fleet.rollout.shown import follower, result_line
from fleet.rollout.totals import step_line
from fleet.trust.release import Release
from fleet.trust.signing import Passphrases
from fleet.trust.words import broker_options
from policies.rollout import encode_rollout
from protocols.errors import WireError
from protocols.topics import check_name

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.link import BrokerOptions
    from fleet.rollout.desk import Ended, Journal, Signer
    from policies.rollout import Rollout

EXIT_FOUND: Final = 1
ROOT_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Site:
    """What every command of a rollout is told."""

    fleet: str
    broker: str
    devices: Path
    repository: Path | None = None
    keys: Path | None = None
    root: Path | None = None  # instead of a repository: look, and do not touch
    ca: str = ""
    cert: str = ""
    key: str = ""
    allow_plaintext: bool = False
    client_id: str = ""
    json: bool = False
    passphrase_file: Path | None = None

    def options(self) -> BrokerOptions:
        """Return where the broker is; BadInput names the option or the file."""
        try:
            check_name("fleet", self.fleet)
        except WireError as error:
            raise BadInput("", "--fleet", error.reason) from None
        # two with one name would throw each other out of the broker
        name = self.client_id or f"sluicectl-rollout-{secrets.token_hex(6)}"
        files = (self.ca, self.cert, self.key)
        return broker_options(self.broker, name, files, plain=self.allow_plaintext)


@dataclass(frozen=True, slots=True)
class Watching:
    """How a command watches what it did."""

    watch: bool
    seconds: float
    halts: bool = True


class Reader:
    """Stands where a signer would: for who may look and not touch."""

    def __init__(self, rollout: Rollout) -> None:
        """Take what is published."""
        self._rollout = rollout

    def rollout(self) -> Rollout:
        """Return what is published."""
        return self._rollout

    def sign(self, rollout: Rollout, before: Rollout | None) -> bytes:
        """Refuse: there is no key."""
        del before
        raise BadInput("", "--repository", f"is needed to sign {rollout.name}")

    def record(self, action: str, facts: object) -> None:
        """Nothing is done, so nothing is recorded."""
        del action, facts


def desk_of(site: Site) -> tuple[Desk, Signer]:
    """Return the desk and what signs; BadInput for files, before anything begins."""
    options, keys = site.options(), load_devices(site.devices)
    signer, journal = signing(site)
    return Desk(site.fleet, options, keys, signer, journal), signer


def looking(site: Site) -> tuple[Desk, Rollout]:
    """Return the desk of who only looks, and the rollout as it is signed."""
    if site.repository is not None:
        desk, signer = desk_of(site)
        return desk, current(signer)
    if site.root is None:
        raise BadInput("", "", "give --repository, or --root to look without keys")
    options, keys = site.options(), load_devices(site.devices)
    root = read_limited(site.root, ROOT_BYTES_MAX)
    told = asyncio.run(seen_rollout(options, site.fleet, root, str(site.root)))
    reader = Reader(told)
    return Desk(site.fleet, options, keys, reader, reader), told


def current(signer: Signer) -> Rollout:
    """Return the rollout that was signed last; BadInput where there is none."""
    found = signer.rollout()
    if found is None:
        raise BadInput("", "rollout", "none was started", "see `rollout start`")
    return found


def carry_out(
    site: Site,
    desk: Desk,
    action: str,
    steps: tuple[Rollout | None, Rollout],
    watching: Watching,
) -> int:
    """Sign and publish the second of two steps, watch it where asked; return the code.

    The first is what it follows: another desk must not have signed since it was read.
    """
    before, step = steps
    asyncio.run(desk.change(action, step, before))
    if watching.watch:
        return watched(site, desk, step, watching)
    told = encode_rollout(step).decode() if site.json else f"{step_line(step)}\n"
    sys.stdout.write(told if site.json else f"published: {told}")
    return 0


def watched(site: Site, desk: Desk, rollout: Rollout, watching: Watching) -> int:
    """Watch a rollout, or its end; 0 where all are done, else Unavailable says why."""
    if rollout.state == "paused":
        reason = ": ".join(one for one in (rollout.state, rollout.note) if one)
        raise Unavailable(rollout.name, f"is {reason}; nothing begins")
    live = sys.stdout.isatty()
    with follower(as_json=site.json, live=live) as show:
        ended: Ended = asyncio.run(
            desk.watch(rollout, show, halts=watching.halts, seconds=watching.seconds)
        )
    if ended.halted:
        did = "halted" if watching.halts else "over the limit"
        raise Unavailable(rollout.name, f"{did}: {ended.halted}")
    if not ended.done:
        found = ended.report
        raise Unavailable(
            rollout.name, f"{found.final} of {found.expected} after the time was up"
        )
    if not (site.json or live):
        sys.stdout.write(f"{result_line(ended.report)}\n")
    return 0


def signing(site: Site) -> tuple[Signer, Journal]:
    """Return what signs and what records; BadInput for a missing or bad file."""
    if site.repository is None:
        raise BadInput("", "--repository", "is needed to sign")
    if site.keys is None:
        raise BadInput("", "--keys", "is needed to sign")
    release = Release(site.repository, site.keys, Passphrases(site.passphrase_file))
    fleet = release.repository.fleet
    if fleet != site.fleet:
        reason = f"is the repository of {fleet}, not of {site.fleet}"
        raise BadInput(str(site.repository), "", reason)
    return release, release.journal
