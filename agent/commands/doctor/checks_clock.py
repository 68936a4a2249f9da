"""The clock: right, kept right, and in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.clock import AHEAD_OF_FLOOR_NS, BUILD_FLOOR_NS
from agent.commands.doctor.model import Check, bad, good, notice, run, warn
from agent.commands.status import moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

KEEP: Final = run("timedatectl set-ntp true")


def _floor(context: Context) -> Iterable[Found]:
    now_ns = context.host.clock.now_ns()
    if now_ns < BUILD_FLOOR_NS:
        said = f"{moment(now_ns)} is before this version was made"
        yield bad(said, KEEP)
    else:
        yield good(moment(now_ns))


def _synchronised(context: Context) -> Iterable[Found]:
    if context.host.clock.is_synchronised():
        yield good("a time service keeps it")
    else:
        yield warn("no time service keeps it", KEEP)


def _history(context: Context) -> Iterable[Found]:
    """The store knows a time that is past for certain."""
    if not context.store_file.exists():
        return
    floor_ns, now_ns = context.stored.state.clock_floor_ns, context.host.clock.now_ns()
    if not floor_ns:
        return
    if now_ns < floor_ns:
        said = (
            f"{moment(now_ns)} is before {moment(floor_ns)}, which the agent has seen"
        )
        yield bad(said, KEEP)
    elif (
        now_ns > floor_ns + AHEAD_OF_FLOOR_NS
        and not context.host.clock.is_synchronised()
    ):
        said = f"{moment(now_ns)}: more than a year after the agent ran last"
        yield warn(said, KEEP)
    else:
        yield good(f"after {moment(floor_ns)}, which the agent has seen")


def _zone(context: Context) -> Iterable[Found]:
    zone = context.host.zone()
    if zone == "UTC":
        yield good("UTC")
    else:
        said = f"{zone}: the agent's times are UTC, those of other logs are not"
        yield notice(said, run("timedatectl set-timezone UTC"))


def _rtc(context: Context) -> Iterable[Found]:
    if context.host.rtc():
        yield good("there is one")
    else:
        fix = run("systemctl enable --now systemd-timesyncd") + ", which saves the time"
        said = "no clock runs while the power is off: each start begins at an old time"
        yield notice(said, fix)


CHECKS: Final = (
    Check(
        "clock.floor",
        "the clock against the day this version was made",
        "the clock is not believed: no new policy is taken, nothing expires",
        KEEP,
        _floor,
    ),
    Check(
        "clock.sync",
        "whether a time service keeps the clock",
        "the clock will drift; leaps are not believed",
        KEEP,
        _synchronised,
    ),
    Check(
        "clock.history",
        "the clock against the last time that the store has seen",
        "the clock is not believed",
        KEEP,
        _history,
        ("config.parse", "store.schema"),
    ),
    Check(
        "clock.zone",
        "the machine's time zone",
        "times of other logs are not the agent's",
        run("timedatectl set-timezone UTC"),
        _zone,
    ),
    Check(
        "clock.rtc",
        "whether a clock runs while the power is off",
        "each start begins at an old time",
        run("systemctl enable --now systemd-timesyncd"),
        _rtc,
    ),
)
