"""The running agent: does it answer, is it this version, what does it say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import VERSION
from agent.adapters.status_client import MAY_NOT, NOT_OURS
from agent.commands.doctor.model import Check, bad, good, notice, put, quoted, run, warn
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

SOCKET: Final = "/run/sluicegate/status.sock"
HOURS_MIN: Final = 4.0
LOOK_AGAIN_S: Final = 3.0  # a collector receipts many times a second
STALL_NS: Final = 600 * 10**9
PROBLEMS: Final = {  # first word of a problem -> where to look
    "clock": "clock", "mqtt": "broker", "broker": "broker", "subscribe": "broker",
    "certificate": "tls", "store": "store", "disk": "disk", "eve": "eve", "EVE": "eve",
    "policy": "policy", "trust": "trust", "consents": "state.consents", "can": "can",
}  # fmt: skip
RESTART: Final = "systemctl restart sluicegate"


def _configured(context: Context) -> Iterable[Found]:
    metrics = context.paths.config.metrics
    if metrics.socket or metrics.port:
        yield good(context.paths.of(metrics.socket) or f"port {metrics.port}")
    else:
        said = "no status socket: nobody can ask the agent how it is"
        yield warn(said, put("socket", SOCKET, "[metrics]"))


def _folder(context: Context) -> Iterable[Found]:
    socket = context.paths.config.metrics.socket
    if not socket:
        return
    file, user = Path(context.paths.of(socket)), context.user
    folder, place = file.parent, quoted(file.parent)
    if not folder.is_dir():
        fix = run(f"install -d -m 0750 -o {user.name} -g {user.group} {place}")
        yield bad(f"{folder}: no such folder for metrics.socket", fix)
    elif not os.access(folder, os.W_OK | os.X_OK):
        said = f"{folder}: {user.name} may not write in it"
        yield bad(said, run(f"chown {user.owner} {place}", f"chmod u+rwx {place}"))
    elif file.is_symlink() or (file.exists() and not file.is_socket()):
        fix = run(f"mv {quoted(file)} {quoted(file)}.old")
        yield bad(f"{file}: is there, and is no socket", fix)
    else:
        yield good(str(folder))


def _answers(context: Context) -> Iterable[Found]:
    metrics = context.paths.config.metrics
    if not (metrics.socket or metrics.port):
        return
    try:
        found = context.status
    except Unavailable as error:
        if MAY_NOT in error.reason:
            yield notice(str(error), run("sudo sluicegate doctor" + _here(context)))
        elif NOT_OURS in error.reason:
            yield warn(str(error), run(RESTART))
        else:
            yield notice(str(error), run("systemctl start sluicegate"))
    else:
        yield good(f"agent {found.get('agent')} runs")


def _runs(context: Context) -> bool:
    metrics = context.paths.config.metrics
    if not (metrics.socket or metrics.port):
        return False
    try:
        return bool(context.status)
    except Unavailable:
        return False


def _version(context: Context) -> Iterable[Found]:
    if not _runs(context):
        return
    running = str(context.status.get("agent"))
    if running == VERSION:
        yield good(running)
    else:
        yield warn(f"{running} runs, {VERSION} is installed", run(RESTART))


def _problems(context: Context) -> Iterable[Found]:
    if not _runs(context):
        return
    problems = context.status.get("problems")
    told = [str(one) for one in problems] if isinstance(problems, list) else []
    for one in told:
        fix = "mend what it names: " + run(f"sluicegate doctor{_about(context, one)}")
        yield warn(f"the agent says: {one}", fix, one.partition(":")[0])
    if not told:
        yield good("it has none")


def _here(context: Context) -> str:
    return f" -c {quoted(context.config_file)}"


def _about(context: Context, problem: str) -> str:
    """Return the options of a doctor who looks at what a problem is about."""
    config = context.paths.config
    word = problem.partition(":")[0].partition(" ")[0]
    groups = {can.name: "can" for can in config.can}
    groups |= {link.name: "modbus" for link in config.modbus}
    groups |= {tap.name: "modbus" for tap in config.tap}
    group = (groups | PROBLEMS).get(word, "")
    if " closed: " in problem:  # a destination whose recipients' cards are not good
        group = "recipients"
    where = _here(context)
    return where + (f" --only {group}" if group else "")


def _autonomy(context: Context) -> Iterable[Found]:
    if not _runs(context):
        return
    hours = context.status.get("autonomy_h")
    most = context.paths.config.spool.max_bytes
    if not isinstance(hours, int | float) or hours < 0:
        return  # nothing was made yet
    if hours < HOURS_MIN:
        said = f"without a broker, data are shed after {hours:.1f} hours"
        times = min(int(HOURS_MIN / max(hours, 0.1)) + 1, 64)
        yield warn(said, put("max_bytes", most * times, "[spool]"))
    else:
        yield good(f"{hours:.0f} hours")


def _receipts(context: Context) -> Iterable[Found]:
    """Online, and what was sent long ago has no receipt: the collector is away."""
    if not _runs(context):
        return
    status = context.status
    oldest, now = status.get("oldest_ns"), context.host.clock.now_ns()
    late = isinstance(oldest, int) and oldest and now - oldest > STALL_NS
    if status.get("online") and late:
        context.host.pause(LOOK_AGAIN_S)
        if context.fetch_status().get("oldest_ns") != oldest:
            yield good("a backlog is being received")
            return
        count = status.get("spool_records", 0)
        said = f"{count} messages were sent and have no receipt for 10 minutes"
        fix = "start the collector, or let it be a recipient of the policy: " + run(
            "sluicectl collect --help"
        )
        yield bad(said, fix)
    elif status.get("online"):
        yield good("receipts come")


NEEDS: Final = ("config.parse", "status.answers")
CHECKS: Final = (
    Check(
        "status.configured",
        "whether a status socket is configured",
        "nobody can ask the agent how it is",
        "set `socket` under `[metrics]`",
        _configured,
        ("config.parse",),
    ),
    Check(
        "status.folder",
        "the place of the status socket",
        "the agent does not start",
        "`install -d` the folder for the agent's user; `mv` what lies there",
        _folder,
        ("config.parse",),
    ),
    Check(
        "status.answers",
        "whether a running agent answers",
        "it does not run",
        "`systemctl start sluicegate`",
        _answers,
        ("config.parse",),
    ),
    Check(
        "status.version",
        "whether what runs is what is installed",
        "an upgrade does not hold yet",
        "`systemctl restart sluicegate`",
        _version,
        NEEDS,
    ),
    Check(
        "status.problems",
        "what the running agent says is wrong",
        "something that the agent itself has met",
        "mend what it names",
        _problems,
        NEEDS,
    ),
    Check(
        "status.autonomy",
        "how long the spool lasts without a broker",
        "a short outage costs data",
        "set `max_bytes` higher under `[spool]`",
        _autonomy,
        NEEDS,
    ),
    Check(
        "status.receipts",
        "whether the collector confirms what is sent",
        "the spool fills although the broker is there",
        "start the collector",
        _receipts,
        NEEDS,
    ),
)
