"""When a salvaged prefix is still the same log."""

from __future__ import annotations

import pytest

from agent.store.salvage import Anchor, may_continue

GOOD, BAD = b"g" * 32, b"b" * 32


@pytest.mark.parametrize(
    ("readable", "roots", "anchors", "receipted", "continued"),
    [
        (10, {10: GOOD}, [Anchor(10, GOOD)], 10, True),
        (12, {10: GOOD}, [Anchor(4, BAD), Anchor(10, GOOD)], 0, True),
        (12, {}, [], 0, True),  # nothing was ever signed
        (12, {}, [], 13, False),  # but the collector has more
        (9, {}, [Anchor(10, GOOD)], 0, False),  # signed entries are missing
        (12, {10: BAD}, [Anchor(10, GOOD)], 0, False),  # other entries
        (12, {10: GOOD}, [Anchor(10, GOOD)], 13, False),
        (12, {10: GOOD}, None, 0, False),  # checkpoints cannot be read
        (12, {10: GOOD}, [Anchor(10, GOOD)], None, False),
    ],
)
def test_the_rule(
    readable: int,
    roots: dict[int, bytes],
    anchors: list[Anchor] | None,
    receipted: int | None,
    continued: bool,
) -> None:
    decision, why = may_continue(readable, roots, anchors, receipted)
    assert decision is continued
    assert why
