"""From what the sources brought to samples and texts: all buses meet here.

Exchanges of others are decoded first and judged (``agent/firewall``) before their
registers become samples. Pure composition of the decoders in ``protocols/``; state is
ISO-TP reassembly only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protocols.can.decode import decode as decode_can
from protocols.can.uds import identifiers
from protocols.modbus.decode import compile_points
from protocols.modbus.decode import decode as decode_modbus
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.readings import readings
from protocols.samples import (
    TextBatch,
    concat_samples,
    concat_texts,
    empty_samples,
    empty_texts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.records import Arrival
    from protocols.can.isotp import DiagnosticMessage, Diagnostics
    from protocols.can.plan import DecodePlan
    from protocols.can.uds import Identifier
    from protocols.frames import I32
    from protocols.modbus.decode import ModbusPlan
    from protocols.modbus.exchanges import ExchangeBatch
    from protocols.modbus.values import Point
    from protocols.samples import SampleBatch, TransactionBatch


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one batch holds. ``unbound``: data seen that no item is bound to."""

    samples: SampleBatch
    texts: TextBatch
    message: I32  # [frames] message row, -1 unknown id, -2 no data frame
    diagnostics: Sequence[DiagnosticMessage]
    identifiers: Sequence[Identifier]
    unbound: int
    errors: int  # signals that did not fit, invalid registers: kept back, counted


class Decoder:
    """Decodes arrivals with the tables of one policy."""

    def __init__(
        self,
        can: DecodePlan,
        diagnostics: Diagnostics,
        identifiers: Mapping[tuple[int, str], int],
        modbus: ModbusPlan,
    ) -> None:
        """Take the compiled plans; ``identifiers`` maps (bus, source) to an item."""
        self._can = can
        self._diagnostics = diagnostics
        self._identifiers = identifiers
        self._modbus = modbus

    def use_points(self, points: Sequence[Point]) -> None:
        """Decode these Modbus points from now on (SunSpec discovery found more)."""
        self._modbus = compile_points(points)

    @staticmethod
    def exchanges(arrival: Arrival) -> ExchangeBatch | None:
        """Return what passed between others, decoded; not judged yet."""
        return None if arrival.exchanges is None else decode_pairs(arrival.exchanges)

    def decode(self, arrival: Arrival, exchanges: ExchangeBatch | None) -> Decoded:
        """Return samples and texts of one batch, in order of arrival.

        ``exchanges``: those of the arrival, judged; what they say of registers counts
        as read.
        """
        samples: list[SampleBatch] = []
        texts: list[TextBatch] = []
        message: I32 = np.empty(0, np.int32)
        heard: Sequence[DiagnosticMessage] = ()
        seen: list[Identifier] = []
        unbound = errors = 0
        if arrival.frames is not None and len(arrival.frames):
            can = decode_can(self._can, arrival.frames)
            samples.append(can.samples)
            message = can.message
            unbound += can.unbound
            errors += can.short + can.multiplex_unknown
            heard = self._diagnostics.feed(arrival.frames)
            seen = [found for said in heard for found in identifiers(said)]
            texts.append(self._bound(seen))
        for transactions in _transactions(arrival, exchanges):
            modbus = decode_modbus(self._modbus, transactions)
            samples.append(modbus.samples)
            texts.append(modbus.texts)
            unbound += modbus.unmapped
            errors += modbus.errors
        return Decoded(
            concat_samples(samples) if samples else empty_samples(),
            concat_texts(texts),
            message,
            heard,
            seen,
            unbound,
            errors,
        )

    def _bound(self, seen: Sequence[Identifier]) -> TextBatch:
        """Return the identifiers that an item is bound to (low rate: a loop)."""
        rows = [
            (found.time_ns, item, found.text)
            for found in seen
            if (item := self._identifiers.get((found.bus, found.source), -1)) >= 0
        ]
        if not rows:
            return empty_texts()
        times, items, texts = zip(*rows, strict=True)
        return TextBatch(
            np.array(times, np.int64), np.array(items, np.uint32), tuple(texts)
        )


def _transactions(
    arrival: Arrival, exchanges: ExchangeBatch | None
) -> Iterator[TransactionBatch]:
    if arrival.transactions is not None and len(arrival.transactions):
        yield arrival.transactions
    if exchanges is not None and len(read := readings(exchanges)):
        yield read
