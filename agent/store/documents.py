"""Documents of the store that carry their own checksum. Pure.

A policy must not come back from a damaged disk as another one, nor a standing as one
that never was: such a document is its body behind the SHA-256 of its name and body.
What it says is verified again where it is used; this only tells damage from absence.
"""

from __future__ import annotations

import hashlib
from typing import Final

STANDING: Final = "policy.standing"  # agent/activation.py
TRUST: Final = "policy.trust"  # what new metadata is held against
ACTIVE: Final = "policy.active"  # the confirmed policy with its proof
TRIAL: Final = "policy.trial"  # the candidate: staged, or on trial
VOLUMES: Final = "volumes"  # how much left, for the limits of policies
FIREWALL: Final = "firewall"  # what it said and no firewall.snap has told yet
AGES: Final = "evidence.ages"  # how old which part of the log is
PRUNED: Final = "evidence.pruned"  # where the log begins on this device
CHECKED: Final = frozenset(
    {STANDING, TRUST, ACTIVE, TRIAL, VOLUMES, FIREWALL, AGES, PRUNED}
)

_DIGEST_BYTES: Final = 32


def closed(name: str, body: bytes) -> bytes:
    """Return the document to be kept."""
    return _digest(name, body) + body


def opened(name: str, document: bytes) -> bytes:
    """Return the body of a document; ValueError where it is not what was kept."""
    digest, body = document[:_DIGEST_BYTES], document[_DIGEST_BYTES:]
    if digest != _digest(name, body):
        raise ValueError("has changed on the disk")
    return body


def is_whole(name: str, document: bytes) -> bool:
    """Tell whether a document is what was kept; those without a checksum are."""
    digest, body = document[:_DIGEST_BYTES], document[_DIGEST_BYTES:]
    return name not in CHECKED or digest == _digest(name, body)


def _digest(name: str, body: bytes) -> bytes:
    return hashlib.sha256(f"{name}\0".encode() + body).digest()
