"""Shared fixtures: where the real captures are, and one clear line when absent."""

from __future__ import annotations

import gc
import os
from functools import cache
from pathlib import Path
from typing import Any

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


# What takes longest begins first; none of it is left to the end. Only test_overload is
# not among them: how much a core can take is asked where packages are built already.
FIRST = (
    "test_opendbc", "test_suggest", "test_suggest_labels", "test_modbus_scenarios",
    "test_policy_fits", "test_codec_agrees", "test_policy_tools_page",
    "test_rollout_simulated",
    "test_policies_tutorial", "test_built_package", "test_power_cut", "test_twins",
    "test_policy_feed", "test_network_faults", "test_broker_outage",
    "test_damage", "test_consent_daemon",
)  # fmt: skip
# Tests of one name here follow one another in one worker: what is built, parsed or
# simulated for the first is there for the others.
TOGETHER = {
    "tests/systemd/packaging/test_built_package.py": "package",
    "tests/systemd/packaging/test_other_architecture.py": "arm64",
    "tests/protocols/can/test_opendbc.py": "databases",
    "tests/fleet/test_suggest.py": "databases",
    "tests/policies/suggest/test_suggest_labels.py": "databases",
    "tests/agent/inspection/test_modbus_scenarios.py": "networks",
    "tests/firmware_sim/network/test_policy_fits.py": "networks",
    "tests/firmware_sim/network/test_codec_agrees.py": "networks",
    "tests/fleet/test_policy_runs.py": "captures",
    "tests/promises/test_disk_cache.py": "disk",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests: the longest first, all others as they are."""
    order = {stem: place for place, stem in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests one by one, those together that share what is dear.

    `--dist loadgroup` alone lets go of its groups: it marks them in a field of an item
    that pytest 9.2 no longer has (pytest-dev/pytest-xdist#1386), and each worker built
    the packages for itself.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER.get(nodeid.partition("::")[0], nodeid)

    return Scheduler(config, log)


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
