"""The words of `sluicectl catalogue`: what signals are, what is filed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.catalogue.filing_shown import Sources, file_all
from fleet.catalogue.suggest import Wanted, suggest_all
from fleet.errors import BadInput
from fleet.groups import catalogue_app
from fleet.policy.source import Against
from policies.suggest.suggesting import CONFIDENCE_MIN

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


Ledger = Annotated[
    Path | None, typer.Option(help="A collector's ledger: rows and devices.")
]
Store = Annotated[Path | None, typer.Option(help="A device's own store: its counters.")]
Persons = Annotated[
    Path | None,
    typer.Option(help="TOML with what only persons know: responsible_entity, ..."),
]
Earlier = Annotated[
    Path | None,
    typer.Option("--against", help="An earlier filing (--json): tell what changed."),
]
Databases = Annotated[
    Path | None, typer.Option(help="Folder of the databases of the bindings.")
]


@catalogue_app.command("filing")
def catalogue_filing(
    policy: Annotated[
        str, typer.Option(help="Policy file, or a shipped one.")
    ] = "passenger-fleet",
    bindings: Annotated[
        list[str] | None,
        typer.Option("--bindings", "-b", help="Bindings; none: every category."),
    ] = None,
    databases: Databases = None,
    ledger: Ledger = None,
    store: Store = None,
    persons: Persons = None,
    everything: Annotated[
        bool, typer.Option("--all", help="General data, too.")
    ] = False,
    against: Earlier = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV, for spreadsheets.")] = False,
    json: Json = False,
) -> int:
    """Print the eleven filing fields of important and core data; never the data.

    Exit code 0; 1: --against, and something has changed; 2: a file cannot be read.
    """
    if csv and json:
        raise BadInput("", "", "give either --csv or --json")
    sources = Sources(
        policy,
        Against(tuple(bindings or ()), databases),
        ledger,
        store,
        persons,
        against,
    )
    form = "json" if json else "csv" if csv else "table"
    return file_all(sources, form, everything=everything)
