"""Power cuts under load, and an oracle that stands outside of the machine.

Host and guest: ``cycles`` is the host's side; ``prepare``, ``live`` and ``verify`` are
steps. What the host saw on the console before a cut is what the gateway had
acknowledged: the size of its log as its own status told it after a commit, and, by a
subscriber at the broker, every checkpoint that it signed and every message that left.
All of it must be in the log that comes out at the end.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.vm.gateway import FLEET, STATE, Site
from tests.vm.guest import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.vm.guest import Guest
    from tests.vm.host import Host

SITE: Final = "/usr/lib/sluicegate/lib/python3.11/site-packages"
LIFE_S: Final = 300  # a machine that nobody cuts ends its step
LIMIT_S: Final = 240  # machines may be slow
TOLD: Final = re.compile(r"cuts: (\w+) ?(.*)")
MOMENTS: Final = ("cuts: booted", r"cuts: held [1-9]", r"cuts: sent \S+/data")
CANGEN: Final = (("vcan0", "123", "8"), ("vcan1", "124", "64", "-f"))


def unpacked(message: bytes) -> Any:
    """Return what msgpack holds; in the guest by the copy that the package brings."""
    if SITE not in sys.path:
        sys.path.append(SITE)
    import msgpack

    return msgpack.unpackb(message)


@dataclass
class Seen:
    """What was acknowledged, as it was seen from outside."""

    held: int = 0  # entries that were committed
    roots: set[tuple[int, str]] = field(default_factory=set)  # size, root in base64
    sent: set[str] = field(default_factory=set)  # SHA-256 of what left, hexadecimal

    def take(self, lines: Iterable[str]) -> None:
        """Read the console of one life; its last line may be half a line."""
        for line in lines:
            found = TOLD.search(line)
            if found is None:
                continue
            kind, rest = found.groups()
            if kind == "held" and rest.isdigit():
                self.held = max(self.held, int(rest))
            elif kind == "sent":
                self._message(*rest.partition(" ")[::2])

    def _message(self, topic: str, text: str) -> None:
        size, _, body = text.partition(" ")
        if not size.isdigit() or len(body) != 2 * int(size):
            return
        payload, kind = bytes.fromhex(body), topic.rsplit("/", 1)[-1]
        if kind in {"data", "event", "key"}:
            self.sent.add(hashlib.sha256(payload).hexdigest())
        elif kind == "audit":
            note = unpacked(payload)[4].decode()
            _, entries, root, *_ = note.split("\n")
            self.roots.add((int(entries), root))

    def words(self) -> dict[str, object]:
        """Return it as words of a step's order."""
        return {
            "held": self.held,
            "roots": sorted(self.roots),
            "sent": sorted(self.sent),
        }


# --- on the host ----------------------------------------------------------------------


def cycles(h: Host, count: int, seed: int, *, hook: str = "") -> tuple[Path, Seen]:
    """Cut ``count`` times; return the disk as it is after that, and what was seen."""
    rng = random.Random(seed)
    disk = h.disk()
    h.run("prepare", disk, limit_s=LIMIT_S, power_off=True, hook=hook)
    seen = Seen()
    for life in range(count):
        with_broker = life % 3 != 2
        moment = rng.choices(MOMENTS, weights=(1, 1, 2 * with_broker))[0]
        with h.boot("live", disk, with_broker=with_broker) as machine:
            machine.until(moment, LIMIT_S)
            time.sleep(rng.uniform(0.0, 1.5))
            machine.cut()
            seen.take(machine.lines)
    return disk, seen


# --- in the guest ---------------------------------------------------------------------


def prepare(g: Guest, hook: str = "") -> None:
    """Configure the gateway, enrol it; ``hook``: lines that run before the daemon's."""
    site = Site(g)
    site.configure()
    if hook:
        folder = "/etc/systemd/system/sluicegate.service.d"
        code = f'import sys; sys.argv = ["sluicegate", "run"]; {hook}'
        line = f"ExecStart=/usr/lib/sluicegate/bin/python3 -IBc '{code}'"
        g.shell(f"mkdir -p {folder}")
        Path(folder, "hook.conf").write_text(f"[Service]\nExecStart=\n{line}\n")
        g.run("systemctl", "daemon-reload")
    site.begin()
    g.run("systemctl", "stop", "collector", "sluicegate.service")


