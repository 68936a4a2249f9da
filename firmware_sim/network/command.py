"""``network``: a capture with its truth, or live on 127.0.0.x."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from firmware_sim.captures import truth_path
from firmware_sim.errors import OutputError, ScenarioError
from firmware_sim.network.choosing import chosen_attacks
from firmware_sim.network.live import Place, run_live
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.recording import write_network
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware_sim.network.model import AttackSpec

PORT: Final = 5020


def network(
    scenario: Annotated[
        str,
        typer.Argument(
            help="A shipped scenario (see `list`) or a path to a .yaml file."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Capture file: .pcap; truth beside it.")
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Real TCP between 127.0.0.x, by the clock."),
    ] = False,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this attack, after 10 s; again for more, `none` for none."
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="Live: where clients find a PLC, as plc1=127.0.0.1:1502."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Live: TCP port of every PLC.")
    ] = PORT,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1e7, help="Scenario time; default: the scenario's own."
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="Live: times real time.")
    ] = 1.0,
    truth: Annotated[
        Path | None,
        typer.Option(help="Live: write the ground truth here (JSON lines)."),
    ] = None,
) -> None:
    """Simulate a plant network: PLCs, those who talk to them, and attackers.

    Either --out (as fast as the machine can) or --live (by the clock).
    """
    loaded = load_scenario(scenario)
    if not isinstance(loaded, NetworkScenario):
        raise ScenarioError(scenario, "", "is no network: see `list` for its command")
    if (out is None) != live:
        raise OutputError("network: give --out or --live, and not both")
    if out is not None and (device or truth):
        raise OutputError("network: --device and --truth go with --live")
    attacks = chosen_attacks(loaded, attack or ())
    duration = nanoseconds(loaded.duration) if seconds is None else round(seconds * NS)
    if out is not None:
        _record(loaded, out, duration, attacks)
        return
    places = device_places(loaded, device or (), port)
    _serve(loaded, attacks, places, (duration, speed, port), truth)


def _record(
    scenario: NetworkScenario, out: Path, duration_ns: int, attacks: list[AttackSpec]
) -> None:
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    run = write_network(scenario, out, duration_ns, attacks, lambda _: not stopped)
    early = ", ended early" if stopped else ""
    hostile = sum(bool(row.attack) for row in run.transactions)
    typer.echo(
        f"{len(run.transactions)} transactions ({hostile} of attacks) in "
        f"{len(run.tape.rows)} packets in {out}, truth in {truth_path(out)}{early}"
    )


def device_places(
    scenario: NetworkScenario, given: Sequence[str], port: int
) -> dict[str, Place]:
    """Return where clients find each PLC; OutputError for what names none."""
    places: dict[str, Place] = {plc.name: (plc.local, port) for plc in scenario.plcs}
    for text in given:
        name, _, place = text.partition("=")
        host, _, number = place.rpartition(":")
        if name not in places or not host or not number.isdecimal():
            known = ", ".join(places)
            raise OutputError(
                f"--device {text}: wants NAME=HOST:PORT, NAME one of {known}"
            )
        places[name] = (host, int(number))
    return places


def _serve(
    scenario: NetworkScenario,
    attacks: list[AttackSpec],
    places: dict[str, Place],
    pace: tuple[int, float, int],
    truth: Path | None,
) -> None:
    async def serve() -> str:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.ExitStack() as stack:
            file = None if truth is None else stack.enter_context(truth.open("wb"))
            return await run_live(scenario, attacks, places, pace, file, _say)

    try:
        told = asyncio.run(serve())
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from None
    typer.echo(told)


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
