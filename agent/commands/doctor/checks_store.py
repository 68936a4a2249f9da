"""The database: ours, whole, of this version, and not filling up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgpack

from agent.adapters.sqlite_check import check_identity, check_pages, check_records
from agent.adapters.sqlite_connection import Damaged, suspect_mark
from agent.adapters.sqlite_files import companion
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
from agent.commands.status import moment
from agent.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.context import Context, Stored
    from agent.commands.doctor.model import Found

MIB: Final = 1024 * 1024
WAL_MAX: Final = 64 * MIB  # it is folded in at 8 MiB, and 16 MiB of file are kept
DAY_NS: Final = 86_400 * 10**9
FULL: Final = 0.9
RESTART: Final = "systemctl restart sluicegate"
DEEP_S: Final = 900.0  # every byte of gigabytes is read


def _schema(context: Context) -> Iterable[Found]:
    file = context.store_file
    if not file.exists():
        return
    try:
        check_identity(file)
    except BadInput as error:
        fix = "install the version that wrote it, or " + run(
            f"mv {quoted(file)} {quoted(file)}.other"
        )
        yield bad(str(error), fix)
    except Damaged:
        yield skipped("it is damaged: see store.damage")
    else:
        yield good("of this version")


def _damage(context: Context) -> Iterable[Found]:
    file = context.store_file
    if not file.exists():
        return
    problems = check_pages(file)
    if problems:
        fix = run(f"touch {quoted(suspect_mark(file))}", RESTART)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        yield bad(f"{file}: {problems[0]}{more}", f"{fix}: what is whole is saved")
    else:
        yield good(f"every page, sum and tree node checks; {_log(context.stored)}")


def _log(stored: Stored) -> str:
    """Tell where the evidence log begins, and how large it is."""
    size = stored.state.evidence_bytes // MIB
    text = (
        f"{stored.state.evidence_size - stored.first} entries of evidence, {size} MiB"
    )
    try:
        match msgpack.unpackb(stored.first_entry):
            case {"ts": int(made_ns)}:
                text += f", since {moment(made_ns)}"
    except ValueError:  # none yet, or not of ours
        pass
    return f"{text}, {stored.first} before them pruned" if stored.first else text


def _records(context: Context) -> Iterable[Found]:
    file = context.store_file
    if not file.exists():
        return
    fix = run(RESTART) + ": it leaves out and counts what has changed"
    problems = check_records(file)
    yield from (warn(f"{file}: {problem}", fix) for problem in problems)
    if not problems:
        yield good("every message, retained record and document checks")


def _wal(context: Context) -> Iterable[Found]:
    log = companion(context.store_file, "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > WAL_MAX:
        said = f"{log}: {size // MIB} MiB, something keeps it from being folded in"
        yield warn(said, run(RESTART))
    elif context.store_file.exists():
        yield good(f"{size // MIB} MiB")


def _aside(context: Context) -> Iterable[Found]:
    found = sorted(context.store_file.parent.glob("store.db.damaged-*"))
    if found:
        size = sum(file.stat().st_size for file in found) // MIB
        said = f"{len(found)} files of damaged databases are kept, {size} MiB"
        yield notice(said, run("rm " + " ".join(map(quoted, found))))


def _backlog(context: Context) -> Iterable[Found]:
    if not context.store_file.exists():
        return
    oldest_ns = context.stored.oldest_ns
    if oldest_ns and context.host.clock.now_ns() - oldest_ns > DAY_NS:
        said = f"data have waited since {moment(oldest_ns)} for a collector's receipt"
        fix = "let a collector of this fleet receive them: " + run(
            "sluicectl collect --help"
        )
        yield warn(said, fix)
    else:
        yield good(f"{context.stored.state.spool_records} messages wait")


def _full(context: Context) -> Iterable[Found]:
    if not context.store_file.exists():
        return
    most, used = context.paths.config.spool.max_bytes, context.stored.state.spool_bytes
    told = f"{used // MIB} of {most // MIB} MiB are used"
    if used > FULL * most:
        yield warn(f"{told}: soon data are shed", put("max_bytes", 2 * most, "[spool]"))
    else:
        yield good(told)


NEEDS: Final = ("config.parse", "store.schema", "store.damage")
CHECKS: Final = (
    Check(
        "store.schema",
        "whether the database is ours and of this version",
        "the agent does not start",
        "install the version that wrote it, or move the file away",
        _schema,
        ("config.parse", "state.folder"),
    ),
    Check(
        "store.damage",
        "every page, sum, evidence entry and tree node of the database",
        "it is damaged",
        "`touch store.db.suspect`, restart: what is whole is saved",
        _damage,
        ("config.parse", "store.schema"),
        DEEP_S,
    ),
    Check(
        "store.records",
        "every message, retained record and document in it",
        "the disk has changed some of them",
        "restart: they are left out and counted",
        _records,
        NEEDS,
        DEEP_S,
    ),
    Check(
        "store.log",
        "the size of the write-ahead log",
        "something keeps it from ending",
        run(RESTART),
        _wal,
        ("config.parse",),
    ),
    Check(
        "store.aside",
        "damaged databases that were set aside",
        "they take room",
        "`rm`, once nobody wants to look at them",
        _aside,
        ("config.parse",),
    ),
    Check(
        "store.backlog",
        "how long the oldest message has waited",
        "no collector has confirmed anything for a day",
        "let a collector receive it: broker.* and status.receipts say what is in the"
        " way",
        _backlog,
        NEEDS,
    ),
    Check(
        "store.spool",
        "how full the spool is",
        "soon the lowest class of data is shed",
        "set `max_bytes` higher under `[spool]`, or let a collector receive it",
        _full,
        NEEDS,
    ),
)
