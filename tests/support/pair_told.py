"""A ``PairBatch`` as a list, for tests that compare row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch


class Told(NamedTuple):
    """One exchange: PDUs, None where there is none."""

    request: bytes | None
    reply: bytes | None
    unit: int
    problems: int


def told(batch: PairBatch | None) -> list[Told]:
    """Return the rows of a batch, or of none."""
    if batch is None:
        return []
    chars = batch.chars.tobytes()

    def pdu(at: int, size: int) -> bytes | None:
        return None if at < 0 else chars[at : at + size]

    return [
        Told(pdu(asked, size), pdu(told, told_size), unit, problems)
        for asked, size, told, told_size, unit, problems in zip(
            batch.request_at.tolist(), batch.request_size.tolist(),
            batch.reply_at.tolist(), batch.reply_size.tolist(),
            batch.unit.tolist(), batch.problems.tolist(), strict=True,
        )
    ]  # fmt: skip
