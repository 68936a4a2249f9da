"""`sluicectl enrol serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer

from fleet.enrol import authority
from fleet.enrol.app import DAYS, Days, PassphraseFile
from fleet.enrol.desk import Desk
from fleet.enrol.issuing import Issuer
from fleet.enrol.serve import Server
from fleet.errors import BadInput
from fleet.groups import enrol_app
from fleet.registry import load_devices
from fleet.serving import served, teller
from fleet.trust.signing import Passphrases
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


@enrol_app.command("serve")
def enrol_serve(
    fleet: Fleet,
    broker: Broker,
    devices: Devices,
    ca_cert: Annotated[
        Path, typer.Option(help="The authority that issued before (PEM).")
    ],
    ca_key: Annotated[Path, typer.Option(help="Its key (PEM, 0600).")],
    days: Days = DAYS,
    passphrase_file: PassphraseFile = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="End after so many; 0: at SIGTERM.")
    ] = 0,
    ca: Ca = "",
    cert: Cert = "",
    key: CertKey = "",
    allow_plaintext: Plain = False,
    json: Json = False,
) -> int:
    """Renew certificates of enrolled devices that ask over MQTT. Until SIGTERM.

    Devices ask when two thirds of the validity are over. Who is taken out of --devices
    is not renewed any more. It needs to read sg/1/FLEET/+/enrol and to write
    sg/1/FLEET/+/enrolled at the broker, and nothing else.
    """
    try:
        check_name("fleet", fleet)
    except WireError as error:
        raise BadInput("", "--fleet", error.reason) from None
    load_devices(devices)  # a bad file is told before anything begins
    name = f"sluicectl-enrol-{fleet}"
    options = broker_options(broker, name, (ca, cert, key), plain=allow_plaintext)
    issuer = Issuer(authority.load(ca_cert, ca_key, Passphrases(passphrase_file)), days)
    show = teller(as_json=json)
    server = Server(fleet, Desk(fleet, devices, issuer), options, show)
    asyncio.run(served(server, seconds))
    return 0
