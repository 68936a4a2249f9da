"""The words of `sluicectl catalogue`: what signals are, what is filed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.groups import group
from fleet.suggest import Wanted, suggest_all
from policies.suggest.suggesting import CONFIDENCE_MIN

catalogue_app = group("Catalogues: what signals are, what is filed of them.")

Json = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]


Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="DBC, KCD, ARXML or SYM; a register map (.csv), bindings (.yaml).",
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="Write a bindings file to edit; a new file.")
]


@catalogue_app.command("suggest")
def catalogue_suggest(
    files: Files,
    catalogue: Annotated[
        str, typer.Option(help="Shipped catalogue: cn-auto, cn-industrial.")
    ] = "",
    bus: Annotated[str, typer.Option(help="Bus or link of the draft.")] = "",
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below it a proposal is a comment.")
    ] = CONFIDENCE_MIN,
    out: Out = None,
    json: Json = False,
) -> int:
    """Propose category, item and reason for each signal; write bindings to edit.

    Exit code 0: every file was read; 1: a file was refused, the others were done; 2: no
    file could be read, or an argument is wrong.
    """
    wanted = Wanted(tuple(files), catalogue, bus, min_confidence, out)
    return suggest_all(wanted, as_json=json)
