"""The words of `sluicegate provision`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

provision = typer.Typer(
    help="Enrol this device: keys made here, a request out, an answer in.\n\n"
    "begin makes the identity key, the master of the pseudonyms and a TLS key where "
    "there are none, and writes a request that holds nothing secret. The operator's "
    "`sluicectl enrol answer` makes an answer of it: certificate, broker, trust root. "
    "install checks and pins it. People compare one fingerprint each way; no secret "
    "ever leaves the device. Run as root, files belong to the owner of state_dir.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ConfigFile = Annotated[
    Path,
    typer.Option("--config", "-c", help="Configuration of the gateway (TOML)."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]
DEFAULT_CONFIG = Path("/etc/sluicegate/sluicegate.toml")


@provision.command("begin")
def provision_begin(
    config: ConfigFile = DEFAULT_CONFIG,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Where the request goes; -: standard output."),
    ] = Path("request.json"),
    tls_key: Annotated[
        str,
        typer.Option(
            help="Where the TLS key is made: file (0600, in state_dir), or tpm2 (it "
            "never leaves the TPM; needs OpenSSL's provider tpm2)."
        ),
    ] = "file",
    json: Json = False,
) -> int:
    """Make what is missing and write the request; the same one until it is answered."""
    from agent.commands.provision import begin

    return begin(config, out, tls_key, json)


@provision.command("install")
def provision_install(
    answer: Annotated[Path, typer.Argument(help="From `sluicectl enrol answer`.")],
    fingerprint: Annotated[
        str,
        typer.Option(
            help="What `sluicectl enrol answer` printed: 32 or 64 hexadecimal digits, "
            "blanks do not count. From the operator, not from the file's bearer."
        ),
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Check the answer and put it in place; the former one stays until this connects.

    Certificate of our key and name, valid by this clock; broker's authorities; trust
    root of our fleet. `enrolled = true` under [mqtt] makes the daemon use it.
    """
    from agent.commands.provision import install

    return install(config, answer, fingerprint, json)


@provision.command("show")
def provision_show(config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Tell what is asked for and what is installed; 1 where nothing is installed."""
    from agent.commands.provision import show

    return show(config, json)
