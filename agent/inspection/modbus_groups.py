"""Rows of exchanges to findings: one group per conversation, never a loop over rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import NO_HOST, Conversation, Finding
from protocols.modbus.exchanges import UNLISTED, Verdict
from protocols.modbus.functions import NO_TABLE, function_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.inspection.findings import Level
    from protocols.frames import U16, U64, Bool, Index
    from protocols.modbus.exchanges import ExchangeBatch

FUNCTIONS_TOLD_MAX: Final = 4  # names in one detail
GROUPS_MAX: Final = 256  # of one detector and batch
BITS: Final = np.uint64(16)
EXTRA: Final = np.uint64(0xFFFF)
UNTOLD: Final = ~EXTRA  # no peer has this number: ``PEERS_MAX`` is far below
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one conversation (and one ``extra`` value), in order of time."""

    subject: Conversation
    extra: int
    rows: Index


def conversation_key(exchanges: ExchangeBatch, rows: Index) -> U64:
    """Return one number per row: client, server, link, unit; 16 low bits are free."""
    key: U64 = exchanges.client[rows].astype(np.uint64) << BITS
    key |= exchanges.server[rows]
    key = (key << np.uint64(8)) | exchanges.link[rows]
    key = (key << np.uint64(8)) | exchanges.unit[rows]
    return key << BITS


def subject_of_key(key: int, names: Sequence[str]) -> Conversation:
    """Return who talks to whom by a number of ``conversation_key``."""
    if key | 0xFFFF == int(UNTOLD | EXTRA):
        return Conversation(OTHERS, NO_HOST, UNLISTED)
    return Conversation(
        name_of(key >> 48, names), name_of(key >> 32 & 0xFFFF, names),
        key >> 24 & 0xFF, key >> 16 & 0xFF,
    )  # fmt: skip


def name_of(number: int, names: Sequence[str]) -> str:
    """Return the address of a peer; ``peer-N`` where nobody named it."""
    return names[number] if number < len(names) else f"peer-{number}"


def groups(
    exchanges: ExchangeBatch,
    odd: Bool,
    names: Sequence[str],
    extra: U16 | None = None,
) -> Iterator[Group]:
    """Yield the odd rows by conversation and ``extra`` ([N], what tells them apart)."""
    rows: Index = np.flatnonzero(odd)
    if not len(rows):
        return
    key = conversation_key(exchanges, rows)
    if extra is not None:
        key |= extra[rows]
    for head, part in split(bounded(key, GROUPS_MAX), rows):
        yield Group(subject_of_key(head, names), head & 0xFFFF, part)


def split(key: U64, rows: Index) -> Iterator[tuple[int, Index]]:
    """Yield every value of ``key`` ([N]) with its ``rows`` ([N]), in their order."""
    if not len(key):
        return
    order = np.argsort(key, kind="stable")
    key = key[order]
    cuts = np.flatnonzero(key[1:] != key[:-1]) + 1
    heads = key[np.concatenate(([0], cuts))].tolist()
    yield from zip(heads, np.split(rows[order], cuts), strict=True)


def bounded(key: U64, most: int) -> U64:
    """Return the keys ([N]) with only the ``most`` frequent ones told apart.

    Whoever sends every request under another name makes as many groups as rows: the
    smallest are told together, each ``extra`` for itself.
    """
    unique, group, count = np.unique(key, return_inverse=True, return_counts=True)
    if len(unique) <= most:
        return key
    few = np.argsort(count, kind="stable")[: len(unique) - most]
    unique[few] = UNTOLD | (unique[few] & EXTRA)
    told: U64 = unique[group]
    return told


def all_refused(exchanges: ExchangeBatch, rows: Index) -> bool:
    """Tell whether the firewall refused every one of these rows."""
    return bool((exchanges.verdict[rows] == int(Verdict.REFUSED)).all())


def finding(
    detector: str,
    level: Level,
    group: Group,
    exchanges: ExchangeBatch,
    detail: str = "",
    variant: str = "",
    *,
    refused: bool = False,
) -> Finding:
    """Return what a detector says of one group."""
    times = exchanges.time_ns[group.rows]
    return Finding(
        detector, level, group.subject, len(group.rows), int(times[0]),
        int(times[-1]), detail, variant, refused=refused,
    )  # fmt: skip


def asked(exchanges: ExchangeBatch, rows: Index) -> str:
    """Return which functions at which addresses these rows ask for, in few words."""
    codes = np.unique(exchanges.function[rows]).tolist()
    told = [function_name(one) for one in codes[:FUNCTIONS_TOLD_MAX]]
    if len(codes) > FUNCTIONS_TOLD_MAX:
        told.append(f"{len(codes) - FUNCTIONS_TOLD_MAX} more functions")
    words = ", ".join(told)
    placed = rows[exchanges.table[rows] != NO_TABLE]
    if not len(placed):
        return words
    writes = exchanges.write_count[placed] > 0
    first = np.where(
        writes, exchanges.write_address[placed], exchanges.address[placed]
    ).astype(np.int64)
    count = np.where(writes, exchanges.write_count[placed], exchanges.count[placed])
    low, high = int(first.min()), int((first + np.maximum(count, 1) - 1).max())
    return f"{words} at {low}" if low == high else f"{words} at {low} to {high}"
