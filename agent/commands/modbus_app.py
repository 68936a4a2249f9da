"""The words of `sluicegate modbus`: look at a plant, draft a policy, try one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.commands.modbus_where import Where

modbus = typer.Typer(
    help="Look at Modbus in captures or on an interface; draft and try a firewall.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Captures = Annotated[
    list[Path] | None,
    typer.Argument(help="pcap or pcapng of Ethernet or IP; .gz too."),
]
Interface = Annotated[
    str, typer.Option(help="Listen here instead (CAP_NET_RAW); nothing is sent.")
]
Seconds = Annotated[
    float, typer.Option(min=1.0, max=86_400.0, help="How long to listen.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Name devices as the gateway's [[modbus]]."),
]
Links = Annotated[
    list[str] | None,
    typer.Option(
        "--link", "-l", help="Name a device: plc1=10.0.0.20, or with :PORT. Again."
    ),
]
Ports = Annotated[
    list[int] | None,
    typer.Option(
        "--port", min=1, max=65_535,
        help="A port that speaks Modbus, beside 502 and those of devices. Again.",
    ),
]  # fmt: skip
Values = Annotated[
    bool, typer.Option("--values", help="Also least and greatest register values.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]


def _where(
    captures: list[Path] | None,
    interface: str,
    seconds: float,
    config: Path | None,
    link: list[str] | None,
    port: list[int] | None,
) -> Where:
    return Where(
        tuple(captures or ()), interface, seconds, config, tuple(link or ()),
        tuple(port or ()),
    )  # fmt: skip


@modbus.command("map")
def map_(
    captures: Captures = None,
    interface: Interface = "",
    seconds: Seconds = 60.0,
    config: ConfigFile = None,
    link: Links = None,
    port: Ports = None,
    values: Values = False,
    json: Json = False,
) -> int:
    """Show devices, units, registers, who asks for them and how often.

    Addresses count from 0, as they travel. What a register may be ("perhaps f32") is a
    guess from its values; the values themselves are shown with --values only.
    """
    from agent.commands.modbus_map import show_map

    where = _where(captures, interface, seconds, config, link, port)
    return show_map(where, values=values, as_json=json)


@modbus.command("learn")
def learn_(
    captures: Captures = None,
    interface: Interface = "",
    seconds: Seconds = 60.0,
    config: ConfigFile = None,
    link: Links = None,
    port: Ports = None,
    out: Annotated[
        Path,
        typer.Option(help="Write OUT.policy.yaml and OUT.bindings.yaml; both are new."),
    ] = Path("learned"),
    values: Values = False,
    json: Json = False,
) -> int:
    """Draft firewall rules and a register map, for a person to confirm.

    Reads that a device answered are learned; writes never are: they stand in the draft
    as comments to declare. The policy is refused until every `confirm` mark is gone.
    """
    from agent.commands.modbus_learn import learn

    where = _where(captures, interface, seconds, config, link, port)
    return learn(where, out, values=values, as_json=json)


@modbus.command("check")
def check_(
    policy: Annotated[
        str,
        typer.Option(help="Policy with a modbus: section; a file, or a shipped one."),
    ],
    captures: Captures = None,
    interface: Interface = "",
    seconds: Seconds = 60.0,
    config: ConfigFile = None,
    link: Links = None,
    port: Ports = None,
    bindings: Annotated[
        list[Path] | None,
        typer.Option(
            "--bindings",
            "-b",
            help="Where rules find the items they name: a file, or a shipped one. "
            "Again.",
        ),
    ] = None,
    expect: Annotated[
        str, typer.Option(help="clean: end with 1 where anything is refused.")
    ] = "",
    json: Json = False,
) -> int:
    """Run a policy's firewall over a capture: who would be refused what, and why.

    Devices get their names from --config or --link; those that have none are told. The
    clock of the capture is believed. `dry-run` is judged like `enforce`.
    """
    from agent.commands.modbus_check import check

    where = _where(captures, interface, seconds, config, link, port)
    return check(
        where, policy, tuple(map(str, bindings or ())), expect=expect, as_json=json
    )
