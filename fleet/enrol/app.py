"""`sluicectl enrol ca|show|answer`: devices get their certificates."""

from __future__ import annotations

import datetime as dt
import hmac
from pathlib import Path
from typing import Annotated

import typer

from fleet.enrol import authority
from fleet.enrol.desk import remember
from fleet.enrol.issuing import (
    Issuer,
    answer_of,
    broker_of,
    check_given,
    issued,
    read_request,
    register,
    root_of,
)
from fleet.enrol.shown import print_answer, print_request
from fleet.errors import BadInput
from fleet.files import write_new
from fleet.groups import enrol_app
from fleet.link import parse_broker
from fleet.trust.signing import Passphrases
from fleet.trust.words import (  # noqa: TC001  # typer reads them
    Broker,
    Devices,
    Fleet,
    Json,
)
from protocols.enrolment import encode_answer, heard
from protocols.errors import WireError
from protocols.topics import check_name

RequestFile = Annotated[
    Path, typer.Argument(help="From `sluicegate provision begin` on the device.")
]
BrokerCa = Annotated[
    Path, typer.Option(help="Whose signature the broker's certificate has (PEM).")
]
Cert = Annotated[
    Path | None,
    typer.Option(
        help="In place of --ca-cert and --ca-key: a certificate that another PKI "
        "issued for this request, with its chain (PEM)."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(help="The fleet's first root.json; without it no policies come."),
]
CaCert = Annotated[
    Path | None, typer.Option(help="The fleet's authority (PEM), its issuers after it.")
]
CaKey = Annotated[
    Path | None, typer.Option(help="The authority's key (PEM, 0600, EC or RSA).")
]
Days = Annotated[
    int, typer.Option(min=1, max=825, help="How long a certificate is valid.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="The passphrase of the key in its first line; else asked for."),
]
DAYS = 90


@enrol_app.command("ca")
def enrol_ca(
    fleet: Annotated[str, typer.Argument(help="Name of the fleet.")],
    folder: Annotated[Path, typer.Option(help="Where ca.pem and ca.key go.")] = Path(),
    years: Annotated[int, typer.Option(min=1, max=20, help="Until it expires.")] = 10,
    passphrase_file: PassphraseFile = None,
) -> int:
    """Make a small authority for a fleet's devices, where no PKI is at hand.

    ca.pem goes to the broker (mosquitto: cafile); ca.key (0600) issues and stays here.
    """
    try:
        check_name("fleet", fleet)
    except WireError as error:
        raise BadInput("", "fleet", error.reason) from None
    secret = Passphrases(passphrase_file).of_file()
    now = dt.datetime.now(dt.UTC)
    for path in authority.found(fleet, folder, years, now, secret):
        typer.echo(str(path))
    return 0


@enrol_app.command("show")
def enrol_show(request: RequestFile, json: Json = False) -> int:
    """Check a request and tell whose it is, with the fingerprint to compare."""
    print_request(read_request(request), as_json=json)
    return 0


@enrol_app.command("answer")
def enrol_answer(
    request: RequestFile,
    fleet: Fleet,
    broker: Broker,
    broker_ca: BrokerCa,
    devices: Devices,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the answer goes.")],
    ca_cert: CaCert = None,
    ca_key: CaKey = None,
    cert: Cert = None,
    root: Root = None,
    fingerprint: Annotated[
        str, typer.Option(help="What the device printed; refused where it differs.")
    ] = "",
    days: Days = DAYS,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> int:
    """Check a request, issue its certificate, register the device, write the answer.

    Compare the request's fingerprint with the device's (or give --fingerprint), and
    tell the technician the answer's: the device installs nothing else.
    """
    asked = read_request(request)
    _check_fingerprint(asked.digest, fingerprint, request)
    if asked.request.fleet != fleet:
        reason = f"is of fleet {asked.request.fleet}, not {fleet}"
        raise BadInput(str(request), "fleet", reason)
    if out.exists():
        raise BadInput(str(out), "", "exists already")
    place = broker_of(*parse_broker(broker), broker_ca)
    pinned = root_of(root, fleet)
    now = dt.datetime.now(dt.UTC)
    if cert is not None and ca_cert is None and ca_key is None:
        chain = authority.load_chain(cert)
        check_given(chain, asked, cert, now)
    else:
        issuer = _issuer(ca_cert, ca_key, days, passphrase_file)
        chain = issued(asked, issuer, now)
    is_new = register(devices, asked)
    answer = answer_of(asked, chain, place, pinned)
    remember(devices, asked, answer)
    write_new(out, encode_answer(answer))
    print_answer(asked, answer, out, is_new=is_new, as_json=json)
    return 0


def _issuer(
    ca_cert: Path | None, ca_key: Path | None, days: int, passphrase_file: Path | None
) -> Issuer:
    if ca_cert is None or ca_key is None:
        raise BadInput("", "", "give --ca-cert and --ca-key, or --cert")
    found = authority.load(ca_cert, ca_key, Passphrases(passphrase_file))
    return Issuer(found, days)


def _check_fingerprint(digest: str, told: str, request: Path) -> None:
    if not told:
        return
    try:
        digits = heard(told)
    except WireError as error:
        raise BadInput("", "--fingerprint", error.reason) from None
    if not hmac.compare_digest(digest[: len(digits)], digits):
        reason = "this is not the request that the device made"
        raise BadInput(str(request), "--fingerprint", reason, "bring the file again")
