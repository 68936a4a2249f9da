"""One row of the table that ``make bench`` prints."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What was measured, ours beside a peer's, and the budget it must keep."""

    what: str
    ours: str  # with its unit
    peer: str  # name of what it is compared with, "" where nothing
    peer_value: str  # with its unit
    ratio: str
    budget: str
    met: bool | None  # None where there is no budget
