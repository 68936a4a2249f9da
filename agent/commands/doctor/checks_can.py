"""CAN: kernel, interfaces, controllers, and the kernel's queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.opening import open_bus
from agent.adapters.socketcan import BUFFER_BYTES
from agent.commands.doctor.model import (
    Check,
    bad,
    good,
    notice,
    put,
    run,
    skipped,
    warn,
)
from agent.errors import BadInput, Unavailable
from protocols.can.socketcan import CANFD_MTU

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found
    from agent.config import Can
    from protocols.can.netlink import CanLink

SOCKETCAN: Final = "socketcan"
VIRTUAL: Final = frozenset({"vcan", "vxcan"})
RESTART_MS: Final = 100
BUFFER_SYSCTL: Final = "net.core.rmem_max"
WIRING: Final = (
    "check bit rate, wiring and the two 120 ohm terminators, and that a second node is"
    " there to acknowledge"
)


def channel(can: Can) -> str:
    """Return the name of the kernel's interface."""
    return can.channel or can.name


def _socketcan(context: Context) -> list[Can]:
    return [can for can in context.paths.config.can if can.interface == SOCKETCAN]


def _kernel(context: Context) -> Iterable[Found]:
    if not _socketcan(context):
        return
    reason = context.host.can_reason()
    if reason:
        yield bad(f"no CAN socket: {reason}", run("modprobe can_raw"))
    else:
        yield good("the kernel has raw CAN")


def _interface(context: Context) -> Iterable[Found]:
    host = context.host
    for can in _socketcan(context):
        name = channel(can)
        link = host.link(name)
        if link.is_can:
            yield good("is there", name)
            continue
        ours = {channel(one) for one in _socketcan(context)}
        free = [one for one in host.can_interfaces() if one not in ours]
        fix = f"plug the adapter of {name} in; `dmesg | grep -i can` says what was seen"
        if free:
            fix = put("channel", free[0], f"[[can]] {can.name}")
        elif name.startswith("vcan"):
            fix = run(f"ip link add dev {name} type vcan")
        if not link.exists:
            yield bad(f"{name}: no such interface", fix, name)
        else:
            yield bad(f"{name}: is no CAN interface", fix, name)


def _present(context: Context) -> Iterator[tuple[Can, str, CanLink]]:
    """Yield every configured interface that is there."""
    for can in _socketcan(context):
        name = channel(can)
        link = context.host.link(name)
        if link.is_can:
            yield can, name, link


def _absent(context: Context) -> Iterator[Found]:
    """Yield why nothing can be said of interfaces that are not there."""
    present = {name for _, name, _ in _present(context)}
    for can in _socketcan(context):
        if channel(can) not in present:
            yield skipped("can.interface is bad", channel(can))


def rates(can: Can, link: CanLink) -> str:
    """Return what ``ip`` is to be told of bit rates, "" where nothing is known."""
    out = ""
    if can.bitrate:
        out = f" type can bitrate {can.bitrate}"
        if can.data_bitrate:
            out += f" dbitrate {can.data_bitrate} fd on"
    elif not link.bitrate:
        out = " type can bitrate BITRATE"
    return out


