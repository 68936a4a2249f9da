"""ID1 and ID2: a VIN or serial number passes over OBD-II or UDS (UN R155 19.2, 20.1).

The finding says that it happened, on which bus and by which service; never the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.inspection.findings import CanId, Finding, Level

if TYPE_CHECKING:
    from agent.inspection.findings import View


class IdentifierSeen:
    """A privacy notice for every identifier that a bus carries in the open."""

    def inspect(self, view: View) -> list[Finding]:
        """Return one alert per identifier message."""
        return [
            Finding(
                "ID2" if seen.is_write else "ID1",
                Level.ALERT,
                CanId(seen.bus, seen.ident),
                1,
                seen.time_ns,
                seen.time_ns,
                seen.source,
            )
            for seen in view.identifiers
        ]
