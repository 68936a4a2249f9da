"""What a renewal may bring: the key that issued before decides, and nobody above it."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agent.enrolling import check_renewal, renewed
from agent.errors import Refused
from protocols.enrolment import Answer, Broker
from protocols.pki import parse_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
FLEETS, INTRUDERS, OURS = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey,
    issuer: str, days: int,
) -> x509.Certificate:  # fmt: skip
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)])
        for one in (subject, issuer)
    ]
    return (
        x509.CertificateBuilder(names[1], names[0], key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=days))
        .sign(by, hashes.SHA256())
    )


def answer(chain: Sequence[x509.Certificate]) -> Answer:
    ders = tuple(
        base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain
    )
    return Answer(device="gw-1", fleet="north", request="0" * 64, certificates=ders)


FLEET = certificate("north", FLEETS, FLEETS, "north", 3650)
FIRST = certificate("gw-1", OURS, FLEETS, "north", 90)
SECOND = certificate("gw-1", OURS, FLEETS, "north", 150)


def test_whoever_passes_a_renewal_on_plants_no_authority_in_it() -> None:
    crossed = certificate("north", FLEETS, INTRUDERS, "intruder", 3650)
    intruder = certificate("intruder", INTRUDERS, INTRUDERS, "intruder", 3650)
    planted = [SECOND, crossed, intruder]
    check_renewal(answer(planted), [FIRST, FLEET])  # the fleet's key signed the leaf
    forged = certificate("gw-1", OURS, INTRUDERS, "intruder", 3000)
    with pytest.raises(Refused, match="authority that issued before"):
        check_renewal(answer([forged, intruder]), planted)
    later = certificate("gw-1", OURS, FLEETS, "north", 300)
    check_renewal(answer([later, FLEET]), planted)


def test_a_chain_names_no_other_key_as_the_one_that_signed() -> None:
    # under RSA a signature holds under keys that were made to fit it, too
    other = certificate("north", INTRUDERS, INTRUDERS, "north", 3650)
    with pytest.raises(Refused, match="authority that issued before"):
        check_renewal(answer([SECOND, other]), [FIRST, FLEET])


def test_a_chain_without_its_issuer_is_renewed_by_nobody() -> None:
    with pytest.raises(Refused, match="installed without its issuer's certificate"):
        check_renewal(answer([SECOND, FLEET]), [FIRST])


def test_a_leaf_that_comes_alone_keeps_the_issuers_that_are_here() -> None:
    place = Broker(host="b.example", port=1, ca="PEM")
    first = msgspec.structs.replace(answer([FIRST, FLEET]), broker=place, root="AAAA")
    second = renewed(answer([SECOND]), first)
    assert second.chain() == answer([SECOND, FLEET]).chain()
    assert (second.broker, second.root) == (place, "AAAA")
    third = certificate("gw-1", OURS, FLEETS, "north", 300)
    check_renewal(answer([third, FLEET]), parse_chain(second.chain()))
