"""The evidence logs of a fleet as pages bring them: continued, never rewritten.

Pages are not signed, checkpoints are. So entries up to the newest signed root are
facts, and what lies behind it is a tail that a forger may have written: where the
device shows another one, the tail is dropped and asked for again. A signed root that
does not fit is kept beside the log, as the proof that it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fleet.cosign import cosigned
from fleet.errors import Refused
from protocols.tlog.checkpoint import CheckpointError, open_checkpoint
from protocols.tlog.tree import EMPTY_ROOT, Growth, leaf_hash

if TYPE_CHECKING:
    from fleet.keys import RecipientKeys
    from fleet.ledger import Ledger
    from protocols.audit import AuditPage
    from protocols.tlog.checkpoint import Checkpoint

UNSIGNED_LOGS_MAX: Final = 4  # of a device: a new log comes with a damaged store only
TAIL_MAX: Final = 1_000_000  # entries that no checkpoint covers
RULE: Final = "evidence"
REWRITTEN: Final = "a signed root does not fit: the log was rewritten"


@dataclass(slots=True)
class _Log:
    tree: Growth  # of all entries here
    signed: Growth  # of those under the newest good checkpoint


def origin_of(fleet: str, device: str, log: bytes) -> str:
    """Return the checkpoint origin of a device's log."""
    return f"sluicegate/{fleet}/{device}/{log.hex()}"


