"""Draws a soak over time as one SVG: a panel a thing, acts as bands and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 92, 58, 40, 34
BANDS: Final = {"outage": "#f5d5d0", "stall": "#fbe9c6"}
LINES: Final = {"kill": "#c0392b", "reload": "#9fb8d8"}
COLOURS: Final = ("#2b7a4b", "#3b6fb6", "#d68910", "#8e44ad")
HOUR_S: Final = 3600.0


class Line(NamedTuple):
    """One line of a panel; a None in ``values`` breaks it."""

    name: str
    seconds: Sequence[float]
    values: Sequence[float | None]


class Panel(NamedTuple):
    """Lines on one scale that begins at 0."""

    title: str
    lines: Sequence[Line]


def drawn(
    panels: Sequence[Panel], acts: Sequence[tuple[float, str]], end_s: float
) -> str:
    """Return the SVG text of panels one below the other, over the same hours."""
    step = HEIGHT + GAP
    body = "".join(
        _panel(panel, TOP + number * step, acts, end_s)
        for number, panel in enumerate(panels)
    )
    height = TOP + len(panels) * step + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}"'
        f' height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{_legend()}{body}</svg>\n'
    )


def _legend() -> str:
    words = []
    for number, (name, colour) in enumerate([*BANDS.items(), *LINES.items()]):
        at = LEFT + number * 130
        told = {"outage": "broker gone", "stall": "broker stalled",
                "kill": "agent killed", "reload": "policy reloaded"}[name]  # fmt: skip
        words.append(
            f'<rect x="{at}" y="6" width="12" height="10" fill="{colour}"/>'
            f'<text x="{at + 17}" y="15">{told}</text>'
        )
    return "".join(words)


def _acts(acts: Sequence[tuple[float, str]], end_s: float, top: int) -> Iterable[str]:
    begun: dict[str, float] = {}
    for second, act in [*acts, *((end_s, f"{name} over") for name in BANDS)]:
        name = act.removesuffix(" over")
        x = LEFT + second / end_s * WIDTH
        if act in LINES:
            yield (
                f'<path d="M{x:.1f} {top}v{HEIGHT}" stroke="{LINES[act]}"'
                f' stroke-width="{1.5 if act == "kill" else 0.6}"/>'
            )
        elif act in BANDS:
            begun.setdefault(act, x)
        elif name in begun:
            start = begun.pop(name)
            yield (
                f'<rect x="{start:.1f}" y="{top}" width="{max(x - start, 1):.1f}"'
                f' height="{HEIGHT}" fill="{BANDS[name]}"/>'
            )


def _panel(
    panel: Panel, top: int, acts: Sequence[tuple[float, str]], end_s: float
) -> str:
    most = max(
        (value for line in panel.lines for value in line.values if value is not None),
        default=0.0,
    )
    most = most or 1.0
    bottom = top + HEIGHT
    lines = "".join(
        _line(line, colour, (top, most, end_s))
        for line, colour in zip(panel.lines, COLOURS, strict=False)
    )
    keys = "".join(
        f'<tspan dx="10" fill="{colour}">{line.name}</tspan>'
        for line, colour in zip(panel.lines, COLOURS, strict=False)
    )
    hours = "".join(
        f'<text x="{LEFT + half * HOUR_S / 2 / end_s * WIDTH:.1f}" y="{bottom + 12}"'
        f' text-anchor="middle" fill="#666">{half / 2:g} h</text>'
        for half in range(1, int(end_s / HOUR_S * 2) + 1)
    )
    return (
        # bands first: a kill within an outage is to be seen
        "".join(
            sorted(_acts(acts, end_s, top), key=lambda one: one.startswith("<path"))
        )
        + f'<text x="{LEFT}" y="{top - 5}"><tspan font-weight="bold">{panel.title}'
        f"</tspan>{keys}</text>"
        f'<path d="M{LEFT} {top}V{bottom}H{LEFT + WIDTH}" fill="none" stroke="#888"/>'
        f'<text x="{LEFT - 4}" y="{top + 9}" text-anchor="end">{most:,.4g}</text>'
        f'<text x="{LEFT - 4}" y="{bottom}" text-anchor="end">0</text>{hours}{lines}'
    )


def _line(line: Line, colour: str, scale: tuple[int, float, float]) -> str:
    top, most, end_s = scale
    path, pen = [], "M"
    for second, value in zip(line.seconds, line.values, strict=True):
        if value is None:
            pen = "M"
            continue
        x = LEFT + second / end_s * WIDTH
        path.append(f"{pen}{x:.1f} {top + HEIGHT * (1 - value / most):.1f}")
        pen = "L"
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
    )
