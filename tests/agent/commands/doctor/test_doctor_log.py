"""What doctor tells of the evidence log: how much is here, since when, what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack
import pytest

from agent.commands.doctor.checks_store import _log
from agent.commands.doctor.context import Stored
from agent.store.accounting import State

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE = State(b"", 1, 0, 0, 0, 0, 0, 500, 400, 3 << 20, b"", 0, 0, 0, 0)
HERE = "entries of evidence, 3 MiB"
MADE = {"ts": 1_767_225_600_000_000_000}


@pytest.mark.parametrize(
    ("first", "entry", "told"),
    [
        (0, MADE, "500 entries of evidence, 3 MiB, since 2026-01-01 00:00:00+00:00"),
        (
            120,
            MADE,
            f"380 {HERE}, since 2026-01-01 00:00:00+00:00, 120 before them pruned",
        ),
        (0, {}, "500 entries of evidence, 3 MiB"),
    ],
)
def test_where_the_log_begins_is_told(
    first: int, entry: Mapping[str, int], told: str
) -> None:
    assert _log(Stored(STATE, 0, first, msgpack.packb(entry))) == told


def test_a_log_that_nobody_began_is_told() -> None:
    assert _log(Stored(STATE, 0, 0, b"")) == "500 entries of evidence, 3 MiB"
