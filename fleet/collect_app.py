"""`sluicectl collect`, `open` and `audit verify`: what gateways sent, and its proof."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from fleet.audit.sources import verify_ledger, verify_store
from fleet.collect import Service, serve
from fleet.collector import Collector
from fleet.errors import BadInput
from fleet.groups import app, audit_app
from fleet.keys import load
from fleet.ledger import Ledger
from fleet.opening import Request, open_all
from fleet.registry import key_beside, load_devices, public_key
from fleet.shown import print_reports, shower
from fleet.trust.words import (
    Broker,
    Ca,
    Cert,
    CertKey,
    Devices,
    Fleet,
    Json,
    Plain,
    broker_options,
)
from protocols.errors import WireError
from protocols.topics import check_name

KeyFiles = Annotated[
    list[Path], typer.Option("--keys", "-k", help="Key file; may be given again.")
]


@app.command()
def collect(
    fleet: Fleet,
    broker: Broker,
    keys: KeyFiles,
    devices: Devices,
    ledger: Annotated[Path, typer.Option(help="SQLite file; made where absent.")],
    seconds: Annotated[
        float, typer.Option(min=0, help="End after so many; 0: at SIGTERM.")
    ] = 0,
    ca: Ca = "",
    cert: Cert = "",
    key: CertKey = "",
    allow_plaintext: Plain = False,
    client_id: Annotated[str, typer.Option(help="MQTT client id.")] = "",
    json: Json = False,
) -> int:
    """Receive a fleet: verify, open, deduplicate, store, receipt. Until SIGTERM."""
    try:
        check_name("fleet", fleet)
    except WireError as error:
        raise BadInput("", "--fleet", error.reason) from None
    opened = [load(path) for path in keys]
    known = load_devices(devices)
    name = client_id or f"sluicectl-{fleet}-{opened[0].name}"
    options = broker_options(broker, name, (ca, cert, key), plain=allow_plaintext)
    book = Ledger(ledger)
    try:
        service = Service(fleet, options, book, Collector(fleet, book, opened, known))
        with shower(as_json=json, live=sys.stdout.isatty()) as show:
            asyncio.run(serve(service, show, seconds))
    finally:
        book.close()
    return 0


@app.command("open")
def open_(
    envelopes: Annotated[
        list[Path] | None, typer.Argument(help="Files, one MQTT message each.")
    ] = None,
    keys: KeyFiles = [],  # noqa: B006  # typer's way to say "none given"; never changed
    announcements: Annotated[
        list[Path] | None,
        typer.Option(
            "--announcements",
            "-a",
            help="Announcements: files with the data keys, sealed.",
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="The store file of a device, read only.")
    ] = None,
    devices: Annotated[
        Path | None, typer.Option("--devices", "-d", help="Folder of enrolled devices.")
    ] = None,
    public_key_: Annotated[
        str, typer.Option("--public-key", help="Of the device, base64.")
    ] = "",
    csv: Annotated[bool, typer.Option("--csv", help="CSV, for spreadsheets.")] = False,
    json: Json = False,
) -> int:
    """Open envelopes with recipient keys and print what is inside."""
    request = Request(
        tuple(envelopes or ()),
        tuple(announcements or ()),
        store,
        tuple(load(path) for path in keys),
        load_devices(devices, retired=True) if devices else {},
        public_key(public_key_) if public_key_ else key_beside(store),
    )
    return open_all(request, "json" if json else "csv" if csv else "table")


@audit_app.command("verify")
def audit_verify(
    ledger: Annotated[Path | None, typer.Option(help="A collector's ledger.")] = None,
    store: Annotated[Path | None, typer.Option(help="A device's own store.")] = None,
    device: Annotated[str, typer.Option(help="Only this one.")] = "",
    devices: Annotated[
        Path | None,
        typer.Option(
            "--devices",
            "-d",
            help="Folder of enrolled devices; else the ledger's.",
            envvar="SLUICECTL_DEVICES",
        ),
    ] = None,
    public_key_: Annotated[
        str, typer.Option("--public-key", help="Of the store's device, base64.")
    ] = "",
    behind_ok: Annotated[
        bool,
        typer.Option(
            "--behind-ok", help="What has not come yet is no error: it runs still."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Check evidence offline: signatures, history, envelopes, counters. 0: all hold."""
    if (ledger is None) == (store is None):
        raise BadInput("", "", "give either --ledger or --store")
    if store is not None:
        key = public_key(public_key_) if public_key_ else key_beside(store)
        if not key:
            raise BadInput("", "--public-key", "whose store is it?")
        reports = [verify_store(store, key)]
    else:
        assert ledger is not None
        book = Ledger(ledger, read_only=True)
        try:
            known = load_devices(devices, retired=True) if devices else book.devices()
            if device and device not in known:
                raise BadInput("", "--device", "is not enrolled")
            chosen = {device: known[device]} if device else known
            if not chosen:
                raise BadInput(str(ledger), "", "knows no device")
            reports = list(verify_ledger(book, chosen, behind_ok=behind_ok))
        finally:
            book.close()
        if devices is None:
            for report in reports:
                report.note("its public key is the ledger's own word: give --devices")
    print_reports(reports, as_json=json)
    return 0 if all(report.holds for report in reports) else 1
