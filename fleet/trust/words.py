"""Options that the commands on keys, proposals and repositories share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.errors import BadInput
from fleet.link import BrokerOptions, parse_broker, tls
from protocols.topics import NAME

RepositoryFolder = Annotated[
    Path,
    typer.Option(
        "--repository",
        "-r",
        help="The fleet's repository.",
        envvar="SLUICECTL_REPOSITORY",
    ),
]
KeysFolder = Annotated[
    Path,
    typer.Option("--keys", "-k", help="Folder of role keys.", envvar="SLUICECTL_KEYS"),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File (0600), first line the passphrase; else asked."),
]
NewPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File (0600), first line the passphrase of the new keys; none: no"
        " passphrase.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]
Fleet = Annotated[
    str, typer.Option(help="Name of the fleet.", envvar="SLUICECTL_FLEET")
]
Devices = Annotated[
    Path,
    typer.Option(
        "--devices",
        "--registry",
        "-d",
        help="Folder of enrolled devices.",
        envvar="SLUICECTL_DEVICES",
    ),
]
Broker = Annotated[
    str, typer.Option(help="host:port of the MQTT 5 broker.", envvar="SLUICECTL_BROKER")
]
Ca = Annotated[str, typer.Option(help="CA certificates (PEM): TLS.")]
Cert = Annotated[str, typer.Option(help="Our certificate (PEM).")]
CertKey = Annotated[str, typer.Option("--key", help="Our certificate's key (PEM).")]
Plain = Annotated[
    bool, typer.Option("--allow-plaintext", help="Take a far broker without TLS.")
]
Bindings = Annotated[
    list[str] | None,
    typer.Option(
        "--bindings",
        "-b",
        help="Which signal is which item, for the comparison; may be given again.",
    ),
]
Databases = Annotated[
    Path | None, typer.Option(help="Folder of the bindings' CAN databases.")
]


def checked_name(name: str) -> str:
    """Return a name of a person; BadInput where it is none."""
    if not NAME.fullmatch(name):
        raise BadInput("", name[:64], "must be 1 to 64 of A-Z a-z 0-9 _ . -")
    return name


def broker_options(
    broker: str, client_id: str, tls_files: tuple[str, str, str], *, plain: bool
) -> BrokerOptions:
    """Return where the broker is; BadInput where a file or the address is bad."""
    options = BrokerOptions(
        *parse_broker(broker), client_id, *tls_files, allow_plaintext=plain
    )
    tls(options)  # bad files are told before anything begins
    return options
