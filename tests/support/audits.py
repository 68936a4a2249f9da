"""Histories to verify: an honest drive, and what a ledger would hold of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fleet.audit.sources import verify_ledger
from fleet.audit.verify import Verifier
from tests.support import sealing
from tests.support.fleet_side import FLEET, LOG, Gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.records import SpoolRecord
    from fleet.audit.report import Report
    from tests.support.fleet_side import Side

DEVICE = sealing.DEVICE
KEY = sealing.Device().public_key()
ORIGIN = f"sluicegate/{FLEET}/{DEVICE}/{LOG.hex()}"


def drive() -> Gateway:
    """Return a device that did a little of everything, and stopped cleanly."""
    gateway = Gateway()
    gateway.seal([1, 2, 3], dropped=2)
    gateway.seal([4])
    gateway.snapshot()
    gateway.start(b"second", last="clean")
    gateway.seal([5, 6])
    gateway.snapshot()
    gateway.stop()
    return gateway


def report(side: Side, *, behind_ok: bool = False) -> Report:
    (found,) = verify_ledger(side.ledger, {DEVICE: KEY}, behind_ok=behind_ok)
    return found


def checked(
    gateway: Gateway,
    entries: Sequence[bytes] | None = None,
    notes: Sequence[tuple[int, bytes, bytes]] | None = None,
    records: Sequence[SpoolRecord] | None = None,
) -> Report:
    """Verify lists: what the ledger would hold, tampered with at will."""
    if notes is None:
        gateway.sign()
        notes = gateway.checkpoints
    verifier = Verifier(DEVICE, KEY)
    verifier.log(ORIGIN, gateway.entries if entries is None else entries, notes)
    verifier.received(
        ((r.epoch, r.sequence), hashlib.sha256(r.body).digest(), r.samples)
        for r in (gateway.records if records is None else records)
    )
    return verifier.report
