"""What bounds new metadata where the trusted ones are lost: what else was kept.

From the pinned root alone an old bundle that is still good would be taken, and with it
an older policy, or keys that a root took back. The proofs of policies, the standing and
the newest entries of the evidence log tell how far this device had come. They only
tighten, so it is enough that they are whole; none is verified as a source of policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgpack

from agent.activation import State, decode_standing
from agent.limits import EVIDENCE_ENTRIES_KEPT_MIN
from agent.store.documents import ACTIVE, STANDING, TRIAL, opened
from policies.trust import TrustError, told_by_proof

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PAGE: Final = 256  # entries read at a time
CONFIRMED: Final = "active"  # the step


class Floors(NamedTuple):
    """Versions that nothing new may be below; 0 where nothing tells."""

    root: int = 0
    policy: int = 0  # confirmed last
    least: int = 0  # the highest min_version that was signed


class Log(Protocol):
    """The evidence log as it is read back; the store is one."""

    @property
    def first(self) -> int:
        """Return the position of the first entry that is not pruned."""

    def root(self) -> tuple[int, bytes]:
        """Return (size, root)."""

    def evidence_since(self, start: int, limit: int) -> list[bytes]:
        """Return encoded entries [start, start + limit), or the first of them."""


def newest_entries(log: Log) -> Iterator[bytes]:
    """Yield the entries of the log from its end on, as many as are looked at."""
    end = log.root()[0]
    last = max(end - EVIDENCE_ENTRIES_KEPT_MIN, log.first)
    while end > last:
        start = max(end - PAGE, last)
        page: list[bytes] = []
        while start + len(page) < end:
            page += log.evidence_since(start + len(page), end - start - len(page))
        yield from reversed(page)
        end = start


def floors_of(documents: Mapping[str, bytes | None], newest: Iterable[bytes]) -> Floors:
    """Return what whole documents and the log tell; ``newest``: its last entry first.

    ``documents``: as stored, by name. Of several that tell what was confirmed last, the
    surest: the policy itself, then the log, then the standing.
    """
    whole = {
        name: body for name, one in documents.items() if (body := _body(name, one))
    }
    proofs = {name: _proof(whole.get(name, b"")) for name in (ACTIVE, TRIAL)}
    root, logged = _logged(newest)
    confirmed = proofs[ACTIVE].policy or logged or _standing(whole.get(STANDING, b""))
    return Floors(
        max(root, *(one.root for one in proofs.values())),
        confirmed,
        max(one.least for one in proofs.values()),
    )


def _body(name: str, document: bytes | None) -> bytes:
    try:
        return opened(name, document or b"")
    except ValueError:
        return b""


def _proof(kept: bytes) -> Floors:
    if not kept:
        return Floors()
    try:
        return Floors(*told_by_proof(kept))
    except TrustError:
        return Floors()


def _standing(body: bytes) -> int:
    try:
        standing = decode_standing(body)
    except ValueError:
        return 0
    return standing.version if standing.state is State.ACTIVE else 0


def _logged(newest: Iterable[bytes]) -> tuple[int, int]:
    """Return (highest root since, version) of the last policy that was confirmed."""
    root = 0
    for entry in newest:
        if b"cfg.change" not in entry:
            continue
        match msgpack.unpackb(entry):
            case {"step": str(step), "version": int(version), "metadata": [*told]}:
                root = max(root, _first(told))
                if step == CONFIRMED:
                    return root, version
    return root, 0


def _first(told: Sequence[object]) -> int:
    return told[0] if told and isinstance(told[0], int) else 0
