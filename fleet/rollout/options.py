"""Options of `sluicectl rollout`; those that every command shares are said once."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet.rollout.site import Site
from fleet.trust.words import (  # noqa: TC001  # typer reads the annotations
    Broker,
    Ca,
    Cert,
    CertKey,
    Devices,
    Fleet,
    Plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Upto = Annotated[str, typer.Option(help="Share of the slots, such as 1%.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="Only devices of this group; may be repeated."),
]
Named = Annotated[
    list[str] | None,
    typer.Option("--device", help="This device, whatever its slot; may be repeated."),
]
RefusedMax = Annotated[str, typer.Option(help="Halt when more refused.")]
RevertedMax = Annotated[str, typer.Option(help="Halt when more reverted.")]
MinAcks = Annotated[
    int, typer.Option(min=1, max=1_000_000, help="Answers before a limit counts.")
]
Watch = Annotated[
    bool,
    typer.Option("--watch", "-w", help="Follow the acks; halt by itself at a limit."),
]
Seconds = Annotated[
    float, typer.Option(min=0, help="Watch no longer than this; 0: to the end.")
]
Reason = Annotated[str, typer.Option(help="Why: for the signed file and the journal.")]


def _site(
    fleet: Fleet,
    broker: Broker,
    devices: Devices,
    repository: Annotated[
        Path | None,
        typer.Option(
            "--repository", "-r", help="The fleet's repository.",
            envvar="SLUICECTL_REPOSITORY",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", "-k", help="Folder of the rollout, snapshot and timestamp keys.",
            envvar="SLUICECTL_KEYS",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Pinned root.json: look without a repository or a key."),
    ] = None,
    ca: Ca = "",
    cert: Cert = "",
    key: CertKey = "",
    allow_plaintext: Plain = False,
    client_id: Annotated[str, typer.Option(help="MQTT client id.")] = "",
    json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with the keys' passphrase; else a prompt asks."),
    ] = None,
) -> Site:  # fmt: skip
    return Site(
        fleet, broker, devices, repository, keys, root, ca, cert, key, allow_plaintext,
        client_id, json, passphrase_file,
    )  # fmt: skip


def at_site(command: Callable[..., int]) -> Callable[..., int]:
    """Return the command with the shared options behind its own, read into a Site."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(_site, eval_str=True).parameters.values())
    names = {one.name for one in shared}

    @functools.wraps(command)
    def run(**given: Any) -> int:  # noqa: ANN401  # whatever typer read
        site = _site(**{name: given.pop(name) for name in names})
        return command(site, **given)

    every = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own + shared]
    run.__signature__ = inspect.Signature(every, return_annotation=int)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {one.name: one.annotation for one in every} | {"return": int}
    del run.__wrapped__  # typer would look there
    return run
