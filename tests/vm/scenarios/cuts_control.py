"""The control: cuts of a store that does not wait for its disk are seen to lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.cutting import LIMIT_S, STATE, cycles, live, prepare

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

__all__ = ["live", "prepare"]
LONG = True  # by name, or with --all
CUTS = 3
# What the daemon would be, did it believe that the page cache is a disk.
HOOK = (
    "import agent.adapters.sqlite_store, agent.adapters.sqlite_connection as c;"
    " before = c.connect;"
    " after = lambda *a, **k: (d := before(*a, **k)).execute("
    '"PRAGMA synchronous = OFF") and d;'
    " c.connect = after; from agent.main import main; main()"
)


def host(h: Host) -> None:
    """Cut three times, each on a disk of its own, and count what each one lost."""
    disk, seen = cycles(h, CUTS, 3, hook=HOOK)
    h.run("look", disk, limit_s=LIMIT_S, held=seen.held)


def look(g: Guest, held: int) -> None:
    """Compare what the log has with what its status had told."""
    g.run("systemctl", "stop", "sluicegate.service")
    query = "SELECT evidence_size FROM state"
    left = int(g.run("sqlite3", "-readonly", str(STATE / "store.db"), query))
    g.check("such a store loses, and it is seen", left < held, told=held, left=left)
