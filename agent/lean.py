"""What libraries load on their way and the daemon never uses, left out before they ask.

A gateway pays for each module at every start, in time and for as long as the daemon
lives in memory. ``bench/start.py`` measures the start; ``tests/agent/test_lean.py``
holds that what is left out here is still asked for, and that the rest works without.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

ABSENT: Final = (
    "asammdf",  # python-can would find it and bring pandas: 100 MiB. No MF4 is read.
)
ANNOTATIONS: Final = (
    "numpy._typing",  # builds types by the thousand that only a type checker reads
    "numpy.typing",  # their public names
)


class _Annotations(ModuleType):
    """Stands for a module of which only annotations take names."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return list  # which takes [...]


def leave_out() -> None:
    """Stand in for these modules, except where they are loaded already."""
    for name in ABSENT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is how Python marks a module as not to be found
    for name in ANNOTATIONS:
        sys.modules.setdefault(name, _Annotations(name))
