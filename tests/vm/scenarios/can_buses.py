"""CAN interfaces that come, go, change names and states; none is ever sent to."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from tests.vm.gateway import CONFIG, SOCKET, Bus, Site
from tests.vm.slcan import Adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vm.guest import Guest
    from tests.vm.host import Host

BUSES: Final = (
    Bus("can0", "vcan0"),
    Bus("can1", "vcan1", fd=True),
    Bus("real", "can0"),
)
FLOOD: Final = 14_000  # frames; the largest buffer holds some 9,400
LIMIT_S: Final = 10


class World:
    """The gateway under test, and what was sent to its buses."""

    def __init__(self, g: Guest) -> None:
        """Start the gateway while there is no interface at all."""
        self.g = g
        self.sent = dict.fromkeys(("vcan0", "vcan1"), 0)
        self.site = site = Site(g)
        g.shell("ip link del vcan0; ip link del vcan1")
        site.configure(BUSES)
        file = CONFIG / "sluicegate.toml"
        text = file.read_text()
        bound = 'channel = "vcan1"\nframes = "bound"\n'
        file.write_text(text.replace('channel = "vcan1"\n', bound))
        g.shell("modprobe vcan; modprobe can_raw; modprobe slcan")
        site.broker()
        site.restart()

    def send(self, interface: str, *frames: str) -> None:
        """Send frames as `cansend` writes them."""
        for frame in frames:
            self.g.run("cansend", interface, frame)
            self.sent[interface] += 1

    def page(self, name: str) -> str:
        """Return a page of the status socket, sooner than a process could."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(SOCKET)
            sock.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
            raw = b""
            while part := sock.recv(65536):
                raw += part
        return raw.split(b"\r\n\r\n", 1)[1].decode()

    def bus(self, name: str) -> dict[str, Any]:
        """Return the state of a bus."""
        buses = json.loads(self.page("status"))["buses"]
        return next(bus for bus in buses if bus["name"] == name)

    def problem(self, name: str) -> str:
        """Return what is wrong with a bus."""
        problems = json.loads(self.page("status"))["problems"]
        return "; ".join(p for p in problems if p.startswith(f"{name}: "))

    def row(self, name: str, *labels: str) -> float:
        """Return the rows of a metric that hold these labels, added up."""
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in self.page("metrics").splitlines()
            if line.startswith(f"sluicegate_{name}{{")
            and all(label in line for label in labels)
        )

    def soon(self, what: str, holds: Callable[[], object]) -> None:
        """Note that something comes true, and how long that took."""
        start_s, came = time.monotonic(), False
        while not came and time.monotonic() - start_s < LIMIT_S:
            came = bool(holds())
        took_ms = round((time.monotonic() - start_s) * 1000)
        self.g.check(what, came, ms=took_ms)


def host(h: Host) -> None:
    """Give it the time that a busy host needs."""
    h.run("guest", limit_s=300)


def guest(g: Guest) -> None:
    """One interface after the other, from nothing to bus-off."""
    world = World(g)
    _hot_plug(world)
    _renamed(world)
    _errors(world)
    _filtered(world)
    _controller(world)
    _flooded(world)
    _silent(world)


def _hot_plug(world: World) -> None:
    g = world.g
    world.soon("an absent bus is told", lambda: "no such" in world.problem("can0"))
    g.shell("ip link add vcan0 type vcan; ip link set vcan0 up")
    world.soon("it is open once it is there", lambda: world.bus("can0")["buffer_bytes"])
    world.send("vcan0", "123#01", "123#02")
    world.soon("its frames come", lambda: world.bus("can0")["frames"] == 2)
    g.run("ip", "link", "set", "vcan0", "down")
    world.soon("down is told", lambda: "interface is down" in world.problem("can0"))
    g.run("ip", "link", "set", "vcan0", "up")
    world.soon("up again is told", lambda: not world.problem("can0"))
    world.send("vcan0", "123#03")
    world.soon("frames flow again", lambda: world.bus("can0")["frames"] == 3)


def _renamed(world: World) -> None:
    g = world.g
    g.shell(
        "ip link set vcan0 down; ip link set vcan0 name other0; ip link set other0 up"
    )
    world.soon(
        "a rename is told",
        lambda: "its interface is called other0 now" in world.problem("can0"),
    )
    g.run("cansend", "other0", "123#04")
    g.shell(
        "ip link set other0 down; ip link set other0 name vcan0; ip link set vcan0 up"
    )
    world.soon("the name is back", lambda: world.bus("can0")["buffer_bytes"])
    world.send("vcan0", "123#05")
    world.soon(
        "what passed under another name is not this bus's",
        lambda: world.bus("can0")["frames"] == 4,
    )
    g.run("ip", "link", "delete", "vcan0")
    world.soon("removal is told", lambda: world.bus("can0")["state"] == "absent")
    alerts = ('detector="D8"', 'level="alert"')
    world.soon("each was a finding", lambda: world.row("findings_total", *alerts) >= 3)
    world.sent["vcan0"] = 0
    g.shell("ip link add vcan0 type vcan; ip link set vcan0 up")
    world.soon(
        "the next of that name is open", lambda: world.bus("can0")["buffer_bytes"]
    )


