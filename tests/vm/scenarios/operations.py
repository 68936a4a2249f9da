"""docs/operations.md, command by command, as a new user types it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.tutorial import blocks, differences
from tests.vm.gateway import CTL, ENVIRONMENT
from tests.vm.guest import PACKAGES, PROJECT

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

LONG = True  # by name, or with --all
BARE = True  # it begins with the installation
PAGE = PROJECT / "docs" / "operations.md"
DESK = Path("/usr/local/bin/sluicectl")  # the desk's command; the package has none
LIMIT_S = 900


def host(h: Host) -> None:
    """One boot does: what survives boots and power cuts is shown by others."""
    h.run("guest", h.disk(blank=True), limit_s=LIMIT_S + 60)


def guest(g: Guest) -> None:
    """Type it all."""
    python, flag, program = CTL
    exports = "\n".join(f"export {one}" for one in ENVIRONMENT)
    DESK.write_text(f"#!/bin/sh\n{exports}\nexec {python} {flag} '{program}' \"$@\"\n")
    DESK.chmod(0o755)
    root = Path("/root")
    shutil.copy(PACKAGES / "sluicegate.deb", root / "sluicegate_0_amd64.deb")
    written = blocks(PAGE)
    other = differences(written, [body for body, _ in written], root)
    g.check("every command does what the page says", not other, blocks=len(written))
    if other:
        g.say(other)
