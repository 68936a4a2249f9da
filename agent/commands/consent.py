"""`sluicegate consent`: writes and shows ``consents.json``; the agent judges it.

The file is changed under a lock beside it, so that two givers do not undo each other,
and replaced atomically, so that the agent never reads half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from agent.adapters.configuration import read_config
from agent.adapters.files import read_limited, write_durably
from agent.adapters.status_client import fetch_page, state_of
from agent.commands.printing import print_table
from agent.commands.status import moment, standing_line
from agent.config import NAME, beside
from agent.consent_file import (
    FILE_BYTES_MAX,
    FILE_NAME,
    By,
    Statement,
    format_consents,
    parse_consents,
)
from agent.consents import NO_SUCH, NOT_LOOKED
from agent.errors import BadInput, Unavailable
from policies.errors import nearest, shown
from policies.model import CONSENTS_MAX
from policies.quantities import duration_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S: Final = 2.0  # the agent looks every quarter of a second
LOOK_S: Final = 0.05
SECOND_NS: Final = 1_000_000_000
YEAR_NS: Final = 365 * 86_400 * SECOND_NS
_ROLES: Final = get_args(By)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the file lies, and where the agent answers."""

    file: Path
    socket: str
    port: int

    def standings(self) -> list[dict[str, object]] | None:
        """Return what the running agent says of consents; None: nobody answers."""
        if not (self.socket or self.port):
            return None
        try:
            found = state_of(fetch_page(self.socket, self.port, "/status"))["consents"]
        except (Unavailable, KeyError):  # or another program: a withdrawal still holds
            return None
        return found if isinstance(found, list) else None

    def statements(self) -> tuple[Statement, ...]:
        """Return what the file says; a file that is not there says nothing."""
        if not self.file.exists():
            return ()
        return parse_consents(read_limited(self.file, FILE_BYTES_MAX), str(self.file))


