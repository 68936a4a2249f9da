"""What of a damaged evidence log may go on as the same log. Pure.

One device has one history. A salvaged prefix continues it only when nothing that was
ever told to others is missing from it: the newest stored signed checkpoint must be a
checkpoint of the prefix (same size, same root), and every entry that the collector has
receipted must be in it. Otherwise a new log starts, with a new log id, and says so in
its first entry; the damaged file is kept for whoever wants to look into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNKNOWN: Final = -1  # a count that the damage hides


@dataclass(frozen=True, slots=True)
class Anchor:
    """A tree head that was signed: ``size`` leaves have this ``root``."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """What happened to the database: the facts of the first entry afterwards.

    Counts are ``UNKNOWN`` (-1) where the damage hides them.
    """

    reason: str
    set_aside: str  # file name of the damaged database
    continued: bool  # the evidence log goes on; else a new one starts
    why: str
    log_id: bytes
    entries_kept: int
    entries_lost: int
    spool_kept: int
    spool_lost: int
    retained_kept: int
    retained_lost: int


def may_continue(
    readable: int,
    roots: Mapping[int, bytes],
    anchors: Sequence[Anchor] | None,
    receipted: int | None,
) -> tuple[bool, str]:
    """Tell whether ``readable`` salvaged entries continue the log, and why.

    Args:
        readable: entries read from position 0 on without a gap.
        roots: root of the prefix at each anchor's size that was reached.
        anchors: signed tree heads found, None where they could not be read.
        receipted: entries that the collector has, None where unknown.
    """
    if anchors is None:
        return False, "the signed checkpoints cannot be read"
    if receipted is None:
        return False, "what the collector has receipted cannot be read"
    if readable < receipted:
        return False, f"entry {readable} is lost and the collector has {receipted}"
    if not anchors:
        return True, "nothing was signed yet"
    newest = max(anchors, key=lambda anchor: anchor.size)
    if newest.size > readable:
        return False, f"entry {readable} is lost and was signed at {newest.size}"
    if roots.get(newest.size) != newest.root:
        return False, f"the entries do not give the root signed at {newest.size}"
    return True, f"the root signed at {newest.size} holds"
