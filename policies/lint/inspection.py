"""What lint says of the ``inspection:`` section: SG050 to SG059 of ``rules.py``."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from policies.errors import shown
from policies.lint.findings import finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.lint.findings import Finding

# What tells that the firewall refused something, or that a rule watches it.
TELLS: Final = ("M1", "M2", "M3", "FW")
WIDE_BITS: Final = 7  # a network of this prefix or shorter is as good as anybody


def inspection_findings(compiled: Compiled) -> Iterator[Finding]:
    """Yield what is odd about what the detectors are told."""
    told, policy = compiled.document.model.inspection, compiled.policy
    silent = [one for one in TELLS if one in told.off]
    if policy.firewall is not None and silent:
        reason = f"{', '.join(silent)} off: nobody is told of what is refused"
        yield finding(compiled, "SG050", ("inspection", "off"), reason)
    inspection = policy.inspection
    for one in () if inspection is None else inspection.engineering:
        if ipaddress.ip_network(one).prefixlen <= WIDE_BITS:
            reason = f"{shown(one)} is as good as anybody"
            path = ("inspection", "engineering")
            yield finding(compiled, "SG051", path, reason)
