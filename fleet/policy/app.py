"""The words of `sluicectl policy` that look at policies and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet.groups import policy_app

POLICY_HELP = "Policy file, or a shipped one: passenger-fleet, factory-line, demo."

Bindings = Annotated[
    list[str] | None,
    typer.Option(
        "--bindings",
        "-b",
        help="Which signal is which item: a file, or a shipped one (sim-vehicle, "
        "sim-plant). May be given again. Without: one item for every category.",
    ),
]
Databases = Annotated[
    Path | None,
    typer.Option(help="Folder of the DBC, KCD, ARXML and SYM files of the bindings."),
]
Floor = Annotated[
    Path | None, typer.Option(help="The owner's floor file: nothing may be weaker.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]


@policy_app.command("check")
def policy_check(
    policies: Annotated[list[str], typer.Argument(help=POLICY_HELP)],
    bindings: Bindings = None,
    floor: Floor = None,
    databases: Databases = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings fail, too.")
    ] = False,
    json: Json = False,
) -> int:
    """Parse, compile and lint policies, and hold them against the owner's floor.

    Exit code 0: nothing refuses them; 1: lint or the floor does (--strict: or warns);
    2: a file cannot be read.
    """
    from fleet.policy.check import check_all
    from fleet.policy.source import Against

    against = Against(tuple(bindings or ()), databases, floor)
    return check_all(policies, against, strict=strict, as_json=json)


@policy_app.command("explain")
def policy_explain(
    item: Annotated[str, typer.Argument(help="Such as Vehicle.Speed.")],
    policy: Annotated[str, typer.Option(help=POLICY_HELP)],
    to: Annotated[
        str | None, typer.Option("--to", help="One destination; without: all.")
    ] = None,
    bus: Annotated[
        str | None, typer.Option(help="One bus or link; without: all it comes from.")
    ] = None,
    bindings: Bindings = None,
    floor: Floor = None,
    databases: Databases = None,
    json: Json = False,
) -> int:
    """Say which rule decides for an item, and why the others do not.

    Exit code 0; 2: no such item, destination or file.
    """
    from fleet.policy.explain import explain_item
    from fleet.policy.source import Against

    against = Against(tuple(bindings or ()), databases, floor)
    return explain_item(item, to, bus, policy, against, as_json=json)


@policy_app.command("request")
def policy_request(
    link: Annotated[str, typer.Argument(help="The device: a link's name, as plc1.")],
    function: Annotated[str, typer.Argument(help="Code or name: 6, read-coils.")],
    addresses: Annotated[
        str, typer.Argument(help="0-based: 100, or 100-109. None: it has none.")
    ] = "",
    *,
    policy: Annotated[str, typer.Option(help=POLICY_HELP)],
    master: Annotated[str, typer.Option("--from", help="Its IP address.")],
    role: Annotated[str, typer.Option(help="Of the master's certificate.")] = "",
    unit: Annotated[int, typer.Option(min=0, max=255)] = 1,
    sub: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Sub-function of 8; of 43: MEI type * 256 + code."
        ),
    ] = 65535,
    bindings: Bindings = None,
    databases: Databases = None,
    json: Json = False,
) -> int:
    """Say which rule of the Modbus firewall decides on a request, and why no other.

    Exit code 0; 2: no such function, no firewall, or no such file.
    """
    from fleet.policy.explain import explain_request
    from fleet.policy.source import Against

    against = Against(tuple(bindings or ()), databases)
    asked = (master, role, unit, sub)
    return explain_request(
        link, function, addresses, asked, policy, against, as_json=json
    )


@policy_app.command("diff")
def policy_diff(
    old: Annotated[str, typer.Argument(help='What decides now; "none": nothing.')],
    new: Annotated[str, typer.Argument(help=POLICY_HELP)],
    bindings: Bindings = None,
    databases: Databases = None,
    json: Json = False,
) -> int:
    """Say in words what NEW lets out more or less than OLD, and to whom.

    Exit code 0: the same, or only tighter; 1: looser, or not comparable; 2: a file
    cannot be read. Looser for important or core data: two people must sign it.
    """
    from fleet.policy.diff import diff
    from fleet.policy.source import Against

    return diff(old, new, Against(tuple(bindings or ()), databases), as_json=json)


@policy_app.command("coverage")
def policy_coverage(
    databases_: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DATABASE]...", help="DBC, KCD, ARXML or SYM files."),
    ] = None,
    bindings: Bindings = None,
    policy: Annotated[
        str, typer.Option(help="Whose catalogues count; lockdown: all shipped ones.")
    ] = "lockdown",
    databases: Databases = None,
    least: Annotated[
        float, typer.Option("--min", min=0, max=100, help="Percent asked for.")
    ] = 0,
    json: Json = False,
) -> int:
    """Say which signals of databases and bindings are unbound or in no catalogue.

    Exit code 0; 1: coverage is below --min; 2: a file cannot be read.
    """
    from fleet.policy.coverage import cover
    from fleet.policy.source import Against

    against = Against(tuple(bindings or ()), databases)
    return cover(databases_ or [], policy, against, least=least, as_json=json)


@policy_app.command("fmt")
def policy_fmt(
    files: Annotated[
        list[Path],
        typer.Argument(help="Policies, bindings, catalogues, floors, tests: YAML."),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing, say what would change.")
    ] = False,
) -> int:
    """Lay files out in one way; comments, order and meaning stay.

    Exit code 0; 1: --check, and a file would change; 2: a file cannot be read, or not
    be laid out without changing what it says.
    """
    from fleet.policy.fmt import lay_out

    return lay_out(files, check=check)


@policy_app.command("test")
def policy_test(
    files: Annotated[
        list[str],
        typer.Argument(help="Tests files, or shipped ones: passenger-fleet."),
    ],
    policy: Annotated[
        str, typer.Option(help="Test this one instead of the one that they name.")
    ] = "",
    captures: Annotated[
        Path | None, typer.Option(help="Look for captures in this folder first.")
    ] = None,
    databases: Databases = None,
    json: Json = False,
) -> int:
    """Run captures through the agent's own path and hold them against expectations.

    Exit code 0: all hold; 1: one does not (or sluicegate is not installed here);
    2: a file cannot be read.
    """
    from fleet.policy.runs import run_all

    return run_all(files, policy, captures, databases, as_json=json)


@policy_app.command("cost")
def policy_cost(
    captures: Annotated[
        list[str], typer.Argument(help="candump, ASC, BLF, TRC, MF4 or pcap; .gz too.")
    ],
    policy: Annotated[str, typer.Option(help=POLICY_HELP)],
    bindings: Bindings = None,
    databases: Databases = None,
    consent: Annotated[
        list[str] | None, typer.Option(help="Take as given. May be given again.")
    ] = None,
    spool: Annotated[str, typer.Option(help="Size of a gateway's spool.")] = "512MB",
    json: Json = False,
) -> int:
    """Reckon bytes a day, hours of spool and processor share from captures.

    Exit code 0; 1: sluicegate is not installed here; 2: a file cannot be read.
    """
    from fleet.policy.cost import cost, parse_size
    from fleet.policy.scan import Wanted

    size = parse_size(spool)
    wanted = Wanted(
        tuple(captures),
        policy,
        tuple(bindings or ()),
        str(databases or ""),
        tuple(consent or ()),
    )
    return cost(wanted, size, as_json=json)
