"""What `sluicectl` prints: tables for people, JSON for machines."""

from __future__ import annotations

import base64
import contextlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fleet.listing import write, write_facts, write_table
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fleet.audit.report import Report
    from fleet.collect import Service
    from fleet.registry import Device
    from protocols.recipients import RecipientCard


def _console() -> Console:
    # no markup: words of devices are shown, never obeyed
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def print_card(card: RecipientCard, files: tuple[Path, ...]) -> None:
    """Print whose card it is, how long it is good and its digest; never a key."""
    rows: list[tuple[str, object]] = [
        ("recipient", card.name),
        ("good", f"{card.not_before} to {card.not_after} (UTC)"),
        ("digest", card.digest()),
    ]
    rows += zip(("private keys", "card"), files, strict=False)
    write_facts(rows)


def print_devices(devices: Mapping[str, Device], *, as_json: bool) -> None:
    """Print the devices, their public keys, and since when one is retired."""
    told = {name: base64.b64encode(one.key).decode() for name, one in devices.items()}
    if as_json:
        some = {name: key for name, key in told.items() if not devices[name].retired}
        sys.stdout.buffer.write(msgspec.json.encode(some) + b"\n")
        return
    rows = [(name, key, devices[name].retired or "-") for name, key in told.items()]
    write_table(("device", "public key", "retired"), rows)


def print_reports(reports: Sequence[Report], *, as_json: bool) -> None:
    """Print what verification found."""
    if as_json:
        for report in reports:  # one line a device
            whole = {**msgspec.to_builtins(report), "holds": report.holds}
            sys.stdout.buffer.write(msgspec.json.encode(whole) + b"\n")
        return
    for report in reports:
        lost = ", ".join(f"{count} {cause}" for cause, count in report.lost.items())
        rows: list[tuple[str, object]] = [
            ("device", report.device or "?"),
            ("entries", f"{report.entries} in {report.logs} log(s)"),
            ("signed", f"{report.covered} under {report.checkpoints} checkpoints"),
            ("boots", report.boots),
            ("envelopes", f"{report.envelopes} to leave, {report.received} received"),
            ("kept", f"{report.kept} on the device"),
            ("stored", f"{report.stored} in this store"),
            ("not here yet", report.waiting),
            ("lost", lost or "nothing"),
            ("samples sent", report.samples_sent),
            ("Modbus requests passed", report.exchanges_passed),
            ("Modbus requests refused", report.exchanges_refused),
            ("telemetry", f"{report.telemetry} messages agree"),
        ]
        rows += [("note", note) for note in report.notes]
        rows += [("PROBLEM", problem) for problem in report.problems]
        if report.problems_more:
            rows.append(("PROBLEM", f"and {report.problems_more} more"))
        rows.append(
            ("result", "every check holds" if report.holds else "DOES NOT HOLD")
        )
        write_facts(rows)
        write()


@contextlib.contextmanager
def shower(*, as_json: bool, live: bool) -> Iterator[Callable[[Service], None]]:
    """Yield what shows a running collector: JSON lines, a live table, or nothing."""
    if as_json:
        yield _show_json
    elif live:
        with Live(console=_console(), auto_refresh=False) as screen:
            yield lambda service: screen.update(_live_table(service), refresh=True)
    else:
        yield _show_nothing


def _show_nothing(service: Service) -> None:
    """In a pipe the collector is quiet; what is wrong is in its exit line."""
    del service


def _show_json(service: Service) -> None:
    whole = {
        "online": service.online,
        "problem": service.problem,
        **msgspec.to_builtins(service.totals),
    }
    sys.stdout.buffer.write(msgspec.json.encode(whole) + b"\n")
    sys.stdout.buffer.flush()


def _live_table(service: Service) -> Table:
    totals = service.totals
    table = Table(
        "device", "batches", "samples", "bytes", "evidence", "refused", "last seen",
        title=printable("online" if service.online else f"offline: {service.problem}"),
        box=None, pad_edge=False,
    )  # fmt: skip
    for column in table.columns[1:6]:
        column.justify = "right"
    for name, seen in sorted(totals.devices.items()):
        last = datetime.fromtimestamp(seen.last_ns / 1e9, UTC).strftime("%H:%M:%S")
        table.add_row(
            name, *map(str, (seen.batches, seen.samples, seen.bytes_used)),
            str(seen.entries), str(seen.refused), last,
        )  # fmt: skip
    table.add_row(
        "all", str(totals.batches), str(totals.samples), str(totals.bytes_used),
        str(totals.entries), str(totals.refused), "", style="bold",
    )  # fmt: skip
    to = ", ".join(
        f"{n} to {printable(d)}" for d, n in sorted(totals.by_destination.items())
    )
    table.caption = (
        f"{to or 'nothing yet'}; {totals.events} events, {totals.sealed} sealed,"
        f" {totals.replays} replays"
    )
    return table
