"""How much of the disk spool and retained data may take now. Pure.

The caps that the owner set hold where the disk has room for them. Where it has not,
because others fill it or because the evidence log has grown, they shrink: the spool
gives way first (lowest rank, then oldest), then retained data. Evidence has no cap:
what the others give way with, and the reserve beside the database, is its.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.limits import (
    RESERVE_BYTES,
    ROOM_STEP_BYTES,
    SPOOL_BYTES_HELD_MIN,
    WAL_BYTES_MAX,
)


@dataclass(frozen=True, slots=True)
class Disk:
    """What was measured, in bytes."""

    free: int  # that this user may still take
    spare: int  # pages in the database's file that hold nothing
    wal: int  # the write-ahead log's file
    reserve: int  # taken by our reserve


@dataclass(frozen=True, slots=True)
class Used:
    """What is stored, in bytes of messages."""

    spool: int
    retained: int


def usable(disk: Disk) -> int:
    """Return bytes that data may still grow by; below 0: it has to give way.

    The log has to grow to its full size, and the reserve comes before data.
    """
    log = max(WAL_BYTES_MAX - disk.wal, 0)
    reserve = max(RESERVE_BYTES - disk.reserve, 0)
    return disk.free + disk.spare - log - reserve


def caps(configured: tuple[int, int], used: Used, disk: Disk) -> tuple[int, int]:
    """Return the caps of spool and retained data, in bytes.

    Rounded down to steps, so that they rest while the disk hardly changes. The spool
    keeps room for what is never shed: SPOOL_BYTES_HELD_MIN.
    """
    more = usable(disk)
    spool = _stepped(used.spool + more)
    # What the spool can still give way with is not asked of retained data.
    retained = _stepped(used.retained + more + used.spool)
    return (
        min(configured[0], max(spool, SPOOL_BYTES_HELD_MIN)),
        min(configured[1], max(retained, 0)),
    )


def _stepped(size: int) -> int:
    return size - size % ROOM_STEP_BYTES
