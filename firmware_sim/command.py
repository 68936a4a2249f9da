"""The simulator's commands: vehicle, plant, network, list."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from firmware_sim.captures import truth_path, write_capture
from firmware_sim.errors import OutputError, ScenarioError
from firmware_sim.live import VehicleSender, places, serve_plant
from firmware_sim.network.command import network
from firmware_sim.network.model import NetworkScenario
from firmware_sim.plant import Plant
from firmware_sim.scenario import (
    PlantScenario,
    Scenario,
    VehicleScenario,
    load_scenario,
    shipped,
)
from firmware_sim.schema import NS, nanoseconds
from firmware_sim.traffic import Traffic
from firmware_sim.truth import vehicle_truth

app = typer.Typer(
    name="firmware_sim",
    help="Simulated vehicles and plants with ground truth written beside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(network)
# Progress and notes go to stderr, and a bar only to a terminal: stdout is for results.
_ERR: Final = Console(stderr=True, highlight=False)

ScenarioArg = Annotated[
    str,
    typer.Argument(help="A shipped scenario (see `list`) or a path to a .yaml file."),
]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        min=0.001, max=1e7, help="Scenario time; default: the scenario's own."
    ),
]
SpeedOption = Annotated[
    float, typer.Option(min=0.01, max=1000.0, help="Times real time, for live output.")
]
TruthOption = Annotated[
    Path | None, typer.Option(help="Write the ground truth here (JSON lines).")
]


def _kind(scenario: Scenario) -> str:
    """Return the word of a scenario, which is its command too."""
    if isinstance(scenario, NetworkScenario):
        return "network"
    return "vehicle" if isinstance(scenario, VehicleScenario) else "plant"


def _duration(scenario: VehicleScenario | PlantScenario, seconds: float | None) -> int:
    return nanoseconds(scenario.duration) if seconds is None else round(seconds * NS)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=_ERR,
        disable=not sys.stderr.isatty(),
    )


@app.command("list")
def list_scenarios() -> None:
    """List the shipped scenarios."""
    for name in shipped():
        scenario = load_scenario(name)
        kind = _kind(scenario)
        typer.echo(f"{name:21} {kind:8} {scenario.duration:>5}  {scenario.title}")


@app.command()
def vehicle(
    scenario: ScenarioArg,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Capture file: .log (candump), .blf or .asc; truth beside it."
        ),
    ] = None,
    seconds: SecondsOption = None,
    interface: Annotated[
        str | None,
        typer.Option(
            help="python-can interface: udp_multicast, socketcan, virtual, ..."
        ),
    ] = None,
    channel: Annotated[
        str,
        typer.Option(
            help="One channel a bus, comma between; one group for udp_multicast."
        ),
    ] = "",
    port: Annotated[
        int, typer.Option(min=1, max=65000, help="First UDP port; one a bus.")
    ] = 43113,
    speed: SpeedOption = 1.0,
    truth: TruthOption = None,
    forever: Annotated[
        bool, typer.Option("--forever", help="Send until SIGTERM or Ctrl-C.")
    ] = False,
) -> None:
    """Simulate a vehicle: into a capture file, or live onto CAN buses.

    Either --out (as fast as the machine can) or --interface (by the clock).
    """
    loaded = load_scenario(scenario)
    if not isinstance(loaded, VehicleScenario):
        raise ScenarioError(
            scenario, "", f"is a {_kind(loaded)}: use the command `{_kind(loaded)}`"
        )
    if (out is None) == (interface is None):
        raise OutputError("vehicle: give --out or --interface, and not both")
    traffic = Traffic(loaded)
    duration = _duration(loaded, seconds)
    if out is not None:
        _record(traffic, out, duration)
        return
    channels = [name for name in channel.split(",") if name]
    _send(
        traffic, (str(interface), channels, port), None if forever else duration, speed,
        truth,
    )  # fmt: skip


def _stop_event() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _record(traffic: Traffic, out: Path, duration_ns: int) -> None:
    stop = _stop_event()
    with _bar() as bar:
        task = bar.add_task(traffic.scenario.name, total=duration_ns)

        def go_on(done_ns: int) -> bool:
            bar.update(task, completed=done_ns)
            return not stop.is_set()

        counts = write_capture(traffic, out, duration_ns, go_on)
    early = ", ended early" if stop.is_set() else ""
    truth = truth_path(out)
    typer.echo(f"{counts.total} frames in {out}, truth in {truth}{early}")


def _send(
    traffic: Traffic,
    target: tuple[str, list[str], int],
    duration_ns: int | None,
    speed: float,
    truth: Path | None,
) -> None:
    stop = _stop_event()
    with contextlib.ExitStack() as stack:
        buses = []
        for place in places(traffic, *target):
            bus = place.open()
            stack.callback(bus.shutdown)
            buses.append(bus)
        sender = VehicleSender(traffic, buses, speed)
        bar = stack.enter_context(_bar())
        task = bar.add_task(traffic.scenario.name, total=duration_ns)
        sender.run(duration_ns, stop, lambda done: bar.update(task, completed=done))
    typer.echo(f"{sender.counts.total} frames sent, {sender.failed} refused by the bus")
    if truth is not None:
        lines = vehicle_truth(
            traffic, 0, sender.done_ns, sender.counts, (sender.base_ns, speed)
        )
        try:
            with truth.open("wb") as file:
                file.writelines(lines)
        except OSError as error:
            raise OutputError(f"{truth}: {error.strerror}") from None


@app.command()
def plant(
    scenario: ScenarioArg,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port; 0: any free one.")
    ] = 0,
    port_file: Annotated[
        Path | None, typer.Option(help="Write the port here once it is open.")
    ] = None,
    seconds: SecondsOption = None,
    speed: SpeedOption = 1.0,
    truth: TruthOption = None,
    forever: Annotated[
        bool, typer.Option("--forever", help="Serve until SIGTERM or Ctrl-C.")
    ] = False,
) -> None:
    """Simulate a plant: its PLC answers Modbus TCP on a port."""
    loaded = load_scenario(scenario)
    if not isinstance(loaded, PlantScenario):
        raise ScenarioError(
            scenario, "", f"is a {_kind(loaded)}: use the command `{_kind(loaded)}`"
        )
    # What clients get wrong is the tester's business, not a log line.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    duration = None if forever else _duration(loaded, seconds)

    def opened(number: int) -> None:
        if port_file is not None:
            # Whole or absent: a reader must never see half a number.
            beside = port_file.with_name(port_file.name + ".new")
            beside.write_text(f"{number}\n", encoding="ascii")
            beside.replace(port_file)
        typer.echo(f"PLC on {host}:{number}, unit {loaded.unit}")
        sys.stdout.flush()

    async def serve() -> int:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        line = Plant(loaded)
        with contextlib.ExitStack() as stack:
            file = None if truth is None else stack.enter_context(truth.open("wb"))
            with contextlib.suppress(asyncio.CancelledError):
                await serve_plant(line, (host, port), opened, file, (speed, duration))
        return line.steps

    try:
        steps = asyncio.run(serve())
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from None
    typer.echo(f"{steps} steps of {loaded.step}")
