"""What `sluicectl enrol` prints: names, digests and times, no secrets."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fleet.listing import write
from protocols.enrolment import spoken, unbase64
from protocols.plain import printable

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.enrolment import Answer, Asked


def print_request(asked: Asked, *, as_json: bool) -> None:
    """Tell whose request it is."""
    request = asked.request
    told = {
        "device": request.device,
        "fleet": request.fleet,
        "ed25519": request.ed25519,
        "tls_key": request.tls_key,
        "time_ns": request.time_ns,
        "fingerprint": asked.digest,
    }
    if as_json:
        _json(told)
        return
    told["fingerprint"] = spoken(asked.digest)
    for name, value in told.items():
        typer.echo(f"{name}: {value}")


def print_answer(
    asked: Asked, answer: Answer, out: Path, *, is_new: bool, as_json: bool
) -> None:
    """Tell what was issued, and both fingerprints."""
    leaf = x509.load_der_x509_certificate(answer.chain()[0])
    root = unbase64("root", answer.root)
    told: dict[str, object] = {
        "device": answer.device,
        "fleet": answer.fleet,
        "registered": is_new,
        "answer": str(out),
        "request_fingerprint": asked.digest,
        "fingerprint": answer.fingerprint(),
        "certificate_sha256": leaf.fingerprint(hashes.SHA256()).hex(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "root_sha256": hashlib.sha256(root).hexdigest() if root else "",
    }
    if as_json:
        _json(told)
        return
    word = "enrolled" if is_new else "was enrolled already"
    typer.echo(f"{answer.device} of fleet {answer.fleet}: {word}")
    typer.echo(
        f"certificate: valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    )
    typer.echo(f"request:     {spoken(asked.digest)}   must be what the device printed")
    typer.echo(f"{printable(str(out))}: to the device, which installs it with")
    typer.echo(f"fingerprint: {spoken(answer.fingerprint())}")


def _json(told: dict[str, object]) -> None:
    write(msgspec.json.encode(told).decode())
