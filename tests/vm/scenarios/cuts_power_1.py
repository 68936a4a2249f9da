"""Ten power cuts under load: it recovers by itself, nothing committed is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.cutting import LIMIT_S, cycles, live, prepare, verify

if TYPE_CHECKING:
    from tests.vm.host import Host

__all__ = ["live", "prepare", "verify"]
CUTS = 10
SEED = 1


def host(h: Host) -> None:
    """Cut, then verify."""
    disk, seen = cycles(h, CUTS, SEED)
    h.run("verify", disk, limit_s=LIMIT_S, cuts=CUTS, **seen.words())
