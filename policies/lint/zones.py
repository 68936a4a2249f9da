"""Lint of what a policy says of places: zones, hysteresis, regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.datum import LATITUDES, LONGITUDES, is_shifted
from policies.lint.findings import finding
from policies.model import Step, ZonesStep
from policies.quantities import hysteresis_ns
from policies.rules import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.lint.findings import Finding
    from policies.model import Rule
    from policies.yaml_tree import Path


def zone_findings(compiled: Compiled) -> Iterator[Finding]:
    """Yield what is odd about zones and how rules use them."""
    for name, zone in compiled.document.model.zones.items():
        points = [point for polygon in zone.polygons for point in polygon]
        outside = sum(not is_shifted(point) for point in points)
        if zone.datum == "GCJ-02" and outside:
            box = (
                f"{LATITUDES[0]:g} to {LATITUDES[1]:g} N,"
                f" {LONGITUDES[0]:g} to {LONGITUDES[1]:g} E"
            )
            reason = (
                f"{outside} of {len(points)} points lie outside {box}, where GCJ-02 is"
                " WGS-84: check the order of latitude and longitude, or say WGS-84"
            )
            yield finding(compiled, "SG016", ("zones", name), reason)
    for number, rule in enumerate(compiled.document.model.rules):
        path: Path = ("rules", number)
        yield from _hysteresis(compiled, rule, path)
        regions = listed(rule.match.region)
        busy = any(form.number == number for form in compiled.forms)
        if regions and not busy:
            reason = f"no destination of this rule lies in {', '.join(regions)}"
            yield finding(compiled, "SG015", (*path, "match", "region"), reason)


def _hysteresis(compiled: Compiled, rule: Rule, path: Path) -> Iterator[Finding]:
    given = {(*path, "match", "hysteresis"): rule.match.hysteresis}
    for index, step in enumerate(rule.do):
        zones = step.drop_zones if isinstance(step, Step) else None
        if isinstance(zones, ZonesStep):
            here = (*path, "do", index, "drop_zones", "hysteresis")
            given[here] = zones.hysteresis
    for place, text in given.items():
        if text is not None and not hysteresis_ns(text):
            reason = "0s lets a position that jitters at the border open the zone"
            yield finding(compiled, "SG017", place, f"{reason}: give 60s or so")