def _up(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for can, name, link in _present(context):
        if link.up:
            yield good("is up", name)
            continue
        how = "" if link.kind in VIRTUAL else rates(can, link)
        fix = run(f"ip link set dev {name} up{how}")
        if "BITRATE" in how:
            fix += ", where BITRATE is the bus's"
        yield bad(f"{name}: is down", fix, name)


def _again(name: str, what: str) -> str:
    """Return how to change a controller: only while its interface is down."""
    return run(
        f"ip link set dev {name} down",
        f"ip link set dev {name} type can {what}",
        f"ip link set dev {name} up",
    )


def _bitrate(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for can, name, link in _present(context):
        if not (can.bitrate and link.bitrate):
            continue  # nobody said, or it has none: virtual, or down and in can.up
        if link.bitrate == can.bitrate:
            yield good(f"{link.bitrate} bit/s", name)
            continue
        said = f"{name}: {link.bitrate} bit/s, and bitrate says {can.bitrate}"
        yield bad(said, _again(name, f"bitrate {can.bitrate}"), name)


def _data_bitrate(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for can, name, link in _present(context):
        if not (can.data_bitrate and link.bitrate):
            continue
        if link.data_bitrate == can.data_bitrate:
            yield good(f"{link.data_bitrate} bit/s", name)
            continue
        said = (
            f"{name}: {link.data_bitrate} bit/s, and data_bitrate says"
            f" {can.data_bitrate}"
        )
        rate = can.bitrate or link.bitrate
        what = f"bitrate {rate} dbitrate {can.data_bitrate} fd on"
        yield bad(said, _again(name, what), name)


def _state(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for _, name, link in _present(context):
        if link.state == "bus-off":
            fix = run(f"ip link set dev {name} type can restart") + f", and {WIRING}"
            yield bad(f"{name}: bus-off: it hears nothing", fix, name)
        elif link.state == "error-passive":
            yield bad(f"{name}: error-passive: hardly any frame is whole", WIRING, name)
        elif link.state == "error-warning":
            yield warn(f"{name}: error-warning: many frames are broken", WIRING, name)
        elif link.up:
            yield good(link.state or "it has no controller", name)


def _restart(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for _, name, link in _present(context):
        if not link.bitrate:
            continue
        if link.restart_ms:
            yield good(f"after {link.restart_ms} ms", name)
        else:
            said = f"{name}: restart-ms is 0: after bus-off it stays deaf"
            yield warn(said, _again(name, f"restart-ms {RESTART_MS}"), name)


def _listen_only(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for _, name, link in _present(context):
        if not link.bitrate:
            continue
        if link.listen_only:
            yield good("the controller cannot send", name)
        else:
            said = f"{name}: the controller acknowledges frames (the agent sends none)"
            fix = _again(name, "listen-only on") + ", where another node acknowledges"
            yield notice(said, fix, name)


def _fd(context: Context) -> Iterable[Found]:
    yield from _absent(context)
    for can, name, link in _present(context):
        if not can.fd:
            continue
        if link.is_fd:
            yield good(f"mtu {link.mtu}", name)
            continue
        said = f"{name}: fd = true, and mtu {link.mtu} lets no CAN FD frame in"
        if not link.bitrate:
            commands = (
                f"ip link set dev {name} down",
                f"ip link set dev {name} mtu {CANFD_MTU}",
            )
            yield bad(said, run(*commands, f"ip link set dev {name} up"), name)
            continue
        rate = can.bitrate or link.bitrate
        what = f"bitrate {rate} dbitrate {can.data_bitrate or rate} fd on"
        yield bad(said, _again(name, what), name)


def _buffer(context: Context) -> Iterable[Found]:
    if not (_socketcan(context) or context.paths.config.tap):
        return
    found = context.host.sysctl(BUFFER_SYSCTL)
    if found < 0:
        yield skipped(f"{BUFFER_SYSCTL} cannot be read")
    elif found < BUFFER_BYTES:
        said = f"{BUFFER_SYSCTL} is {found}: bursts are lost that the agent could take"
        setting = f"{BUFFER_SYSCTL}={BUFFER_BYTES}"
        keep = f"echo {setting} > /etc/sysctl.d/60-sluicegate-doctor.conf"
        yield warn(said, run(f"sysctl -w {setting}", keep))
    else:
        yield good(f"{BUFFER_SYSCTL} is {found}")


def _open(context: Context) -> Iterable[Found]:
    present = {can.name for can, _, link in _present(context) if link.up}
    for number, can in enumerate(context.paths.config.can):
        if can.interface == SOCKETCAN and can.name not in present:
            yield skipped("can.interface or can.up is bad", can.name)
            continue
        try:
            open_bus(can, number).close()
        except (BadInput, Unavailable) as error:
            fix = f"mend `interface`, `channel` or `options` under `[[can]] {can.name}`"
            yield bad(str(error), fix, can.name)
        else:
            yield good(f"{can.interface} opens", can.name)


NEEDS: Final = ("config.parse", "can.kernel")
CHECKS: Final = (
    Check(
        "can.kernel",
        "whether the kernel has raw CAN sockets",
        "no bus can be read",
        run("modprobe can_raw"),
        _kernel,
        ("config.parse",),
    ),
    Check(
        "can.interface",
        "whether every configured CAN interface is there, and is CAN",
        "the bus is not read",
        "set `channel`, or plug the adapter in",
        _interface,
        NEEDS,
    ),
    Check(
        "can.up",
        "whether the interfaces are up",
        "the bus is not read",
        "`ip link set dev NAME up type can bitrate BITRATE`",
        _up,
        NEEDS,
    ),
    Check(
        "can.bitrate",
        "the bit rate against `bitrate` of the configuration",
        "nothing whole is heard, and other nodes may be disturbed",
        "`ip link set dev NAME type can bitrate BITRATE`",
        _bitrate,
        NEEDS,
    ),
    Check(
        "can.data_bitrate",
        "the bit rate of CAN FD's data phase against `data_bitrate`",
        "no CAN FD frame is heard",
        "`ip link set dev NAME type can ... dbitrate RATE fd on`",
        _data_bitrate,
        NEEDS,
    ),
    Check(
        "can.state",
        "the controller's error state",
        "error-passive: hardly any frame is whole; bus-off: none is heard",
        "mend the bus; `ip link set dev NAME type can restart` after bus-off",
        _state,
        NEEDS,
    ),
    Check(
        "can.restart",
        "whether the controller comes back after bus-off",
        "it stays deaf until somebody restarts it",
        "`ip link set dev NAME type can restart-ms 100`",
        _restart,
        NEEDS,
    ),
    Check(
        "can.listen_only",
        "whether the controller can send at all",
        "it acknowledges frames; the agent itself never sends",
        "`ip link set dev NAME type can listen-only on`",
        _listen_only,
        NEEDS,
    ),
    Check(
        "can.fd",
        "whether an interface with `fd = true` takes CAN FD frames",
        "CAN FD frames are not heard",
        "`ip link set dev NAME type can ... fd on`",
        _fd,
        NEEDS,
    ),
    Check(
        "can.queue",
        "`net.core.rmem_max` against the buffer that the agent wants",
        "bursts are lost that the agent could take",
        f"`sysctl -w {BUFFER_SYSCTL}=...`",
        _buffer,
        ("config.parse",),
    ),
    Check(
        "can.open",
        "whether every bus opens",
        "the bus is not read",
        "mend its section of the configuration",
        _open,
        ("config.parse",),
    ),
)
