"""`sluicegate doctor`: faults on a real machine, its fix lines followed by a script."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.vm.gateway import CONFIG, SERVICE, STATE, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

LONG: Final = True  # by name, or with --all
STEP: Final = re.compile(r"\brun `([^`]+)`")
RED: Final = frozenset({"bad", "warn", "notice"})
ROUNDS: Final = 4  # what cannot be read hides what is absent, and that what is down
DROP_IN: Final = f"/etc/systemd/system/{SERVICE}.d"
FAULTS: Final = {
    "can.interface": "ip link delete vcan0",
    "can.up": "ip link set vcan1 down",
    "can.fd": "ip link set vcan1 down; ip link set vcan1 mtu 16",
    "can.queue": "sysctl -qw net.core.rmem_max=212992",
    "config.permissions": f"chmod o+w {CONFIG}/policy.yaml",
    "config.readable": f"chgrp root {CONFIG}/sluicegate.toml",
    "key.device": f"chmod 644 {STATE}/device.key",
    "state.permissions": f"chmod 755 {STATE}",
    "state.ownership": f"touch {STATE}/made-by-root",
    "unit.clock": "systemctl disable -q --now sluicegate-clock.socket",
    "unit.enabled": f"systemctl disable -q {SERVICE}",
    "unit.files": (
        f"mkdir -p {DROP_IN}; printf '[Service]\\nLimitNOFILE=40\\n' >"
        f" {DROP_IN}/a.conf; systemctl daemon-reload"
    ),
    "clock.zone": "ln -sf /usr/share/zoneinfo/Asia/Shanghai /etc/localtime",
}
DAMAGE: Final = (
    f"systemctl stop {SERVICE}; dd if=/dev/urandom of={STATE}/store.db bs=8192 seek=2"
    " count=4 conv=notrunc status=none"
)
SMALL: Final = (
    f"systemctl stop {SERVICE}; mount -t tmpfs -o size=200m,nr_inodes=200,mode=700"
    f" tmpfs {STATE}; chown sluicegate: {STATE}"
)
FULL: Final = f"dd if=/dev/zero of={STATE}/filler bs=1M count=190 status=none"


def host(h: Host) -> None:
    """One boot; it takes a minute where nothing else runs."""
    h.run("guest", limit_s=300)


def guest(g: Guest) -> None:
    """Look, break, look, mend by what is said, look again."""
    site = Site(g)
    site.configure()
    site.begin()
    found = look(g)
    bad = [
        row["id"] for rows in found.values() for row in rows if row["verdict"] == "bad"
    ]
    g.check("nothing is bad on a gateway that works", not bad, bad=bad)
    user = found["user.identity"][0]["said"]
    g.check(
        "root looks as the agent's user", "looking as sluicegate" in user, said=user
    )
    for fault in FAULTS.values():
        g.shell(fault)
    mend(g, {*FAULTS})
    _broker(g, site)
    _damage(g, site)
    _disk(g)


def _broker(g: Guest, site: Site) -> None:
    g.run("systemctl", "stop", "broker")
    row = worst(look(g, "broker.port"), "broker.port")
    is_red = row["verdict"] == "bad" and "start the broker at 127" in row["fix"]
    g.check("broker.port is red", is_red, said=row["said"])
    site.broker()
    row = worst(look(g, "broker.accept"), "broker.accept")
    g.check("broker.accept is green", row["verdict"] == "good", said=row["said"])


def _damage(g: Guest, site: Site) -> None:
    g.shell(DAMAGE)
    mend(g, {"store.damage"})
    g.until("the service is active", site.is_active, 30)


def _disk(g: Guest) -> None:
    """A small disk: full, without inodes, read-only."""
    g.shell(SMALL)
    g.shell(FULL)
    row = worst(look(g, "disk.free"), "disk.free")
    g.check("disk.free is red", row["verdict"] == "bad", said=row["said"])
    told = re.fullmatch(rf"free (\d+) MiB on {STATE}", row["fix"])
    g.need("its fix says how much", told is not None, fix=row["fix"])
    assert told is not None
    g.shell(f"truncate -s -{told[1]}M {STATE}/filler")
    row = worst(look(g, "disk.free"), "disk.free")
    g.check("disk.free is green", row["verdict"] == "good", said=row["said"])
    names = " ".join(f"{STATE}/{number}" for number in range(150))
    g.run("runuser", "-u", "sluicegate", "--", "touch", *names.split())
    g.shell(f"mount -o remount,ro {STATE}")
    row = worst(look(g, "disk.inodes"), "disk.inodes")
    g.check("disk.inodes is red", row["verdict"] == "bad", said=row["said"])
    mend(g, {"state.writable"})
    told = re.fullmatch(rf"remove (\d+) files on {STATE}", row["fix"])
    g.need("its fix says how many", told is not None, fix=row["fix"])
    assert told is not None
    g.run("rm", *names.split()[: int(told[1])])
    row = worst(look(g, "disk.inodes"), "disk.inodes")
    g.check("disk.inodes is no longer bad", row["verdict"] != "bad", said=row["said"])


def mend(g: Guest, names: set[str]) -> None:
    """Look, want ``names`` red, do what the fix lines say, want them green."""
    red: set[str] = set()
    for _ in range(ROUNDS):
        rows = [one for of in look(g, *names).values() for one in of]
        now = [row for row in rows if row["verdict"] in RED]
        red |= {row["id"] for row in now}
        if not now:
            break
        for row in now:
            for command in STEP.findall(row["fix"].partition(", or ")[0]):
                g.shell(command)
    for name in sorted(names):
        g.check(f"{name} was red", name in red)
    left = {row["id"]: row["said"] for row in now}
    g.check(f"{len(names)} checks are green by their fix lines", not left, left=left)


def look(g: Guest, *only: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the doctor, by id."""
    chosen = [word for name in sorted(only) for word in ("--only", name)]
    text = g.run("sluicegate", "doctor", "--json", *chosen, ok=False)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(text):
        found.setdefault(row["id"], []).append(row)
    return found


def worst(found: dict[str, list[dict[str, Any]]], name: str) -> dict[str, Any]:
    """Return the worst row of a check."""
    order = ["skipped", "good", "notice", "warn", "bad"]
    return max(found[name], key=lambda row: order.index(row["verdict"]))
