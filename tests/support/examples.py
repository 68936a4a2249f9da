"""How many examples a property that asks for a number of its own is given."""

from __future__ import annotations

from hypothesis import settings

FEW = "few"


def upto(wanted: int) -> int:
    """Return ``wanted``; under the profile `few`, no more than its own number.

    What a test says of itself goes before the profile, so `make check` would try the
    300 examples of one that is heavy and the few of all others.
    """
    if settings.get_current_profile_name() != FEW:
        return wanted
    return min(wanted, settings().max_examples)
