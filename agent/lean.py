"""What libraries load on their way and the daemon never uses, left out before they ask.

A gateway pays for each module at every start, in time and for as long as the daemon
lives in memory. ``bench/start.py`` measures the start; ``tests/agent/test_lean.py``
holds that what is left out here is still asked for, and that the rest works without.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import sys
import urllib
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

ABSENT: Final = (
    "asammdf",  # python-can would find it and bring pandas: 100 MiB. No MF4 is read.
)
ANNOTATIONS: Final = (
    "numpy._typing",  # builds types by the thousand that only a type checker reads
    "numpy.typing",  # their public names
)
DOCSTRINGS: Final = (
    "numpy._core._add_newdocs",  # of functions in C, put on them one by one
    "numpy._core._add_newdocs_scalars",
)
PROXIES: Final = "urllib.request"  # paho's, for SOCKS alone; brings http and email


class _Annotations(ModuleType):
    """Stands for a module of which only annotations take names."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return list  # which takes [...]


class _Proxies(ModuleType):
    """No proxies; the whole module for who asks for more, as a bus's driver may."""

    getproxies = dict

    def __getattr__(self, name: str) -> object:
        """Return what the whole module has of this name."""
        if name.startswith("__"):  # Python's own questions
            raise AttributeError(name)
        if sys.modules.get(PROXIES) is self:
            del sys.modules[PROXIES]
        return getattr(importlib.import_module(PROXIES), name)


def leave_out() -> None:
    """Stand in for these modules, except where they are loaded already."""
    for name in ABSENT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is how Python marks a module as not to be found
    for name in ANNOTATIONS:
        sys.modules.setdefault(name, _Annotations(name))
    for name in DOCSTRINGS:
        sys.modules.setdefault(name, ModuleType(name))
    if PROXIES not in sys.modules:
        sys.modules[PROXIES] = urllib.request = _Proxies(PROXIES)  # type: ignore[attr-defined]  # who asks by either way finds it


@contextlib.contextmanager
def plain_records() -> Iterator[None]:
    """Make dataclasses within in two thirds of the time: a start makes hundreds.

    Each method that the standard library gives one is source text, compiled. Here,
    ``__eq__`` and ``__hash__`` are ones that all share and do the same (as Python 3.11
    does: one NaN in two records is equal), and there is no ``__repr__``: in the daemon
    nobody reads one, and what is not printed does not leak.
    """
    whole = dataclasses.dataclass
    dataclasses.dataclass = _plain_dataclass(whole)
    try:
        yield
    finally:
        dataclasses.dataclass = whole


def _plain_dataclass(whole: Callable[..., Any]) -> Any:  # noqa: ANN401  # an overloaded decorator
    def made(cls: type, how: dict[str, bool]) -> Any:  # noqa: ANN401  # as it is told
        own = how.get("order") or how.get("unsafe_hash") or not how.get("eq", True)
        if own or {"__eq__", "__hash__"} & set(vars(cls)):
            return whole(cls, **how, repr=False)
        done = whole(cls, **{**how, "eq": False}, repr=False)
        fields = dataclasses.fields(done)
        done.__eq__ = _equal(_getter([one.name for one in fields if one.compare]))
        counted = [f.name for f in fields if (f.compare if f.hash is None else f.hash)]
        done.__hash__ = _hash(_getter(counted)) if how.get("frozen") else None
        return done

    def dataclass(cls: type | None = None, /, **how: bool) -> Any:  # noqa: ANN401  # as above
        how.pop("repr", None)
        return (lambda cls: made(cls, how)) if cls is None else made(cls, how)

    return dataclass


def _getter(names: list[str]) -> Callable[[object], tuple[object, ...]]:
    if not names:
        return lambda _: ()
    of = attrgetter(*names)
    return of if len(names) > 1 else (lambda one: (of(one),))


def _equal(of: Callable[[object], tuple[object, ...]]) -> Callable[..., Any]:
    def equal(self: object, other: object) -> bool:
        return of(self) == of(other) if type(other) is type(self) else NotImplemented

    return equal


def _hash(of: Callable[[object], tuple[object, ...]]) -> Callable[..., int]:
    return lambda self: hash(of(self))