def give(config: Path, name: str, lasting: str, by: str, opt_in: bool) -> int:
    """Write a new statement; 0 where the agent says that it holds, or is not up."""
    place = _place(config)
    _check_name(name, place.standings())
    try:
        span_ns = duration_ns(lasting)
    except ValueError as error:
        raise BadInput("", "--for", str(error)) from None
    if span_ns > YEAR_NS:
        raise BadInput("", "--for", "a consent lasts a year at most (T51)")
    if by not in _ROLES:
        hint = f"one of {', '.join(_ROLES)}"
        raise BadInput("", "--by", f"no such role: {shown(by)}", hint)
    given = int(time.time())
    statement = Statement(
        name=name,
        id=secrets.token_hex(16),
        given=given,
        expires=given + max(1, span_ns // SECOND_NS),
        by=by,  # type: ignore[arg-type]  # one of the roles, as just checked
        opt_in=opt_in,
    )

    def with_it(before: tuple[Statement, ...]) -> tuple[Statement, ...]:
        others = tuple(one for one in before if one.name != name)
        if len(others) >= CONSENTS_MAX:
            raise BadInput(str(place.file), "", f"{CONSENTS_MAX} consents are there")
        return (*others, statement)

    _change(place, with_it)
    return _told(place, name, statement)


def withdraw(config: Path, name: str, everything: bool) -> int:
    """Take statements out of the file; one that was not given is bad input."""
    if bool(name) == everything:
        raise BadInput("", "NAME", "name one consent, or say --all")
    place = _place(config)

    def without_it(before: tuple[Statement, ...]) -> tuple[Statement, ...]:
        names = [one.name for one in before]
        if name and name not in names:
            hint = nearest(name, names) or f"given: {', '.join(names) or 'none'}"
            raise BadInput("", "NAME", f"{shown(name)} was not given", hint)
        return tuple(one for one in before if name and one.name != name)

    before = _change(place, without_it, whatever=everything)
    gone = {one.name for one in before if not name or one.name == name}
    found = _until(place, lambda found: not _still(found, gone))
    for one in sorted(gone):
        sys.stdout.write(f"{one} withdrawn\n")
    return 1 if found is not None and _still(found, gone) else 0


def show_consents(config: Path, as_json: bool) -> int:
    """Print the agent's view; where it does not run, what the file says."""
    place = _place(config)
    found = place.standings()
    if found is None:
        found = [_unjudged(one) for one in place.statements()]
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        _print(found)
    return 0


def _print(found: list[dict[str, object]]) -> None:
    rows = []
    for one in found:
        expires_ns = int(str(one["expires_ns"]))
        until = moment(expires_ns) if expires_ns else ""
        survives = "survives" if one["survives"] else ""
        reason = f": {one['reason']}" if one["reason"] else ""
        state = f"{one['state']}{reason}"
        rows.append((str(one["name"]), until, str(one["by"]), survives, state))
    print_table(("consent", "until (UTC)", "by", "ignition", "state"), rows)


def _place(config_file: Path) -> Place:
    config = read_config(config_file)
    folder = Path(beside(str(config_file), config.state_dir))
    if not folder.is_dir():
        reason = "is not there yet"
        raise BadInput(str(config_file), "state_dir", reason, "start the agent once")
    socket = beside(str(config_file), config.metrics.socket)
    return Place(folder / FILE_NAME, socket, config.metrics.port)


def _check_name(name: str, standings: list[dict[str, object]] | None) -> None:
    """Refuse what is no name, and what the running agent's policy does not declare."""
    if not re.fullmatch(NAME, name) or name.endswith("\n"):
        raise BadInput("", "NAME", f"is no name of a consent: {shown(name)}")
    if standings is None:
        return
    known = [str(one["name"]) for one in standings if one["reason"] != NO_SUCH]
    if name not in known:
        hint = nearest(name, known) or f"known: {', '.join(known) or 'none'}"
        raise BadInput("", "NAME", f"no such consent: {shown(name)}", hint)


def _change(
    place: Place,
    change: Callable[[tuple[Statement, ...]], tuple[Statement, ...]],
    *,
    whatever: bool = False,
) -> tuple[Statement, ...]:
    """Replace the file by what ``change`` makes of it; return what it said before.

    ``whatever``: a file that cannot be read is replaced, too.
    """
    with _locked(place.file.with_name(f"{FILE_NAME}.lock")):
        try:
            before = place.statements()
        except BadInput:
            if not whatever:
                raise
            before = ()
        body = format_consents(change(before))
        try:
            write_durably(place.file, body)
        except OSError as error:
            reason = error.strerror or "cannot be written"
            raise BadInput(str(place.file), "", reason) from None
        return before


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(str(path), "", error.strerror or "cannot be made") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _until(
    place: Place, seen: Callable[[list[dict[str, object]]], bool]
) -> list[dict[str, object]] | None:
    """Wait until the agent has seen the change; None where no agent answers."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        found = place.standings()
        if found is None or seen(found) or time.monotonic() > end_s:
            return found
        time.sleep(LOOK_S)


def _still(found: list[dict[str, object]], gone: set[str]) -> bool:
    return any(one["name"] in gone and one["state"] == "on" for one in found)


def _told(place: Place, name: str, statement: Statement) -> int:
    def seen(found: list[dict[str, object]]) -> bool:
        return any(
            one["name"] == name
            and one["id"] == statement.id
            and one["reason"] != NOT_LOOKED
            for one in found
        )

    found = _until(place, seen)
    if found is None:
        sys.stdout.write(
            f"{name} written; no agent answers. At its start, which is a new ignition"
            " cycle, only what survives those will hold.\n"
        )
        return 0
    (mine,) = [one for one in found if one["name"] == name]
    sys.stdout.write(f"{standing_line(mine)}\n")
    return 0 if mine["state"] == "on" else 1


def _unjudged(one: Statement) -> dict[str, object]:
    return {
        "name": one.name,
        "state": "written",
        "reason": "no agent answers",
        "expires_ns": one.expires_ns,
        "by": one.by,
        "survives": one.opt_in,
    }
