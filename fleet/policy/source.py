"""Policies as the tools read them: with a gateway's bindings, or with none at hand."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleet.errors import BadInput
from policies.errors import PolicyError
from policies.files import load, load_unbound
from protocols.errors import DatabaseError, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from policies.files import Loaded


@dataclass(frozen=True, slots=True)
class Against:
    """What a policy is compiled against."""

    bindings: tuple[str, ...] = ()  # files or shipped names; none: every category
    databases: Path | None = None
    floor: Path | None = None

    @property
    def is_bound(self) -> bool:
        """Tell whether it is a gateway, or one item for every category."""
        return bool(self.bindings)


def read(policy: str, against: Against, also: tuple[str, ...] = ()) -> Loaded:
    """Return a compiled policy with findings; BadInput where it cannot be.

    ``also``: items to be there where no bindings are given.
    """
    # cantools warns of what is the database's author's to mend; stderr is for errors.
    logging.getLogger("cantools").setLevel(logging.ERROR)
    with bad_input():
        if not against.is_bound:
            return load_unbound(policy, against.floor, also)
        return load(policy, against.bindings, against.floor, against.databases)


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turn what is wrong with a file into one line and exit code 2."""
    try:
        yield
    except (PolicyError, DatabaseError, WireError) as error:
        raise BadInput("", "", str(error)) from None
