"""The words of `sluicectl`: what a person can type, and what each word answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from fleet.audit.sources import verify_ledger, verify_store
from fleet.catalogue.app import catalogue_app
from fleet.collect import Service, serve
from fleet.collector import Collector
from fleet.enrol import serve_app as _serve_words  # noqa: F401  # adds its word to enrol_app
from fleet.enrol.app import enrol_app
from fleet.errors import BadInput
from fleet.files import read_limited, write_new
from fleet.groups import group, keys_app, policy_app
from fleet.keys import generate, load, save
from fleet.ledger import Ledger
from fleet.opening import Request, open_all
from fleet.policy import app as _policy_words  # noqa: F401  # adds its words to policy_app
from fleet.registry import (
    add_device,
    key_beside,
    load_devices,
    load_registry,
    public_key,
    retire_device,
)
from fleet.rollout.app import rollout_app
from fleet.shown import print_card, print_devices, print_reports, shower
from fleet.trust import publish_app as _publish_words  # noqa: F401  # the same
from fleet.trust.app import journal_app
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
from protocols.recipients import CARD_BYTES_MAX, encode_card, parse_card
from protocols.topics import check_name

# typer has a click of its own since 0.16, and takes the installed one before
_USAGE = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

KEYS_SUFFIX = ".key.json"
CARD_SUFFIX = ".card.json"


app = group(
    "The operator's end of Sluicegate: keys, the collector, opening, verifying."
)
devices_app = group("The registry of enrolled devices.")
audit_app = group("Evidence, checked offline.")
app.add_typer(keys_app, name="keys")
app.add_typer(policy_app, name="policy")
app.add_typer(devices_app, name="devices")
app.add_typer(enrol_app, name="enrol")
app.add_typer(audit_app, name="audit")
app.add_typer(rollout_app, name="rollout")
app.add_typer(journal_app, name="journal")
app.add_typer(catalogue_app, name="catalogue")

KeyFiles = Annotated[
    list[Path], typer.Option("--keys", "-k", help="Key file; may be given again.")
]


def main(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        result = app(args=arguments, prog_name="sluicectl", standalone_mode=False)
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return 0
        reason = " ".join(error.format_message().split())
        raise BadInput("", "", reason, "see --help") from None
    except typer.Abort:
        return 130
    return result if isinstance(result, int) else 0


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Who will open and receipt.")],
    folder: Annotated[Path, typer.Option(help="Where both files go.")] = Path(),
    days: Annotated[int, typer.Option(min=1, max=3660, help="Until it expires.")] = 365,
) -> int:
    """Make a recipient: a private key file (0600) and the card for the gateways."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise BadInput("", "name", "must be 1 to 64 of A-Z a-z 0-9 _ . -")
    today = dt.datetime.now(dt.UTC).date()
    made = generate(name, today, today + dt.timedelta(days=days))
    private, public = (folder / f"{name}{end}" for end in (KEYS_SUFFIX, CARD_SUFFIX))
    if public.exists():
        raise BadInput(str(public), "", "exists already")
    folder.mkdir(parents=True, exist_ok=True)
    save(made, private)
    card = made.card()
    write_new(public, encode_card(card))
    print_card(card, (private, public))
    return 0


@keys_app.command("show")
def keys_show(card: Annotated[Path, typer.Argument(help="A card file.")]) -> int:
    """Show a card and its digest, to be compared on both sides."""
    try:
        found = parse_card(read_limited(card, CARD_BYTES_MAX))
    except WireError as error:
        raise BadInput(str(card), "", error.reason) from None
    print_card(found, ())
    return 0


@devices_app.command("add")
def devices_add(
    device: Annotated[str, typer.Argument(help="Name of the gateway.")],
    key: Annotated[str, typer.Argument(help="Its Ed25519 public key, base64.")],
    registry: Devices,
) -> int:
    """Enrol a device."""
    path = add_device(registry, device, public_key(key))
    typer.echo(f"enrolled {device}: {path}")
    return 0


@devices_app.command("retire")
def devices_retire(
    device: Annotated[str, typer.Argument(help="Name of the gateway.")],
    registry: Devices,
) -> int:
    """Take nothing from a device any more; what it said can still be verified.

    Collectors that run must be started anew to know of it.
    """
    day = dt.datetime.now(dt.UTC).date().isoformat()
    retire_device(registry, device, day)
    typer.echo(f"retired {device}: its name is not used again")
    return 0


@devices_app.command("list")
def devices_list(registry: Devices, json: Json = False) -> int:
    """List the devices; retired ones are not in --json."""
    print_devices(load_registry(registry), as_json=json)
    return 0


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
