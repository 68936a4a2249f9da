"""Shared fixtures: where the real captures are, and one clear line when absent."""

from __future__ import annotations

import gc
import os
from functools import cache
from pathlib import Path

import pytest
import typer.main
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

ROOT = Path(__file__).resolve().parent.parent

COMMON = {
    "deadline": None,  # this machine's two cores are noisy; speed is measured in bench/
    "derandomize": True,  # deterministic: the same examples on every machine
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("sluicegate", **COMMON)
# `make check` asks for this one: the first examples of each property, of those too that
# ask for a number of their own (tests/support/examples.py). `make test` tries them all.
settings.register_profile("few", max_examples=10, **COMMON)
settings.load_profile("sluicegate")
# hypothesis also draws constants from every module of ours that a worker has loaded by
# then: which those are depends on which tests it ran before, so examples would differ
# from run to run. There is no setting; a version without this name needs none.
if hasattr(providers, "_get_local_constants"):
    providers._get_local_constants = lambda: providers._local_constants
# typer looks through the signatures of all commands each time that one is called: 25 ms
# and more than most of them take. They do not change meanwhile: each is made once.
typer.main.get_command_from_info = cache(typer.main.get_command_from_info)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of one file that run against a clock follow one another.

    They wait more than they work: three files at once do not disturb each other. What
    takes longest begins first.
    """
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: "tutorials" not in item.path.parts)


def pytest_unconfigure() -> None:
    """End like our commands do: collecting msgspec's types may crash the end."""
    gc.freeze()


def _data_folder() -> Path | None:
    named = os.environ.get("SLUICEGATE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real captures and published vectors (see docs/testing.md)."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no shared data: set SLUICEGATE_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT
