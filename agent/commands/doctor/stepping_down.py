"""Root looks as the agent's user: what it finds is what the agent would find."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.credentials import VARIABLE
from agent.adapters.files import read_limited
from agent.adapters.policy.loader import Paths
from agent.adapters.privileges import become
from agent.commands.doctor.checks_unit import USUAL
from agent.config import parse_config
from agent.errors import BadInput, Unavailable
from agent.limits import CONFIG_BYTES_MAX

if TYPE_CHECKING:
    from agent.commands.doctor.host import Host


UNITS_OWN: Final = Path("/etc/sluicegate/sluicegate.toml")


def step_down(config_file: Path, host: Host) -> bool:
    """Become who the agent runs as, where that is another one; tell whether.

    The unit says who that is, for its own configuration; for another one, whose
    ``state_dir`` is. Nothing happens without root.
    """
    if os.geteuid() != 0:
        return False
    unit: dict[str, str] = {}
    with contextlib.suppress(Unavailable):  # the checks of the unit say so
        unit = host.unit()
    said = _named(unit.get("User", "")) if config_file == UNITS_OWN else None
    who = said or _owner(config_file)
    if who is None or who[0] == 0:
        return False
    credentials = Path("/run/credentials") / unit.get("Id", USUAL)
    if VARIABLE not in os.environ and credentials.is_dir():
        os.environ[VARIABLE] = str(credentials)  # what the running unit was given
    become(*who, keep=unit.get("AmbientCapabilities", "").lower().split())
    return True


def _owner(config_file: Path) -> tuple[int, int] | None:
    try:
        text = read_limited(config_file, CONFIG_BYTES_MAX)
        paths = Paths(str(config_file), parse_config(text, str(config_file)))
        told = Path(paths.of(paths.config.state_dir)).stat()
    except (BadInput, OSError):
        return None
    return told.st_uid, told.st_gid


def _named(user: str) -> tuple[int, int] | None:
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid
