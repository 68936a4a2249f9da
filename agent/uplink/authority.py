"""Who may receipt what: a recipient settles what was for it, and nothing else. Pure.

Data is settled by a recipient of its destination. Evidence is settled by a recipient at
home: a supplier abroad who has a copy must not make the device forget to send it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import Refused
from agent.uplink.receipt import apply_receipt
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.uplink.receipt import Confirmations
    from policies.tables import CompiledPolicy


class Authority:
    """The receipt keys of one policy's recipients."""

    def __init__(
        self,
        device: str,
        policy: CompiledPolicy,
        home_region: str,
        keys: Mapping[str, bytes],
    ) -> None:
        """``keys``: recipient name -> 32-byte Ed25519 receipt key, from its card."""
        self._device = device
        self._keys = dict(keys)
        self._recipients = {
            d.name: frozenset(d.recipients) for d in policy.destinations
        }
        self._home = frozenset(
            name
            for destination in policy.destinations
            if destination.region == home_region
            for name in destination.recipients
        )

    def open(self, message: bytes, log_id: bytes) -> tuple[str, Confirmations]:
        """Return (who, what they confirm); Refused where no recipient signed it."""
        for name, key in self._keys.items():
            try:
                return name, apply_receipt(message, key, self._device, log_id)
            except WireError:
                continue
        raise Refused("receipt", "is not a receipt that a recipient signed for us")

    def may_settle(self, name: str, destination: str) -> bool:
        """Tell whether a recipient's word settles records of a destination."""
        return name in self._recipients.get(destination, frozenset())

    def may_settle_evidence(self, name: str) -> bool:
        """Tell whether a recipient's word settles evidence."""
        return name in self._home
