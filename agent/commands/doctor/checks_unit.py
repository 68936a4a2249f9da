"""The systemd unit: enabled, not failed, its limits wide enough."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from agent.adapters.handed import written
from agent.commands.doctor.model import Check, bad, good, notice, run, warn
from agent.config_modbus import listen_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

MIB: Final = 1024 * 1024
FILES_BASE: Final = 64  # store, sockets of broker and status, the interpreter's own
FILES_A_SOURCE: Final = 4
FILES_A_MASTER: Final = 2  # and its side of the device
MEMORY_BASE: Final = 96 * MIB  # the interpreter, the store's cache, one policy
MEMORY_A_SOURCE: Final = 4 * MIB  # its batches and queues
PRIVILEGED: Final = 1024
# Where the unit may write under ProtectSystem=strict (systemd.exec(5)).
WRITABLE: Final = ("/var/lib/sluicegate/", "/var/log/sluicegate/", "/run/sluicegate/")
USUAL: Final = "sluicegate.service"
CLOCK: Final = "sluicegate-clock.socket"
PROXY: Final = "sluicegate-proxy.service"
SOCKET: Final = "sluicegate-proxy.socket"  # opens ports below 1024 for it
NONE: Final = frozenset({"", "infinity", "0"})
TAP_LINES: Final = (
    "AmbientCapabilities=CAP_NET_RAW", "CapabilityBoundingSet=CAP_NET_RAW",
    "PrivateUsers=no", "RestrictAddressFamilies=AF_PACKET",
)  # fmt: skip
SERIAL_LINES: Final = (
    "PrivateDevices=no", "DeviceAllow=char-ttyUSB rw", "DeviceAllow=char-ttyACM rw",
    "DeviceAllow=char-ttyS rw", "SupplementaryGroups=dialout",
)  # fmt: skip


def drop_in(unit: Mapping[str, str], name: str, *lines: str) -> str:
    """Return how to change settings of the unit, so that they stay over upgrades."""
    folder = f"/etc/systemd/system/{unit['Id']}.d"
    text = "".join(f"{line}\\n" for line in ("[Service]", *lines))
    return run(
        f"mkdir -p {folder}",
        f"printf '{text}' > {folder}/{name}.conf",
        "systemctl daemon-reload",
        f"systemctl restart {unit['Id']}",
    )


def _state(context: Context) -> Iterable[Found]:
    unit = context.unit
    if not unit:
        return
    state, name = unit["ActiveState"], unit["Id"]
    if state == "failed":
        fix = run(f"journalctl -u {name} -n 20 --no-pager", f"systemctl restart {name}")
        yield bad(f"{name} has failed", fix)
    elif state in {"active", "activating", "reloading"}:
        yield good(f"{name} is {state}")
    else:
        yield notice(f"{name} is {state}", run(f"systemctl start {name}"))


def _enabled(context: Context) -> Iterable[Found]:
    unit = context.unit
    if not unit:
        return
    if unit["UnitFileState"].startswith("enabled"):
        yield good(f"{unit['Id']} is enabled")
    else:
        said = f"{unit['Id']} is not started at boot"
        yield warn(said, run(f"systemctl enable {unit['Id']}"))


def _watchdog(context: Context) -> Iterable[Found]:
    unit = context.unit
    if not unit:
        return
    if unit["WatchdogUSec"] in NONE:
        said = "an agent that hangs is not restarted"
        yield warn(said, drop_in(unit, "watchdog", "WatchdogSec=30"))
    elif unit["Restart"] in {"no", ""}:
        said = "an agent that ends is not restarted"
        yield warn(said, drop_in(unit, "restart", "Restart=always"))
    else:
        yield good(f"{unit['WatchdogUSec']}, restart {unit['Restart']}")


def _sources(context: Context) -> tuple[int, int]:
    """Return how many sources there are, and how many masters may connect."""
    config = context.paths.config
    masters = sum(link.masters for link in config.modbus if link.mode == "proxy")
    return len(config.can) + len(config.modbus) + len(config.tap), masters


def _files(context: Context) -> Iterable[Found]:
    unit = context.unit
    sources, masters = _sources(context)
    need = FILES_BASE + FILES_A_SOURCE * sources + FILES_A_MASTER * masters
    limit = unit.get("LimitNOFILE", "")
    if limit.isdigit() and int(limit) < need:
        said = (
            f"LimitNOFILE is {limit}; {sources} sources, {masters} masters need {need}"
        )
        wider = 1 << need.bit_length()
        yield bad(said, drop_in(unit, "files", f"LimitNOFILE={wider}"))
    elif unit:
        yield good(f"{limit or 'no limit'}, {need} are needed")


def _memory(context: Context) -> Iterable[Found]:
    unit = context.unit
    need = MEMORY_BASE + MEMORY_A_SOURCE * _sources(context)[0]
    limit = unit.get("MemoryMax", "")
    if limit.isdigit() and int(limit) < need:
        said = f"MemoryMax is {int(limit) // MIB} MiB; {need // MIB} are needed"
        yield warn(said, drop_in(unit, "memory", f"MemoryMax={need // MIB}M"))
    elif unit:
        yield good(f"MemoryMax is {limit or 'not set'}, {need} are needed")


def _capabilities(context: Context) -> Iterable[Found]:
    unit, config = context.unit, context.paths.config
    if not unit or unit["User"] in {"", "root"}:
        return
    given = unit["AmbientCapabilities"].lower().split()
    name = unit["Id"]
    if not any(tap.interface for tap in config.tap):
        return
    if "cap_net_raw" in given:
        yield good(" ".join(given))
    else:
        said = (
            f"a [[tap]] on an interface needs CAP_NET_RAW, which {name} does not give"
        )
        yield bad(said, drop_in(unit, "taps", *TAP_LINES), "cap_net_raw")


def _sockets(context: Context) -> Iterable[Found]:
    """Ports below 1024 are opened by systemd, or bound with a capability."""
    unit = context.unit
    places = [
        written(place)
        for link in context.paths.config.modbus
        if link.mode == "proxy" and (place := listen_address(link))[1] < PRIVILEGED
    ]
    if not unit or not places or unit["User"] in {"", "root"}:
        return
    if "cap_net_bind_service" in unit["AmbientCapabilities"].lower():
        yield good(f"{unit['Id']} may bind {', '.join(places)} itself")
        return
    sockets = [one for one in unit["TriggeredBy"].split() if one.endswith(".socket")]
    if not sockets:
        name = unit["Id"]
        said = f"ports below 1024 are opened by {SOCKET}, which is not for {name}"
        fix = run(f"systemctl disable --now {name}", f"systemctl enable --now {PROXY}")
        yield bad(said, fix)
        return
    opened = context.host.listening(sockets)
    missing = [place for place in places if place not in opened]
    if missing:
        said = f"{', '.join(sockets)} does not open {', '.join(missing)}"
        yield bad(said, _listen(sockets[0], unit["Id"], places))
    else:
        yield good(f"{', '.join(sockets)} opens {', '.join(places)}")


def _listen(sockets: str, service: str, places: list[str]) -> str:
    """Return how to have systemd listen at these addresses, and no others."""
    folder = f"/etc/systemd/system/{sockets}.d"
    lines = ["[Socket]", "ListenStream=", *(f"ListenStream={one}" for one in places)]
    text = "".join(f"{line}\\n" for line in lines)
    return run(
        f"mkdir -p {folder}",
        f"printf '{text}' > {folder}/listen.conf",
        "systemctl daemon-reload",
        f"systemctl stop {sockets} {service}",  # no socket is changed under a service
        f"systemctl start {service}",
    )


def _devices(context: Context) -> Iterable[Found]:
    """A unit with a /dev of its own sees no serial line."""
    unit, config = context.unit, context.paths.config
    lines = [link.device for link in config.modbus if link.kind == "rtu"]
    lines += [tap.device for tap in config.tap if tap.device]
    if not unit or not lines:
        return
    if unit["PrivateDevices"] == "yes":
        said = f"{unit['Id']} has a /dev of its own, without {lines[0]}"
        yield bad(said, drop_in(unit, "serial", *SERIAL_LINES))
    else:
        yield good(f"{unit['Id']} sees /dev")


def _places(context: Context) -> Iterable[Found]:
    """What the agent writes must lie where its unit lets it write."""
    unit, config, of = context.unit, context.paths.config, context.paths.of
    if not unit or unit["ProtectSystem"] != "strict":
        return
    told = {"state_dir": of(config.state_dir)}
    if config.eve is not None:
        told["eve.file"] = of(config.eve.file)
    if config.metrics.socket:
        told["metrics.socket"] = of(config.metrics.socket)
    more = [f"{place.lstrip('-+')}/" for place in unit["ReadWritePaths"].split()]
    wrong = [
        (field, place)
        for field, place in told.items()
        if not f"{place}/".startswith((*WRITABLE, *more))
    ]
    for field, place in wrong:
        folder = place if field == "state_dir" else posixpath.dirname(place)
        said = f"{field} is {place}, where {unit['Id']} may not write"
        yield bad(said, drop_in(unit, "places", f"ReadWritePaths={folder}"), field)
    if not wrong:
        yield good(f"{', '.join(told)} lie where {unit['Id']} may write")


def _clock(context: Context) -> Iterable[Found]:
    """A confined agent may not ask the kernel whether the clock is kept."""
    unit = context.unit
    if not unit or unit["ProtectClock"] != "yes":
        return
    if context.host.clock_helper():
        yield good("the helper answers whether the clock is kept")
    else:
        said = "nobody tells the agent whether the clock is kept: it counts as not kept"
        yield warn(said, run(f"systemctl enable --now {CLOCK}"))


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
        "unit.devices",
        "whether the unit sees the serial lines that are configured",
        "no serial line opens",
        "a drop-in with `PrivateDevices=no` and `DeviceAllow`",
        _devices,
        ("config.parse",),
    ),
    Check(
        "unit.places",
        "whether the unit may write where the configuration says",
        "the agent does not start",
        "a drop-in with `ReadWritePaths`",
        _places,
        ("config.parse",),
    ),
    Check(
        "unit.clock",
        "whether the helper answers that a confined agent asks about the clock",
        "the agent takes the clock for one that nobody keeps",
        f"`systemctl enable --now {CLOCK}`",
        _clock,
    ),
    Check(
        "unit.capabilities",
        "capabilities of the unit for taps",
        "a tap does not open",
        "a drop-in with `AmbientCapabilities`",
        _capabilities,
        ("config.parse",),
    ),
    Check(
        "unit.sockets",
        "whether systemd opens the ports below 1024 that proxied links listen on",
        "masters cannot connect",
        f"`{PROXY}`, a drop-in of `{SOCKET}` with `ListenStream`",
        _sockets,
        ("config.parse",),
    ),
)
