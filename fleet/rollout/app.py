"""`sluicectl rollout`: a policy to 1 % of the fleet, to everybody, or back.

Exit codes: 0 done, or as asked; 1 halted, a limit passed, the time was up, or something
is away; 2 bad input. Each step is signed, published, and in the operator's journal.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

import typer

from fleet.groups import rollout_app
from fleet.rollout.options import (
    Groups,
    MinAcks,
    Named,
    Reason,
    RefusedMax,
    RevertedMax,
    Seconds,
    Upto,
    Watch,
    at_site,
)
from fleet.rollout.shown import print_report
from fleet.rollout.site import (
    EXIT_FOUND,
    Site,
    Watching,
    carry_out,
    current,
    desk_of,
    looking,
    watched,
)
from fleet.rollout.steps import (
    When,
    Who,
    aborted,
    halt,
    paused,
    resumed,
    started,
    widened,
)


@rollout_app.command("start")
@at_site
def start(
    site: Site,
    candidate: Annotated[int, typer.Option(min=1, help="Version of the policy.")],
    upto: Upto = "",
    group_: Groups = None,
    device: Named = None,
    window: Annotated[
        str, typer.Option(help='Hours, such as "Sat,Sun 01:00-05:00 +08:00".')
    ] = "",
    not_before: Annotated[str, typer.Option(help="2026-01-02T03:04:05Z.")] = "",
    not_after: Annotated[str, typer.Option(help="2026-01-02T03:04:05Z.")] = "",
    halt_refused: RefusedMax = "2%",
    halt_reverted: RevertedMax = "1%",
    min_acks: MinAcks = 20,
    stable: Annotated[
        int, typer.Option(min=-1, help="Version for the others; -1: as it was.")
    ] = -1,
    name: Annotated[str, typer.Option(help="Of the rollout.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="End one that is on its way.")
    ] = False,
    watch: Watch = False,
    seconds: Seconds = 0,
) -> int:
    """Begin a rollout of a signed policy; 1 % of the fleet where nothing is said."""
    desk, signer = desk_of(site)
    before = signer.rollout()
    step = started(
        before,
        candidate,
        Who(upto, group_ or (), device or ()),
        When(window, not_before, not_after),
        halt(halt_refused, halt_reverted, min_acks),
        name=name,
        salt=secrets.token_hex(16),
        stable=None if stable < 0 else stable,
        replace=replace,
    )
    return carry_out(site, desk, "start", (before, step), Watching(watch, seconds))


@rollout_app.command("widen")
@at_site
def widen(
    site: Site,
    upto: Upto = "",
    group_: Groups = None,
    device: Named = None,
    any_group: Annotated[
        bool, typer.Option("--any-group", help="For devices of every group.")
    ] = False,
    watch: Watch = False,
    seconds: Seconds = 0,
) -> int:
    """Take more devices in; nobody who was in goes out."""
    desk, signer = desk_of(site)
    who = Who(upto, group_ or (), device or ())
    before = current(signer)
    step = widened(before, who, any_group=any_group)
    return carry_out(site, desk, "widen", (before, step), Watching(watch, seconds))


@rollout_app.command("pause")
@at_site
def pause(site: Site, reason: Reason = "") -> int:
    """Begin nowhere else; devices that have begun go on."""
    desk, signer = desk_of(site)
    before = current(signer)
    steps = (before, paused(before, reason))
    return carry_out(site, desk, "pause", steps, Watching(False, 0))


@rollout_app.command("resume")
@at_site
def resume(
    site: Site,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Devices that refused or reverted try again."),
    ] = False,
    watch: Watch = False,
    seconds: Seconds = 0,
) -> int:
    """Go on with a paused rollout."""
    desk, signer = desk_of(site)
    before = current(signer)
    steps = (before, resumed(before, retry=retry))
    return carry_out(site, desk, "resume", steps, Watching(watch, seconds))


@rollout_app.command("abort")
@at_site
def abort(
    site: Site, reason: Reason = "", watch: Watch = False, seconds: Seconds = 0
) -> int:
    """End it: every device goes back to the stable policy, at any hour."""
    desk, signer = desk_of(site)
    before = current(signer)
    steps = (before, aborted(before, reason))
    return carry_out(site, desk, "abort", steps, Watching(watch, seconds))


@rollout_app.command("status")
@at_site
def status(site: Site) -> int:
    """Say where every device stands, from the acks that the broker keeps."""
    desk, rollout = looking(site)
    found = asyncio.run(desk.status(rollout))
    print_report(found, as_json=site.json)
    return EXIT_FOUND if found.limit else 0


@rollout_app.command("watch")
@at_site
def watch_(
    site: Site,
    halts: Annotated[
        bool,
        typer.Option("--halt/--no-halt", help="Sign a pause when a limit is passed."),
    ] = True,
    seconds: Seconds = 0,
) -> int:
    """Follow the acks until the cohort is done; halt by itself at a limit."""
    desk, rollout = looking(site)
    can_halt = halts and site.repository is not None
    return watched(site, desk, rollout, Watching(True, seconds, can_halt))
