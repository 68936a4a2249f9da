"""The words of `sluicegate`: what a person can type, and what each word answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from agent import VERSION
from agent.commands.modbus_app import modbus
from agent.commands.provision_app import provision
from agent.errors import BadInput

app = typer.Typer(
    name="sluicegate",
    help="Data-security agent for vehicle and industrial gateways.\n\n"
    "Reads CAN and Modbus, decides for every datum whether it may leave, protects what "
    "may, sends it over MQTT and keeps evidence that anyone can verify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# typer carries a click of its own from 0.16 on, and took the installed one before: its
# own exceptions are the ones that are raised, whichever it is.
USAGE_ERROR = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

ConfigFile = Annotated[
    Path,
    typer.Option("--config", "-c", help="Configuration of the gateway (TOML)."),
]
Given = Annotated[
    list[str] | None,
    typer.Option(help="A consent to take as given. May be given again."),
]
DEFAULT_CONFIG = Path("/etc/sluicegate/sluicegate.toml")


Devices = Annotated[
    Path | None,
    typer.Option(help="A gateway's configuration: where its Modbus devices are."),
]
Kept = Annotated[
    Path | None,
    typer.Option(
        help="Keep the store (envelopes, evidence) of each capture in this folder."
    ),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, max=64, help="Captures read side by side."),
]
Device = Annotated[
    list[str] | None,
    typer.Option(help="A Modbus device: plc1=10.0.0.20 or plc1=10.0.0.20:502."),
]


def main(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        result = app(
            args=arguments or ["--help"], prog_name="sluicegate", standalone_mode=False
        )
    except USAGE_ERROR as error:
        reason = " ".join(error.format_message().split())
        raise BadInput("", "", reason, "see --help") from None
    except typer.Abort:
        return 130
    return result if isinstance(result, int) else 0


app.add_typer(modbus, name="modbus")
app.add_typer(provision, name="provision")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sluicegate {VERSION}")
        raise typer.Exit


@app.callback()
def everything(
    version: Annotated[  # the callback has answered by then
        bool,
        typer.Option(
            "--version",
            help="Say which version this is.",
            callback=_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """What holds for every command."""


@app.command()
def run(config: ConfigFile = DEFAULT_CONFIG) -> int:
    """Run the daemon until SIGTERM; SIGHUP reads the policy again."""
    from agent.commands.run import main as run_daemon

    return run_daemon(["--config", str(config)])


@app.command()
def clock() -> int:
    """Tell whether a time daemon keeps the clock; the agent's unit asks this."""
    from agent.adapters.timekeeping import tell

    return tell()


@app.command()
def scan(
    captures: Annotated[
        list[Path],
        typer.Argument(
            help="candump, ASC, BLF, TRC, MF4 or pcap (SocketCAN, or a network "
            "with Modbus TCP); .gz too."
        ),
    ],
    policy: Annotated[
        str,
        typer.Option(
            help="Policy file, or one of: passenger-fleet, factory-line, demo, "
            "lockdown (nothing leaves)."
        ),
    ] = "lockdown",
    bindings: Annotated[
        list[Path] | None,
        typer.Option(
            "--bindings",
            "-b",
            help="Which signal is which item: a file, or one of: sim-vehicle, "
            "sim-plant, sim-network; with their DBC in --databases: "
            "toyota-rav4-2017, css-gnss. May be given again.",
        ),
    ] = None,
    databases: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the DBC, KCD, ARXML and SYM files that bindings name; "
            "else they are looked for beside the bindings."
        ),
    ] = None,
    recipients: Annotated[
        Path | None,
        typer.Option(help="Folder of recipient cards; without it, sealed to nobody."),
    ] = None,
    out: Kept = None,
    jobs: Jobs = 2,
    config: Devices = None,
    link: Device = None,
    consent: Given = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> int:
    """Run recordings through the live path and show what would leave."""
    from agent.commands.scan import Request, scan_all

    request = Request(
        policy,
        tuple(map(str, bindings or ())),
        str(databases or ""),
        str(recipients or ""),
        str(out or ""),
        tuple(consent or ()),
        str(config or ""),
        tuple(link or ()),
    )
    return scan_all(captures, request, jobs, json)


@app.command()
def status(
    config: ConfigFile = DEFAULT_CONFIG,
    json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> int:
    """Ask the running agent how it is."""
    from agent.commands.status import show

    return show(config, json)


@app.command()
def top(
    config: ConfigFile = DEFAULT_CONFIG,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")
    ] = 2.0,
    count: Annotated[
        int, typer.Option(min=0, help="Pictures; 0: until q (one in a pipe).")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON each.")] = False,
) -> int:
    """Watch the running agent: buses, labels, destinations, spool, findings."""
    from agent.commands.top import watch

    return watch(config, every, count, json)


@app.command("support-bundle")
def support_bundle(
    config: ConfigFile = DEFAULT_CONFIG,
    out: Annotated[
        Path | None, typer.Option(help="File to write; else named after the time.")
    ] = None,
    with_names: Annotated[
        bool,
        typer.Option("--with-names", help="Keep names of device, fleet and hosts."),
    ] = False,
) -> int:
    """Pack what a helper needs to see: states and counts, no value, no key."""
    from agent.commands.support import bundle

    return bundle(config, out, with_names)


consents = typer.Typer(
    help="What a person has agreed to on this device (consents.json in state_dir).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(consents, name="consent")


@consents.command("give")
def consent_give(
    name: Annotated[str, typer.Argument(help="A consent that the policy declares.")],
    lasting: Annotated[
        str, typer.Option("--for", help="How long: 8h, 7d, 4w; at most at_most.")
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    by: Annotated[
        str,
        typer.Option(help="driver, passenger, owner, guardian or operator."),
    ] = "driver",
    opt_in: Annotated[
        bool, typer.Option("--opt-in", help="Let it survive ignition cycles.")
    ] = False,
) -> int:
    """Agree to one class of data leaving, for a time; there is no for ever."""
    from agent.commands.consent import give

    return give(config, name, lasting, by, opt_in)


@consents.command("withdraw")
def consent_withdraw(
    name: Annotated[str, typer.Argument(help="A consent that was given.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Every consent on this device.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> int:
    """Take a consent back: the flow stops, what waits under it is destroyed."""
    from agent.commands.consent import withdraw

    return withdraw(config, name, everything)


@consents.command("list")
def consent_list(
    config: ConfigFile = DEFAULT_CONFIG,
    json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> int:
    """Show what was given, and what the running agent makes of it."""
    from agent.commands.consent import show_consents

    return show_consents(config, json)


@app.command()
def doctor(
    config: ConfigFile = DEFAULT_CONFIG,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this check or group of checks. May be given again."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="What is checked; nothing is looked at.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> int:
    """Check all that the agent needs, and say how to mend what is wrong."""
    from agent.commands.doctor.command import examine, show_list

    return show_list(json) if listed else examine(config, json, only or ())


@app.command()
def identity(config: ConfigFile = DEFAULT_CONFIG) -> int:
    """Print the device's name and public key, for `sluicectl devices add`.

    Where the device has no key yet, it is made in state_dir.
    """
    from agent.commands.identity import show as show_identity

    return show_identity(config)


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep everything in this folder; else a temporary one."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=4.0, max=600.0, help="Length of each calm stretch.")
    ] = 6.0,
) -> int:
    """Vehicle, plant, broker, agent and collector on 127.0.0.1; cut, kill, verify."""
    from agent.commands.demo import play

    return play(folder, seconds, sys.stdout.isatty())
