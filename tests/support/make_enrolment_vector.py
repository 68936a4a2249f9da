"""Writes docs/formats/vectors/enrolment.json: -m tests.support.make_enrolment_vector.

The identity is fixed; the TLS key's signature is not (ECDSA draws a number), so that
the PKCS#10 and the certificate are made once and kept.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from agent.adapters.tls_keys import csr_of, make_key
from fleet.enrol import authority
from fleet.enrol.issuing import Issuer, answer_of, issued
from fleet.trust.signing import Passphrases
from protocols.enrolment import (
    Broker,
    Request,
    as_message,
    encode_answer,
    open_request_file,
    request_file,
    spoken,
)
from tests.support.sealing import Device

FILE = Path("docs/formats/vectors/enrolment.json")
SEED = 7  # 32 bytes of it are the private key
THEN = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)


def vector(csr: str, certificates: list[str]) -> dict[str, object]:
    """Return the vector of a request and its answer; nothing in it is random."""
    device = Device("gw-7", SEED)
    request = Request(
        device="gw-7",
        fleet="north",
        ed25519=base64.b64encode(device.public_key()).decode(),
        csr=csr,
        tls_key="file",
        time_ns=1_795_651_200_000_000_000,
    )
    file = request_file(request, device.sign)
    asked = open_request_file(file)
    chain = authority.x509.load_pem_x509_certificates("".join(certificates).encode())
    ca = chain[-1].public_bytes(Encoding.PEM).decode()
    place = Broker(host="broker.example", port=8883, ca=ca)
    answer = answer_of(asked, chain, place, b"{}")
    return {
        "format": "docs/formats/enrolment.md, version 1",
        "seed": SEED,
        "csr": csr,
        "certificates": certificates,
        "request_file": file.decode(),
        "request_message": as_message(file).hex(),
        "request_fingerprint": asked.digest,
        "spoken": spoken(asked.digest),
        "answer_file": encode_answer(answer).decode(),
        "answer_fingerprint": answer.fingerprint(),
    }


def made() -> tuple[str, list[str]]:
    """Make a PKCS#10 and a chain anew."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_key(folder / "tls.key", "file")
        csr = base64.b64encode(csr_of(folder / "tls.key", "gw-7")).decode()
        paths = authority.found("north", folder / "ca", 10, THEN, None)
        issuer = Issuer(authority.load(*paths, Passphrases()), 90)
        device = Device("gw-7", SEED)
        request = Request(
            device="gw-7", fleet="north", csr=csr, time_ns=0,
            ed25519=base64.b64encode(device.public_key()).decode(),
        )  # fmt: skip
        asked = open_request_file(request_file(request, device.sign))
        chain = issued(asked, issuer, THEN)
        return csr, [one.public_bytes(Encoding.PEM).decode() for one in chain]


if __name__ == "__main__":
    kept = json.loads(FILE.read_text()) if FILE.exists() else None
    parts = (kept["csr"], kept["certificates"]) if kept else made()
    FILE.write_text(json.dumps(vector(*parts), indent=1) + "\n", encoding="ascii")
    sys.stdout.write(f"{FILE}\n")
