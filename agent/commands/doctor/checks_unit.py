"""The systemd unit: enabled, not failed, its limits wide enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.commands.doctor.host import UNIT
from agent.commands.doctor.model import Check, bad, good, notice, run, warn
from agent.config_modbus import listen_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

MIB: Final = 1024 * 1024
FILES_BASE: Final = 64  # store, sockets of broker and status, the interpreter's own
FILES_A_SOURCE: Final = 4
FILES_A_MASTER: Final = 2  # and its side of the device
MEMORY_BASE: Final = 96 * MIB  # the interpreter, the store's cache, one policy
MEMORY_A_SOURCE: Final = 4 * MIB  # its batches and queues
PRIVILEGED: Final = 1024
DROP_IN: Final = f"/etc/systemd/system/{UNIT}.d"
RELOAD: Final = ("systemctl daemon-reload", "systemctl restart sluicegate")
NONE: Final = frozenset({"", "infinity", "0"})


def drop_in(setting: str, value: object, *then: str) -> str:
    """Return how to change one setting of the unit, to stay over upgrades."""
    text = f"[Service]\\n{setting}={value}\\n"
    file = f"{DROP_IN}/{setting.lower()}.conf"
    return run(f"mkdir -p {DROP_IN}", f"printf '{text}' > {file}", *(then or RELOAD))


def _state(context: Context) -> Iterable[Found]:
    unit = context.host.unit()
    if not unit:
        return
    state = unit.get("ActiveState", "")
    if state == "failed":
        fix = run(f"journalctl -u {UNIT} -n 20 --no-pager", f"systemctl restart {UNIT}")
        yield bad(f"{UNIT} has failed", fix)
    elif state in {"active", "activating", "reloading"}:
        yield good(state)
    else:
        yield notice(f"{UNIT} is {state}", run(f"systemctl start {UNIT}"))


def _enabled(context: Context) -> Iterable[Found]:
    unit = context.host.unit()
    if not unit:
        return
    state = unit.get("UnitFileState", "")
    if state.startswith("enabled"):
        yield good(state)
    else:
        yield warn(f"{UNIT} is not started at boot", run(f"systemctl enable {UNIT}"))


def _watchdog(context: Context) -> Iterable[Found]:
    unit = context.host.unit()
    if not unit:
        return
    if unit.get("WatchdogUSec", "") in NONE:
        said = "an agent that hangs is not restarted"
        yield warn(said, drop_in("WatchdogSec", 30))
    elif unit.get("Restart", "no") in {"no", ""}:
        yield warn("an agent that ends is not restarted", drop_in("Restart", "always"))
    else:
        yield good(f"{unit['WatchdogUSec']}, restart {unit['Restart']}")


def _sources(context: Context) -> tuple[int, int]:
    """Return how many sources there are, and how many masters may connect."""
    config = context.paths.config
    masters = sum(link.masters for link in config.modbus if link.mode == "proxy")
    return len(config.can) + len(config.modbus) + len(config.tap), masters


def _files(context: Context) -> Iterable[Found]:
    limit = context.host.unit().get("LimitNOFILE", "")
    sources, masters = _sources(context)
    need = FILES_BASE + FILES_A_SOURCE * sources + FILES_A_MASTER * masters
    if not limit.isdigit():
        if limit:
            yield good("no limit")
    elif int(limit) < need:
        said = (
            f"LimitNOFILE is {limit}, {sources} sources and {masters} masters need"
            f" {need}"
        )
        yield bad(said, drop_in("LimitNOFILE", 1 << need.bit_length()))
    else:
        yield good(f"{limit}, {need} are needed")


def _memory(context: Context) -> Iterable[Found]:
    limit = context.host.unit().get("MemoryMax", "")
    need = MEMORY_BASE + MEMORY_A_SOURCE * _sources(context)[0]
    if not limit.isdigit():
        if limit:
            yield good("no limit")
    elif int(limit) < need:
        said = (
            f"MemoryMax is {int(limit) // MIB} MiB, this configuration needs"
            f" {need // MIB}"
        )
        yield warn(said, drop_in("MemoryMax", f"{need // MIB}M"))
    else:
        yield good(f"{int(limit) // MIB} MiB, {need // MIB} are needed")


def _capabilities(context: Context) -> Iterable[Found]:
    unit, config = context.host.unit(), context.paths.config
    if not unit or unit.get("User", "") in {"", "root"}:
        return
    wanted = {}
    if any(tap.interface for tap in config.tap):
        wanted["cap_net_raw"] = "a [[tap]] on an interface"
    if any(
        link.mode == "proxy" and listen_address(link)[1] < PRIVILEGED
        for link in config.modbus
    ):
        wanted["cap_net_bind_service"] = "a proxy on a port below 1024"
    given = unit.get("AmbientCapabilities", "").lower().split()
    missing = [one for one in wanted if one not in given]
    for one in missing:
        said = f"{wanted[one]} needs {one.upper()}, which {UNIT} does not give"
        all_of = " ".join(map(str.upper, [*given, *missing]))
        text = f"[Service]\\nAmbientCapabilities={all_of}\\n"
        text += f"CapabilityBoundingSet={all_of}\\n"
        file = f"{DROP_IN}/capabilities.conf"
        fix = run(f"mkdir -p {DROP_IN}", f"printf '{text}' > {file}", *RELOAD)
        yield bad(said, fix, one)
    if wanted and not missing:
        yield good(" ".join(wanted))


CHECKS: Final = (
    Check(
        "unit.state",
        "the state of the unit",
        "the agent does not run",
        "`journalctl -u sluicegate`, `systemctl restart sluicegate`",
        _state,
    ),
    Check(
        "unit.enabled",
        "whether the unit starts at boot",
        "the agent does not come back",
        "`systemctl enable sluicegate`",
        _enabled,
    ),
    Check(
        "unit.watchdog",
        "watchdog and restart of the unit",
        "an agent that hangs or ends stays so",
        "a drop-in with `WatchdogSec`, `Restart`",
        _watchdog,
    ),
    Check(
        "unit.files",
        "`LimitNOFILE` against what the configuration can open",
        "masters or sources are refused",
        "a drop-in with `LimitNOFILE`",
        _files,
        ("config.parse",),
    ),
    Check(
        "unit.memory",
        "`MemoryMax` against what the configuration needs",
        "the kernel ends the agent",
        "a drop-in with `MemoryMax`",
        _memory,
        ("config.parse",),
    ),
    Check(
        "unit.capabilities",
        "capabilities of the unit for taps and ports below 1024",
        "a tap or a listener does not open",
        "a drop-in with `AmbientCapabilities`",
        _capabilities,
        ("config.parse",),
    ),
)
