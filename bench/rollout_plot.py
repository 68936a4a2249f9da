"""Draws a rollout over time as one SVG: devices in each state, a panel a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rollout_steps import Step

WIDTH, HEIGHT, MARGIN, GAP = 300, 190, 46, 34
COLOURS: Final = {
    "active": "#2b7a4b",
    "trial": "#3b6fb6",
    "refused": "#c0392b",
    "reverted": "#d68910",
}


def drawn(steps: Sequence[Step]) -> str:
    """Return the SVG text of panels side by side."""
    whole = len(steps) * (WIDTH + MARGIN) + GAP
    panels = "".join(
        _panel(step, number * (WIDTH + MARGIN) + MARGIN)
        for number, step in enumerate(steps)
    )
    keys = "".join(
        f'<text x="{MARGIN + n * 70}" y="{HEIGHT + 2 * GAP + 14}" fill="{colour}">'
        f"{name}</text>"
        for n, (name, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}"'
        f' height="{HEIGHT + 2 * GAP + 24}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{panels}{keys}</svg>\n'
    )


def _panel(step: Step, left: int) -> str:
    end_s = max(max((at for at, _ in step.moments), default=0.0), 1.0)
    most = max((sum(found.values()) for _, found in step.moments), default=1) or 1
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="'
        + " ".join(
            f"{left + max(at, 0.0) / end_s * WIDTH:.1f},"
            f"{GAP + HEIGHT * (1 - found.get(name, 0) / most):.1f}"
            for at, found in step.moments
        )
        + '"/>'
        for name, colour in COLOURS.items()
    )
    bottom = GAP + HEIGHT
    return (
        f'<text x="{left}" y="{GAP - 10}">{step.name}</text>'
        f'<path d="M{left} {GAP}V{bottom}H{left + WIDTH}" fill="none" stroke="#888"/>'
        f'<text x="{left - 4}" y="{GAP + 9}" text-anchor="end">{most}</text>'
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{left + WIDTH}" y="{bottom + 14}" text-anchor="end">'
        f"{end_s:.0f} s</text>{lines}"
    )
