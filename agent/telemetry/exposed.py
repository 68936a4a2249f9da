"""Reads the Prometheus page of an agent back (text exposition format 0.0.4). Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROWS_MAX: Final = 100_000
PREFIX: Final = "sluicegate_"

_ROW: Final = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_PAIR: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPE: Final = re.compile(r"\\(.)")
_UNESCAPED: Final = {"n": "\n"}


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of the page; ``name`` without the prefix that all of ours have."""

    name: str
    labels: Mapping[str, str]
    value: float


class Page:
    """The rows of one page, and sums over them."""

    def __init__(self, rows: list[Row]) -> None:
        """Take parsed rows."""
        self.rows = rows

    def value(self, name: str, default: float = 0.0) -> float:
        """Return the one value of ``name``; ``default`` where it is not there."""
        return next((row.value for row in self.rows if row.name == name), default)

    def summed(
        self, name: str, key: Callable[[Mapping[str, str]], tuple[str, ...] | None]
    ) -> dict[tuple[str, ...], float]:
        """Return the sums of ``name`` by ``key`` of labels; None leaves a row out."""
        sums: dict[tuple[str, ...], float] = {}
        for row in self.rows:
            if row.name == name and (of := key(row.labels)) is not None:
                sums[of] = sums.get(of, 0.0) + row.value
        return sums


def parse_page(text: str) -> Page:
    """Return the page; WireError where a line is not of the format."""
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        if len(rows) >= ROWS_MAX:
            raise WireError(f"metrics, line {number}", f"more than {ROWS_MAX} rows")
        rows.append(_row(line, number))
    return Page(rows)


def _row(line: str, number: int) -> Row:
    found = _ROW.fullmatch(line)
    if found is None:
        raise WireError(f"metrics, line {number}", "is no sample")
    name, labels, told = found.groups()
    try:
        value = float(told)
    except ValueError:
        raise WireError(f"metrics, line {number}", "has no number") from None
    if not math.isfinite(value):
        raise WireError(f"metrics, line {number}", "has no finite number")
    return Row(name.removeprefix(PREFIX), _labels(labels or "", number), value)


def _labels(text: str, number: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise WireError(f"metrics, line {number}", "has a broken label")
        labels[pair[1]] = _ESCAPE.sub(
            lambda one: _UNESCAPED.get(one[1], one[1]), pair[2]
        )
        at = pair.end()
    return labels