def _errors(world: World) -> None:
    before = world.row("findings_total", "D8")
    world.send("vcan0", "20000040#", "20000004#0001000000000000")
    world.soon(
        "error frames are counted",
        lambda: world.row("bus_error_frames_total", "can0") == 2,
    )
    world.soon(
        "... and an overrun is a loss of the controller's",
        lambda: world.row("lost_total", "bus can0 controller") == 1,
    )
    world.soon(
        "... and both are findings",
        lambda: world.row("findings_total", "D8") == before + 2,
    )


def _filtered(world: World) -> None:
    g = world.g
    g.shell(
        "ip link add vcan1 type vcan; ip link set vcan1 mtu 72; ip link set vcan1 up"
    )
    world.soon("an FD bus is open", lambda: world.bus("can1")["buffer_bytes"])
    fd = "124##1" + "00" * 64
    world.send("vcan1", "123#01", fd, "00000124#01", "125##100", fd, "124#R")
    world.soon("bound frames pass", lambda: world.bus("can1")["frames"] == 3)
    bus = world.bus("can1")
    g.check("status tells how many filters pass", bus["passes"] == 1, bus=bus)
    world.soon(
        "what is kept off is told",
        lambda: world.row("bus_interface_frames_total", "can1") == 6,
    )
    g.check("... and is no loss", not world.row("lost_total", "bus can1"))


def _controller(world: World) -> None:
    g = world.g
    adapter = Adapter()
    g.run("ip", "link", "set", "can0", "type", "can", "bitrate", "500000")
    g.run("ip", "link", "set", "can0", "up")
    world.soon("a controller is open", lambda: world.bus("real")["buffer_bytes"])
    world.soon("its bit rate is told", lambda: world.bus("real")["bitrate"] == 500_000)
    adapter.say("sp000130")
    world.soon("error-passive", lambda: world.bus("real")["state"] == "error-passive")
    g.check("... is a problem", "error-passive" in world.problem("real"))
    adapter.say("sb000000")
    world.soon("bus-off", lambda: world.bus("real")["state"] == "bus-off")
    told = world.problem("real")
    g.check("... is a problem with its remedy", "can restart" in told, told=told)
    adapter.say("sa000000", "t12321122")
    world.soon("active again", lambda: world.bus("real")["state"] == "error-active")
    errors = world.row("bus_error_frames_total", "real")
    world.soon(
        "frames flow again on the same socket",
        lambda: world.bus("real")["frames"] == errors + 1,
    )
    for state in ("error-passive", "bus-off"):
        count = world.row("bus_state_changes_total", "real", f'"{state}"')
        g.check(f"a change to {state} is counted", count == 1)
    adapter.say("e1o")
    world.soon(
        "an overrun is one loss, by error frame and counter",
        lambda: world.row("lost_total", "bus real controller") == 1,
    )
    time.sleep(1.5)  # the counters were asked for again
    g.check("... and stays one", world.row("lost_total", "bus real controller") == 1)
    g.run("systemctl", "restart", "sluicegate.service")
    world.soon("open after a restart", lambda: world.bus("real")["buffer_bytes"])
    adapter.say("t12321122")
    world.soon("read after a restart", lambda: world.bus("real")["frames"] == 1)
    g.check("the adapter was never asked to send", not adapter.frames())
    adapter.unplug()
    world.soon("unplugged", lambda: world.bus("real")["state"] == "absent")


def _flooded(world: World) -> None:
    """The agent stands still while more comes than the kernel can keep."""
    g = world.g
    pid = world.site.pid()
    os.kill(pid, signal.SIGSTOP)
    g.run("cangen", "vcan0", "-I", "123", "-L", "8", "-g", "0", "-n", str(FLOOD), "-i")
    os.kill(pid, signal.SIGCONT)
    world.sent["vcan0"] += FLOOD

    def sums() -> bool:
        bus = world.bus("can0")
        return bool(bus["lost"] + bus["frames"] == FLOOD)

    world.soon("frames taken and lost are all that were sent", sums)
    bus = world.bus("can0")
    g.check("some were lost", bus["lost"] > 0, lost=bus["lost"], took=bus["frames"])
    lost = world.row("lost_total", '"bus can0"')
    g.check("the metric says the same", lost == bus["lost"])


def _silent(world: World) -> None:
    """No interface has sent a frame but those that were sent here."""
    for name, count in world.sent.items():
        text = world.g.run("ip", "-json", "-statistics", "link", "show", name)
        sent = json.loads(text)[0]["stats64"]["tx"]["packets"]
        world.g.check(f"nothing was sent on {name}", sent == count, sent=sent)