def live(g: Guest, *, with_broker: bool) -> None:
    """Work under load until the host pulls the plug."""
    g.say("cuts: booted")
    site = Site(g)
    site.buses_up()
    generators = [
        subprocess.Popen(
            ["cangen", bus, "-I", identifier, "-L", length, *more, "-g", "1", "-D", "i"]
        )
        for bus, identifier, length, *more in CANGEN
    ]
    if with_broker:
        site.broker()
        time.sleep(0.3)
        words = ["-t", f"sg/1/{FLEET}/#", "-q", "1", "-F", "cuts: sent %t %l %x"]
        generators.append(subprocess.Popen(["mosquitto_sub", *words]))
        site.collector()
    end_s = time.monotonic() + LIFE_S
    while time.monotonic() < end_s:
        with contextlib.suppress(Failed):
            g.say(f"cuts: held {int(site.metric('evidence_entries'))}")
        time.sleep(0.05)
    for one in generators:
        one.kill()


def verify(
    g: Guest,
    held: int,
    roots: Sequence[tuple[int, str]],
    sent: Sequence[str],
    cuts: int,
) -> None:
    """Start once more, drain, and hold the log against what was seen outside."""
    site = Site(g)
    g.until("the service is up by itself", site.is_active, 60)
    site.buses_up()
    site.broker()
    site.collector()
    site.drained(90)
    g.run("systemctl", "stop", "sluicegate.service", "collector")
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"])
    logs = [row[0] for row in site.ledger("SELECT log FROM logs")]
    g.need("one log: never forked, never begun anew", len(logs) == 1)
    entries = [
        bytes(row[0])
        for row in site.ledger("SELECT body FROM entries ORDER BY position")
    ]
    lost = lost_of(entries, held, roots, sent)
    g.check("nothing committed was lost", not any(lost.values()), cuts=cuts,
            entries=len(entries), checkpoints=len(roots), messages=len(sent),
            held=held, **lost)  # fmt: skip
    boots = [f for f in map(unpacked, entries) if f["type"] == "boot"]
    g.check("it started after the cuts", len(boots) > cuts // 2, starts=len(boots))
    g.check("no store was set aside", not list(STATE.glob("store.db.*damaged*")))


def lost_of(
    entries: Sequence[bytes],
    held: int,
    roots: Sequence[tuple[int, str]],
    sent: Sequence[str],
) -> dict[str, int]:
    """Return how much of what was acknowledged is not in the log, by kind."""
    facts = [unpacked(entry) for entry in entries]
    named = {fact["sha256"].hex() for fact in facts if "sha256" in fact}
    ours = roots_of(entries, {size for size, _ in roots})
    return {
        "entries_lost": max(held - len(entries), 0),
        "checkpoints_broken": sum(ours.get(size) != root for size, root in roots),
        "messages_unnamed": len(set(sent) - named),
    }


def roots_of(entries: Sequence[bytes], sizes: set[int]) -> dict[int, str]:
    """Return the RFC 6962 roots in base64 of the first ``size`` entries, by size."""
    found: dict[int, str] = {}
    peaks: list[tuple[int, bytes]] = []  # height and hash, falling
    for size, entry in enumerate(entries, 1):
        node: tuple[int, bytes] = (0, hashlib.sha256(b"\0" + entry).digest())
        while peaks and peaks[-1][0] == node[0]:
            left = peaks.pop()
            node = (node[0] + 1, hashlib.sha256(b"\1" + left[1] + node[1]).digest())
        peaks.append(node)
        if size in sizes:
            root = peaks[-1][1]
            for _, left_hash in reversed(peaks[:-1]):
                root = hashlib.sha256(b"\1" + left_hash + root).digest()
            found[size] = base64.b64encode(root).decode()
    return found
