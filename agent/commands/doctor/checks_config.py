"""The configuration and its files: there, ours to read, not others' to write."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.commands.doctor.context import user_name
from agent.commands.doctor.model import Check, bad, good, notice, quoted, run, warn
from agent.config import CREDENTIAL, NO_FIELD
from agent.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_NEAR: Final = re.compile(r"did you mean '(.+)'\?")


def _user(context: Context) -> Iterable[Found]:
    """Who looks sees what the agent would see, or says that it does not."""
    user = context.user
    try:
        owner = context.state_dir.stat().st_uid
    except (BadInput, OSError):
        yield good(f"looking as {user.name}")
        return
    if user.stepped_down:  # whose the state is, is the question of state.ownership
        yield good(f"looking as {user.name}, as the agent would")
    elif owner == os.geteuid():
        yield good(f"looking as {user.name}")
    else:
        said = f"looking as {user.name}, and {user_name(owner)} owns the state"
        yield warn(said, _by_root(context))


def _is_agent(context: Context) -> bool:
    """Tell whether who looks may be the agent's user; without root, nobody knows."""
    return context.user.stepped_down or os.geteuid() == 0


def _by_root(context: Context) -> str:
    return run(f"sudo sluicegate doctor -c {quoted(context.config_file)}")


def _readable(context: Context) -> Iterable[Found]:
    file, group = context.config_file, context.user.group
    folders = [*reversed(file.absolute().parents)]
    for folder in folders:
        if folder.is_dir() and not os.access(folder, os.X_OK):
            place = quoted(folder)
            said = f"{folder}: {context.user.name} may not enter it"
            fix = run(f"chgrp {group} {place}", f"chmod g+x {place}")
            yield bad(said, fix if _is_agent(context) else _by_root(context))
            return
    if not file.exists():
        yield bad(
            f"{file}: is not there", f"name it with --config, or write it to {file}"
        )
    elif not os.access(file, os.R_OK):
        place = quoted(file)
        said = f"{file}: {context.user.name} may not read it"
        fix = run(f"chgrp {group} {place}", f"chmod g+r {place}")
        yield bad(said, fix if _is_agent(context) else _by_root(context))
    else:
        yield good(str(file))


def _parse(context: Context) -> Iterable[Found]:
    try:
        config = context.paths.config
    except BadInput as error:
        where = error.place or f"what the line says in {error.file}"
        fix = f"mend `{where}` in {error.file}" + (
            f" ({error.hint})" * bool(error.hint)
        )
        if error.reason == NO_FIELD:
            fix = f"remove `{where}`, which is no field, in {error.file}"
            if near := _NEAR.search(error.hint):
                fix = f"rename `{where}` to `{near[1]}` in {error.file}"
        yield bad(str(error), fix)
        return
    yield good(f"device {config.device} of fleet {config.fleet}")


def _permissions(context: Context) -> Iterable[Found]:
    """Whoever may write these files decides what leaves."""
    wrong = False
    for file in _named(context):
        try:
            told = file.stat()
        except OSError:
            continue  # another check says so
        place = quoted(file)
        if told.st_mode & WRITABLE:
            wrong = True
            mode = stat.S_IMODE(told.st_mode)
            yield bad(
                f"{file}: others may write it (mode {mode:04o})",
                run(f"chmod go-w {place}"),
            )
        elif told.st_uid not in {0, os.geteuid()}:
            wrong = True
            said = f"{file}: belongs to {user_name(told.st_uid)}"
            yield bad(said, run(f"chown root {place}"))
    if not wrong:
        yield good("only their owner may write the files")


def _named(context: Context) -> Iterator[Path]:
    """Yield every file and folder that decides what leaves."""
    yield context.config_file.absolute().parent
    yield context.config_file
    try:
        paths = context.paths
    except BadInput:
        return
    config = paths.config
    names = [config.policy, config.floor, *config.bindings, config.databases]
    names += [config.recipients, config.trust.root, config.mqtt.ca_file]
    for name in names:
        if name and not name.startswith(CREDENTIAL):  # those are systemd's to guard
            yield Path(paths.of(name))


def _sources(context: Context) -> Iterable[Found]:
    config = context.paths.config
    count = len(config.can) + len(config.modbus) + len(config.tap)
    if count:
        yield good(f"{count} sources")
    else:
        fix = "add a `[[can]]`, `[[modbus]]` or `[[tap]]` section (README.md)"
        yield warn("no bus, device or tap is configured: nothing is read", fix)


def _lockdown(context: Context) -> Iterable[Found]:
    config = context.paths.config
    if config.policy and config.policy != "lockdown":
        yield good(f"policy {config.policy}")
    elif config.trust.root:
        yield good("lockdown until the fleet sends a policy")
    else:
        fix = 'set `policy = "FILE"`, where FILE is the policy that shall decide'
        yield notice("no policy is named: lockdown decides, nothing leaves", fix)


def _eve(context: Context) -> Iterable[Found]:
    eve = context.paths.config.eve
    if eve is None:
        return
    file = Path(context.paths.of(eve.file))
    folder, place = file.parent, quoted(file.parent)
    if not folder.is_dir():
        owner, group = context.user.name, context.user.group
        fix = run(f"install -d -m 0750 -o {owner} -g {group} {place}")
        yield bad(f"{folder}: no such folder for eve.file", fix)
    elif file.is_symlink():  # `chown` would give away what it points to
        yield bad(f"{file}: is a link, and is not followed", run(f"rm {quoted(file)}"))
    elif not os.access(file if file.exists() else folder, os.W_OK):
        target = quoted(file if file.exists() else folder)
        fix = run(f"chown -h {context.user.owner} {target}", f"chmod u+w {target}")
        yield bad(f"{file}: {context.user.name} may not write it", fix)
    else:
        yield good(str(file))


CHECKS: Final = (
    Check(
        "user.identity",
        "whether the doctor looks as the user that the agent runs as; root becomes it",
        "what it says of permissions may not hold for the agent",
        "run it by root: `sudo sluicegate doctor`",
        _user,
    ),
    Check(
        "config.readable",
        "the configuration file and the folders above it",
        "the agent cannot read its configuration",
        "give the agent's group the right to read: `chgrp`, `chmod g+r`",
        _readable,
    ),
    Check(
        "config.parse",
        "every field of the configuration",
        "the agent does not start",
        "mend the field that is named",
        _parse,
        ("config.readable",),
    ),
    Check(
        "config.permissions",
        "who may write the configuration and the files it names",
        "others can change what leaves",
        "`chmod go-w` and `chown root` of what is named",
        _permissions,
        ("config.readable",),
    ),
    Check(
        "config.sources",
        "whether a bus, device or tap is configured",
        "nothing is read",
        "add a `[[can]]`, `[[modbus]]` or `[[tap]]` section",
        _sources,
        ("config.parse",),
    ),
    Check(
        "config.policy",
        "whether a policy is named",
        "lockdown: nothing leaves",
        "set `policy`",
        _lockdown,
        ("config.parse",),
    ),
    Check(
        "eve.place",
        "the place of the EVE log",
        "the agent does not start",
        "make the folder, give it to the agent's user",
        _eve,
        ("config.parse",),
    ),
)
