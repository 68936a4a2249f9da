"""`sluicectl keys new|show` and `sluicectl devices`: who receives, who sends."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Annotated

import typer

from fleet.errors import BadInput
from fleet.files import read_limited, write_new
from fleet.groups import devices_app, keys_app
from fleet.keys import generate, save
from fleet.registry import add_device, load_registry, public_key, retire_device
from fleet.shown import print_card, print_devices
from fleet.trust.words import Devices, Json  # noqa: TC001  # typer reads annotations
from protocols.errors import WireError
from protocols.recipients import CARD_BYTES_MAX, encode_card, parse_card

KEYS_SUFFIX = ".key.json"
CARD_SUFFIX = ".card.json"


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