class Logs:
    """Takes pages in; tells how far each log is here."""

    def __init__(
        self, fleet: str, ledger: Ledger, keys: tuple[RecipientKeys, ...]
    ) -> None:
        """``keys``: the first of them cosigns checkpoints."""
        self._fleet = fleet
        self._ledger = ledger
        self._keys = keys
        self._known: dict[tuple[str, bytes], _Log] = {}

    def head(self, device: str, log: bytes) -> tuple[int, bytes]:
        """Return (size, root) of what is here of a log."""
        known = self._known.get((device, log))
        if known is None:
            return 0, EMPTY_ROOT
        return known.tree.size, known.tree.root()

    def take(self, device: str, key: bytes, page: AuditPage, now_ns: int) -> int:
        """Take in a page; return how many entries were new.

        ``key``: the device's Ed25519 public key. Refused where it is not acceptable;
        what has to be asked for again follows from ``head``.
        """
        signed = self._opened(device, key, page)
        log = self._log(device, page.log, signed)
        if page.start > log.tree.size:
            return 0  # a gap: the receipt tells the device where to go on
        self._compare(device, page, log, signed)
        fresh = page.entries[log.tree.size - page.start :]
        if log.tree.size - log.signed.size + len(fresh) > TAIL_MAX and signed is None:
            raise Refused(RULE, f"more than {TAIL_MAX} entries without a signature")
        grown = log.tree.copy()
        grown.append([leaf_hash(entry) for entry in fresh])
        if signed is not None:
            self._check(device, page, log, grown, signed, now_ns)
        if fresh:
            self._ledger.add_log(device, page.log)
            self._ledger.add_entries(device, page.log, log.tree.size, fresh)
            self._known[device, page.log] = log
        log.tree = grown
        if signed is not None and signed.size == grown.size:
            log.signed = grown.copy()
        return len(fresh)

    def _opened(self, device: str, key: bytes, page: AuditPage) -> Checkpoint | None:
        if not page.checkpoint:
            return None
        try:
            return open_checkpoint(
                page.checkpoint, origin_of(self._fleet, device, page.log), key
            )
        except CheckpointError as error:
            raise Refused("checkpoint", str(error)) from None

    def _log(self, device: str, log_id: bytes, note: Checkpoint | None) -> _Log:
        log = self._known.get((device, log_id))
        if log is not None:
            return log
        known = self._ledger.logs(device)
        if (
            log_id not in known
            and note is None
            and (
                sum(not self._ledger.checkpoints(device, one) for one in known)
                >= UNSIGNED_LOGS_MAX
            )
        ):
            raise Refused(RULE, "too many logs without a signed checkpoint")
        good = [c[0] for c in self._ledger.checkpoints(device, log_id) if c[3]]
        newest = max(good, default=0)
        signed = Growth(0, {})
        signed.append(
            [leaf_hash(e) for e in self._ledger.entries(device, log_id, 0, newest)]
        )
        tree = signed.copy()
        tree.append(
            [leaf_hash(e) for e in self._ledger.entries(device, log_id, newest)]
        )
        log = _Log(tree, signed)
        if log_id in known:  # else it becomes one with its first entry
            self._known[device, log_id] = log
        return log

    def _compare(
        self, device: str, page: AuditPage, log: _Log, signed: Checkpoint | None
    ) -> None:
        """Hold what came again against what is here."""
        end = min(log.tree.size, page.start + len(page.entries))
        here = self._ledger.entries(device, page.log, page.start, end)
        for position, (old, new) in enumerate(
            zip(here, page.entries, strict=False), page.start
        ):
            if old == new:
                continue
            if position < log.signed.size:
                if signed is not None and self._signs_another(
                    device, page, log, signed
                ):
                    self._keep_proof(device, page, signed)
                    raise Refused(RULE, REWRITTEN)
                raise Refused(RULE, "an entry under a signed root came differently")
            self._drop_tail(device, page.log, log)
            if page.start > log.tree.size:
                raise Refused(RULE, "the unsigned end of the log came differently")
            return

    def _signs_another(
        self, device: str, page: AuditPage, log: _Log, signed: Checkpoint
    ) -> bool:
        """Tell whether the device signed another past than the one that is here.

        Entries alone may be a forger's, beside a root that is the device's own.
        """
        if signed.size <= log.signed.size:
            return self._root_at(device, page.log, log, signed.size) != signed.root
        tree = Growth(0, {})
        past = self._ledger.entries(device, page.log, 0, page.start)
        shown = page.entries[: signed.size - page.start]
        tree.append([leaf_hash(entry) for entry in (*past, *shown)])
        return tree.size == signed.size and tree.root() == signed.root

    def _keep_proof(self, device: str, page: AuditPage, signed: Checkpoint) -> None:
        head = (signed.size, signed.root)
        self._ledger.add_log(device, page.log)
        self._ledger.add_checkpoint(device, page.log, head, page.checkpoint, b"")

    def _drop_tail(self, device: str, log_id: bytes, log: _Log) -> None:
        self._ledger.drop_entries(device, log_id, log.signed.size)
        log.tree = log.signed.copy()

    def _check(
        self, device: str, page: AuditPage, log: _Log, grown: Growth,
        signed: Checkpoint, now_ns: int,
    ) -> None:  # fmt: skip
        """Keep and cosign a checkpoint that fits; Refused where it does not."""
        head = (signed.size, signed.root)
        if signed.size > grown.size:
            raise Refused("checkpoint", "of more entries than its page brings")
        if signed.size == grown.size:
            root = grown.root()
        else:
            root = self._root_at(device, page.log, log, signed.size)
        if root != signed.root:
            self._keep_proof(device, page, signed)
            self._drop_tail(device, page.log, log)
            raise Refused(RULE, REWRITTEN)
        both = page.checkpoint
        for keys in self._keys[:1]:
            public = keys.receipt.public_key().public_bytes_raw()
            name = f"sluicegate/{self._fleet}/collector/{keys.name}"
            both = cosigned(both, name, public, keys.sign, now_ns // 10**9)
        self._ledger.add_log(device, page.log)
        self._ledger.add_checkpoint(device, page.log, head, page.checkpoint, both)

    def _root_at(self, device: str, log_id: bytes, log: _Log, size: int) -> bytes:
        """Return the root of an earlier size: such a page came again."""
        for known, root, _, good in self._ledger.checkpoints(device, log_id):
            if known == size and good:
                return root
        tree, start = Growth(0, {}), 0
        if size >= log.signed.size:
            tree, start = log.signed.copy(), log.signed.size
        entries = self._ledger.entries(device, log_id, start, size)
        tree.append([leaf_hash(entry) for entry in entries])
        return tree.root()
