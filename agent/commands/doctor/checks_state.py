"""The state folder: whose, on which file system, with how much room; its keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.credentials import is_credential
from agent.adapters.files import read_limited
from agent.adapters.identities import master_of, signer_of
from agent.adapters.token_key import SCHEME
from agent.commands.doctor.context import user_name
from agent.commands.doctor.model import (
    Check,
    bad,
    good,
    notice,
    put,
    quoted,
    run,
    skipped,
    warn,
)
from agent.consent_file import FILE_BYTES_MAX, FILE_NAME, parse_consents
from agent.errors import BadInput, SluicegateError
from agent.limits import SPOOL_BYTES_MIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.adapters.policy.loader import Paths
    from agent.commands.doctor.context import Context
    from agent.commands.doctor.host import Disk
    from agent.commands.doctor.model import Found, Look

MIB: Final = 1024 * 1024
FREE_MIN: Final = 64 * MIB  # below it a commit of the largest batch may not fit
FREE_SHARE: Final = 0.05
INODES_MIN: Final = 64
OTHERS: Final = 0o077
GONE_AT_BOOT: Final = frozenset({"tmpfs", "ramfs", "overlay", "devtmpfs", "squashfs"})
UNFIT: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "vfat", "exfat", "msdos"}
)


def _folder(context: Context) -> Iterable[Found]:
    folder, user = context.state_dir, context.user
    if folder.is_dir():
        yield good(str(folder))
        return
    place = quoted(folder)
    made = f"install -d -m 0700 -o {user.name} -g {user.group} {place}"
    if folder.exists():
        yield bad(f"{folder}: is no folder", run(f"mv {place} {place}.old", made))
        return
    fix = run(made)
    above = next(one for one in folder.absolute().parents if one.exists())
    if os.access(above, os.W_OK | os.X_OK):
        yield notice(f"{folder}: not there yet; the first start makes it", fix)
    else:
        yield bad(f"{folder}: not there, and {user.name} may not make it", fix)


def _permissions(context: Context) -> Iterable[Found]:
    folder = context.state_dir
    if not folder.is_dir():
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS:
        said = f"{folder}: others may look in (mode {mode:04o})"
        yield warn(said, run(f"chmod 700 {quoted(folder)}"))
    else:
        yield good(f"mode {mode:04o}")


def _ownership(context: Context) -> Iterable[Found]:
    """A file that root made in here stops the agent: its user may not write it."""
    folder, ours = context.state_dir, os.geteuid()
    if not folder.is_dir():
        return
    whose = folder.stat().st_uid
    if whose != ours:
        if context.user.stepped_down:  # else user.identity says so
            said = (
                f"{folder}: belongs to {user_name(whose)}, not to {context.user.name}"
            )
            yield bad(said, run(f"chown -R {context.user.owner} {quoted(folder)}"))
        return
    strange = [one for one in sorted(folder.iterdir()) if one.lstat().st_uid != ours]
    for file in strange:
        owner = user_name(file.lstat().st_uid)
        fix = run(f"chown -h {context.user.owner} {quoted(file)}")
        yield bad(f"{file}: belongs to {owner}, not to {context.user.name}", fix)
    if not strange:
        yield good(f"everything belongs to {context.user.name}")


def _system(context: Context) -> Iterable[Found]:
    mount = context.host.mount(context.state_dir)
    fix = put("state_dir", "/var/lib/sluicegate") + ", on a disk that stays"
    if mount.kind in GONE_AT_BOOT:
        said = f"{context.state_dir} is on {mount.kind}: gone when the power is"
        yield warn(said, fix)
    elif mount.kind in UNFIT or mount.kind.startswith("fuse."):
        said = f"{context.state_dir} is on {mount.kind}: no home for a database"
        yield bad(said, fix)
    else:
        yield good(f"{mount.kind} at {mount.point}")


def _writable(context: Context) -> Iterable[Found]:
    folder = context.state_dir
    if not folder.is_dir():
        return
    mount = context.host.mount(folder)
    if mount.read_only:
        said = f"{mount.point} is mounted read-only: nothing can be kept"
        yield bad(said, run(f"mount -o remount,rw {quoted(mount.point)}"))
    elif folder.stat().st_uid != os.geteuid() and context.user.stepped_down:
        yield skipped("state.ownership is bad")
    elif not os.access(folder, os.W_OK | os.X_OK):
        fix = run(
            f"chown {context.user.owner} {quoted(folder)}",
            f"chmod u+rwx {quoted(folder)}",
        )
        yield bad(f"{folder}: {context.user.name} may not write in it", fix)
    else:
        yield good("can be written")


def _free(context: Context) -> Iterable[Found]:
    mount, disk = context.host.mount(context.state_dir), _disk(context)
    told = f"{disk.free // MIB} MiB free on {mount.point}"
    want = max(FREE_MIN, int(disk.total * FREE_SHARE))
    aside = sorted(context.state_dir.glob("store.db.damaged-*"))
    fix = f"free {-(-(want - disk.free) // MIB)} MiB on {mount.point}"
    if aside:
        fix = run("rm " + " ".join(map(quoted, aside))) + f", or {fix}"
    if disk.free < FREE_MIN:
        yield bad(f"{told}: not enough to go on keeping data", fix)
    elif disk.free < want:
        yield warn(f"{told}: nearly full", fix)
    else:
        yield good(told)


def _cap(context: Context) -> Iterable[Found]:
    """What the caps allow must fit, or the disk is full before anything is shed."""
    spool = context.paths.config.spool.max_bytes
    used = sum(
        file.stat().st_size
        for file in context.state_dir.glob("store.db*")
        if file.is_file()
    )
    room = _disk(context).free + used
    retained = context.paths.config.retained.max_bytes
    need = spool + retained
    told = (
        f"spool and retained data may take {need // MIB} MiB, there is room for"
        f" {room // MIB} MiB"
    )
    fitting = (room - retained - FREE_MIN) // MIB * MIB
    if room > need:
        yield good(told)
    elif fitting >= SPOOL_BYTES_MIN:
        yield warn(told, put("max_bytes", fitting, "[spool]"))
    else:
        mount = context.host.mount(context.state_dir)
        yield warn(told, f"free {-(-(need - room) // MIB) + 1} MiB on {mount.point}")


def _inodes(context: Context) -> Iterable[Found]:
    disk, mount = _disk(context), context.host.mount(context.state_dir)
    if not disk.inodes:
        yield good("the file system makes them as they are needed")
    elif disk.inodes_free < INODES_MIN:
        fix = f"remove {INODES_MIN - disk.inodes_free} files on {mount.point}"
        yield bad(f"{disk.inodes_free} inodes are left on {mount.point}", fix)
    elif disk.inodes_free < disk.inodes * FREE_SHARE:
        want = int(disk.inodes * FREE_SHARE) - disk.inodes_free + 1
        fix = f"remove {want} files on {mount.point}"
        yield warn(f"{disk.inodes_free} of {disk.inodes} inodes are left", fix)
    else:
        yield good(f"{disk.inodes_free} of {disk.inodes} are left")


def _disk(context: Context) -> Disk:
    folder = context.state_dir
    while not folder.exists():
        folder = folder.parent
    return context.host.disk(folder)


def _device_key(context: Context) -> Iterable[Found]:
    paths = context.paths
    brought = paths.config.identity.key
    if brought.startswith(SCHEME):
        yield from _in_token(paths)
        return
    key = Path(paths.of(brought)) if brought else context.state_dir / "device.key"
    anew = " and enrol the device anew"
    yield from _secret(key, brought, anew, lambda: _identity(paths))


def _in_token(paths: Paths) -> Iterable[Found]:
    try:
        yield good(f"in a token: {_identity(paths)}")
    except SluicegateError as error:
        yield bad(str(error), run("sluicegate provision begin"))


def _pseudonym_key(context: Context) -> Iterable[Found]:
    paths = context.paths
    brought = paths.config.identity.pseudonyms
    key = Path(paths.of(brought)) if brought else context.state_dir / "pseudonym.key"
    anew = ": pseudonyms begin anew"
    yield from _secret(key, brought, anew, lambda: _master(paths))


def _secret(
    key: Path, brought: str, anew: str, look: Callable[[], str]
) -> Iterable[Found]:
    back = f"bring {key} back from where it is kept"
    if not key.exists():
        if brought:
            yield bad(f"{key}: is not there", back)
        return  # the first start makes it
    told = key.lstat()
    is_open = stat.S_ISREG(told.st_mode) and told.st_mode & OTHERS
    if is_open and not is_credential(key, told.st_mode, told.st_uid):
        mode = stat.S_IMODE(told.st_mode)
        said = f"{key}: others may use it (mode {mode:04o})"
        yield bad(said, run(f"chmod 600 {quoted(key)}"))
        return
    try:
        yield good(look())
    except BadInput as error:
        yield bad(str(error), f"{back}, or {run(f'rm {quoted(key)}')}{anew}")


def _identity(paths: Paths) -> str:
    public = signer_of(paths).public_key()
    return f"{paths.config.device}, public key {public.hex()[:16]}..."


def _master(paths: Paths) -> str:
    return f"{len(master_of(paths))} bytes"


def _consents(context: Context) -> Iterable[Found]:
    file = context.state_dir / FILE_NAME
    if not file.exists():
        return
    try:
        given = parse_consents(read_limited(file, FILE_BYTES_MAX), str(file))
    except BadInput as error:
        yield bad(
            str(error), run(f"rm {quoted(file)}") + ", then give the consents again"
        )
        return
    said = f"{len(given)} written; `sluicegate consent list` says which of them hold"
    yield good(said)


def _check(name: str, looks: str, red: str, fix: str, look: Look, *needs: str) -> Check:
    return Check(name, looks, red, fix, look, ("config.parse", *needs))


CHECKS: Final = (
    _check(
        "state.folder",
        "whether `state_dir` is there",
        "the agent does not start",
        "`install -d` it for the agent's user",
        _folder,
    ),
    _check(
        "state.permissions",
        "who may look into `state_dir`",
        "others can see names, sizes and times of what is kept",
        "`chmod 700`",
        _permissions,
        "state.folder",
    ),
    _check(
        "state.ownership",
        "whose the files in `state_dir` are",
        "the agent cannot write its own files",
        "`chown` what is named",
        _ownership,
        "state.folder",
    ),
    _check(
        "state.filesystem",
        "what file system `state_dir` is on",
        "everything is gone when the power is, or the database is at risk",
        "set `state_dir` to a folder on a disk",
        _system,
    ),
    _check(
        "state.writable",
        "whether `state_dir` can be written",
        "nothing can be kept: data are shed",
        "`mount -o remount,rw`, or `chown`",
        _writable,
        "state.folder",
    ),
    _check(
        "disk.free",
        "room on the disk of `state_dir`",
        "soon nothing can be kept: data are shed",
        "free as much as is named",
        _free,
    ),
    _check(
        "disk.cap",
        "whether what the caps allow fits the disk",
        "the disk is full before the agent begins to shed",
        "set `max_bytes` lower",
        _cap,
    ),
    _check(
        "disk.inodes",
        "inodes on the disk of `state_dir`",
        "no file can be made",
        "remove as many files as are named",
        _inodes,
    ),
    _check(
        "key.device",
        "the device's key in `state_dir`",
        "the agent does not start; whoever reads the key can sign as this device",
        "`chmod 600`, or the key from where it is kept",
        _device_key,
    ),
    _check(
        "key.pseudonym",
        "the key of the pseudonyms in `state_dir`",
        "the agent does not start",
        "`chmod 600`, or the key from where it is kept",
        _pseudonym_key,
    ),
    _check(
        "state.consents",
        "the file of consents",
        "no consent holds: nothing leaves that needs one",
        "remove it, give the consents again",
        _consents,
    ),
)
