"""Whether an answer to our request may be installed: checked step by step. Pure.

Nothing of it is used before all holds; time and keys are the caller's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from agent.errors import Refused
from protocols.errors import WireError
from protocols.pki import UNREADABLE, check_chain, check_time, parse_chain, spki

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.enrolment import Answer

AUTHORITIES_MAX: Final = 512
ALONE: Final = (
    "it was installed without its issuer's certificate, so no renewal can be told from"
    " a stranger's"
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer must be about; the key as SubjectPublicKeyInfo, DER."""

    device: str
    fleet: str
    key: bytes
    request: str  # SHA-256 (hex) of our request's body


@dataclass(frozen=True, slots=True)
class Times:
    """The wall clock, and the latest time that is known to be past; ns."""

    now_ns: int
    floor_ns: int


def check_answer(
    answer: Answer, expected: Expected, times: Times
) -> list[x509.Certificate]:
    """Return the chain of an answer that may be used, the leaf first.

    (1) it is for this device and fleet (2) it answers what was asked last (3) the chain
    is of our key and name (4) the leaf is valid now, and not expired by the floor
    (5) the broker's authorities are certificates. Refused names the step's rule. The
    trust root is for who can read roots.
    """
    if (answer.device, answer.fleet) != (expected.device, expected.fleet):  # (1)
        reason = f"is for {answer.device} of fleet {answer.fleet}"
        raise Refused("wrong-device", f"the answer {reason}")
    if answer.request != expected.request:  # (2)
        raise Refused("other-request", "the answer is to another request than ours")
    try:
        chain = parse_chain(answer.chain())
        check_chain(chain, expected.key, expected.device)  # (3)
    except WireError as error:
        raise Refused("certificate", error.reason) from None
    try:
        latest = _moment(max(times.now_ns, times.floor_ns))
        check_time(chain[0], latest)  # (4)
        check_time(chain[0], _moment(times.now_ns))
    except WireError as error:
        reason = f"{error.reason}; this device's clock says {_said(times.now_ns)}"
        raise Refused("validity", reason) from None
    if answer.broker is not None:  # (5)
        _check_authorities(answer.broker.ca.encode())
    return chain


def check_first(answer: Answer) -> None:
    """Return where an answer that people brought names a broker, else Refused."""
    if answer.broker is None:
        raise Refused("broker", "the answer names no broker")


def check_renewal(answer: Answer, present: Sequence[x509.Certificate]) -> None:
    """Return where an answer over MQTT may replace what is installed, else Refused.

    Beyond ``check_answer``: (6) it changes nothing but certificates (7) its leaf is
    signed by the key that signed the present one, and the chain names that key and no
    other (8) it lasts longer. Who stands above that key in a chain says nothing:
    answers are not signed, and whoever passes one on could put an authority of his own
    there, for the next renewal. That the leaf's signature holds under another key says
    nothing, either: to an RSA signature, whoever likes makes a key of his own.
    """
    if answer.broker is not None or answer.root:  # (6)
        raise Refused("renewal", "would change the broker or the trust root")
    (leaf, *issuers), (old, *above) = parse_chain(answer.chain()), present
    if not above:
        raise Refused("renewal", ALONE)
    ours = spki(above[0].public_key())
    others = any(spki(one.public_key()) != ours for one in issuers[:1])
    if others or not _signed_by(leaf, above[0]):  # (7)
        raise Refused("renewal", "is not signed by the authority that issued before")
    if leaf.not_valid_after_utc <= old.not_valid_after_utc:  # (8)
        raise Refused("renewal", "does not last longer than the present one")


def renewed(answer: Answer, present: Answer) -> Answer:
    """Return what takes the place of ``present``; Refused as ``check_renewal``.

    A leaf that comes alone keeps the issuers that stand here: one of them signed it,
    and the next renewal is held against them.
    """
    check_renewal(answer, parse_chain(present.chain()))
    certificates = answer.certificates
    if len(certificates) == 1:
        certificates += present.certificates[1:]
    return msgspec.structs.replace(
        answer,
        certificates=certificates,
        broker=present.broker,
        root=present.root,
    )


def _signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _check_authorities(pem: bytes) -> None:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        found = []
    if not 1 <= len(found) <= AUTHORITIES_MAX:
        raise Refused("broker-ca", "the broker's authorities are no certificates")


def _moment(ns: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=ns // 1000)


def _said(ns: int) -> str:
    return f"{_moment(ns):%Y-%m-%d %H:%M} UTC"
