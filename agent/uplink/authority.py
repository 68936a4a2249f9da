"""Who may receipt what: a recipient settles what was for it, and nothing else. Pure.

Data is settled by a recipient of its destination. Evidence is settled by a recipient at
home: a supplier abroad who has a copy must not make the device forget to send it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import Refused
from agent.uplink.receipt import Confirmations, apply_receipt
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def merged(said: Sequence[Confirmations]) -> Confirmations:
    """Return what several receipts of one recipient say together, in their order.

    One transaction then settles what came while the last one was written. Of the
    evidence the last word counts: a collector may have lost what it had.
    """
    spans: dict[bytes, list[range]] = {}
    for one in said:
        for epoch, numbers in one.epochs:
            spans.setdefault(epoch, []).append(numbers)
    evidence = [one.evidence for one in said if one.evidence is not None]
    epochs = tuple(
        (epoch, span) for epoch, some in spans.items() for span in _joined(some)
    )
    return Confirmations(epochs, evidence[-1] if evidence else None)


def _joined(spans: list[range]) -> list[range]:
    joined: list[range] = []
    for span in sorted(spans, key=lambda one: one.start):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined
