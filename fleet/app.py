"""The words of `sluicectl`: which modules each comes from, and the answer of one."""

from __future__ import annotations

import importlib
from typing import Final, cast

import typer

from fleet.errors import BadInput
from fleet.groups import app

# typer has a click of its own since 0.16, and takes the installed one before
_USAGE = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

# A command line loads what its own word needs: a second less than all of them.
MODULES: Final = {
    "keys": ("fleet.registry_app", "fleet.trust.app"),
    "policy": ("fleet.policy.app", "fleet.trust.publish_app"),
    "devices": ("fleet.registry_app",),
    "enrol": ("fleet.enrol.app", "fleet.enrol.serve_app"),
    "audit": ("fleet.collect_app",),
    "rollout": ("fleet.rollout.app",),
    "journal": ("fleet.trust.app",),
    "catalogue": ("fleet.catalogue.app",),
    "collect": ("fleet.collect_app",),
    "open": ("fleet.collect_app",),
}


def load(word: str = "") -> None:
    """Load the modules of a word; of all words where there is none of that name."""
    every = [name for names in MODULES.values() for name in names]
    for name in MODULES.get(word, every):
        importlib.import_module(name)


def main(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    load(*arguments[:1])
    try:
        result = app(args=arguments, prog_name="sluicectl", standalone_mode=False)
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return 0
        reason = " ".join(error.format_message().split())
        raise BadInput("", "", reason, "see --help") from None
    except typer.Abort:
        return 130
    return result if isinstance(result, int) else 0
