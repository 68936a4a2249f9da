"""From a device's request to its answer: checked, registered, a certificate issued."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleet.enrol.authority import issue
from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.registry import add_device, load_registry
from policies.trust import TrustError, begin
from policies.trust.model import ROOT_BYTES_MAX
from protocols.enrolment import Answer, Broker, open_request_file
from protocols.errors import WireError
from protocols.pki import UNREADABLE, check_chain, check_time, parse_csr, spki

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from fleet.enrol.authority import Authority
    from protocols.enrolment import Asked

REQUEST_FILE_MAX: Final = 32 * 1024
BROKER_CA_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues: an authority of ours, for so many days."""

    authority: Authority
    days: int


def read_request(path: Path) -> Asked:
    """Return the request in a file, whose signatures hold; BadInput otherwise."""
    data = read_limited(path, REQUEST_FILE_MAX)
    try:
        asked = open_request_file(data)
        parse_csr(asked.csr, asked.request.device)
    except WireError as error:
        raise BadInput(str(path), "", str(error)) from None
    return asked


def issued(asked: Asked, issuer: Issuer, now: dt.datetime) -> list[x509.Certificate]:
    """Return a new certificate of a request and its chain; WireError if it is bad."""
    csr = parse_csr(asked.csr, asked.request.device)
    names = (asked.request.fleet, asked.request.device)
    return issue(issuer.authority, csr.public_key(), names, issuer.days, now)


def check_given(
    chain: Sequence[x509.Certificate], asked: Asked, file: Path, now: dt.datetime
) -> None:
    """Return where a certificate that another PKI issued fits; BadInput otherwise.

    With its issuer: a device takes renewals from who issued before, and nobody else.
    """
    csr = parse_csr(asked.csr, asked.request.device)
    try:
        check_chain(chain, spki(csr.public_key()), asked.request.device)
        check_time(chain[0], now)
    except WireError as error:
        raise BadInput(str(file), "", error.reason) from None
    if len(chain) == 1:
        raise BadInput(
            str(file),
            "",
            "holds the device's certificate alone: it could not be renewed",
            "put its issuer's certificate behind it: cat DEVICE.pem ISSUER.pem",
        )


def answer_of(
    asked: Asked,
    chain: Sequence[x509.Certificate],
    broker: Broker | None = None,
    root: bytes = b"",
) -> Answer:
    """Return the answer to a request; without a broker it is a renewal's."""
    return Answer(
        device=asked.request.device,
        fleet=asked.request.fleet,
        request=asked.digest,
        certificates=tuple(
            base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain
        ),
        broker=broker,
        root=base64.b64encode(root).decode(),
    )


def register(folder: Path, asked: Asked) -> bool:
    """Put the device into the registry; False where it is there with this key.

    BadInput where it is there with another, or retired: replaced, or not ours.
    """
    device = asked.request.device
    known = load_registry(folder).get(device) if folder.is_dir() else None
    if known is None:
        add_device(folder, device, asked.identity)
        return True
    if known.retired:
        raise BadInput(str(folder), "", f"{device} is retired ({known.retired})")
    if known.key != asked.identity:
        reason = f"{device} is enrolled with another identity key"
        hint = "where it was replaced on purpose, take its file out of the folder first"
        raise BadInput(str(folder), "", reason, hint)
    return False


def broker_of(host: str, port: int, ca: Path) -> Broker:
    """Return what a device is told of the broker; BadInput where ``ca`` is none."""
    pem = read_limited(ca, BROKER_CA_MAX)
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        found = []
    if not found:
        raise BadInput(str(ca), "", "holds no certificate (PEM)")
    # only certificates: whatever else stands in the file stays here
    text = b"".join(one.public_bytes(Encoding.PEM) for one in found).decode()
    return Broker(host=host, port=port, ca=text)


def root_of(path: Path | None, fleet: str) -> bytes:
    """Return the trust root that the device will pin; BadInput where it is none."""
    if path is None:
        return b""
    data = read_limited(path, ROOT_BYTES_MAX)
    try:
        begin(data, fleet)
    except (TrustError, WireError) as error:
        raise BadInput(str(path), "", error.reason) from None
    return data
