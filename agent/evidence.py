"""THE EVIDENCE PATH: what becomes an entry of the log, and what an entry says.

Entries are msgpack maps in a fixed key order; their bytes are the leaves of the RFC
6962 tree (docs/formats/evidence-log.md). Never a value, never an identifier of a
person: the data's own bytes appear only as the SHA-256 of the sealed envelope. Order of
an entry's life (DESIGN section 9): commit, sign, store, publish.

    boot        who we are, which policy holds, how the last run ended
    cfg.change  a policy step, with both digests and the reason
    key.life    an epoch key was made, and to whom it was wrapped
    flow.out    an envelope was made: digest, label, rules, counts
    collect.rec the six facts of MIITM art. 14 per source and category and interval
    count.snap  what the compliance counters grew by since the last snapshot
    firewall.snap how often which rule let through or refused what, since the last one
    consent.state  a consent is on, off or was refused: by which role, and until when
    loss.rec    something was lost: cause and count
    destroy.rec something was deleted on purpose: rule and count
    log.prune   entries older than their retention were deleted on the device
    admin.op    a certificate was put in place: which, and until when it is valid
    stop        the end of a clean run
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, TypeAlias

import msgpack

from agent.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.consents import Change
    from agent.records import (
        CounterRow,
        Eviction,
        RetainedRecord,
        SpoolRecord,
        VerdictRow,
    )
    from agent.store.retention import Pruning
    from agent.store.salvage import Break
    from policies.tables import CompiledPolicy

ON_PURPOSE: Final = frozenset({"expired", "destroyed", "set aside"})
Fact: TypeAlias = object  # whatever msgpack can hold; the tests read all of it back


class Evidence:
    """Encodes entries of one boot. Holds no log: the store does."""

    def __init__(self, device: str, boot: bytes, version: str) -> None:
        """Name the device, the boot (16 random bytes) and the agent's version."""
        self._device = device
        self._boot = boot
        self._version = version
        self._number = 0  # entries made in this boot; written here only
        self._policy = b""

    def entry(
        self,
        kind: str,
        now_ns: int,
        facts: Mapping[str, Fact],
        number: int | None = None,
    ) -> bytes:
        """Return one encoded entry; ``number``: its place in this boot, if known.

        Without it the entry counts on; who commits entries from several tasks gives
        them their final numbers with ``numbered``.
        """
        head = {
            "v": 1,
            "type": kind,
            "ts": now_ns,
            "boot": self._boot,
            "n": self._number if number is None else number,
            "policy": self._policy,
        }
        if number is None:
            self._number += 1
        encoded = msgpack.packb({**head, **facts}, use_bin_type=True)
        assert isinstance(encoded, bytes)
        return encoded

    def boot(
        self, now_ns: int, public_key: bytes, clock: str, last: Mapping[str, Fact]
    ) -> bytes:
        """Return the first entry of a run; ``last`` tells how the one before ended."""
        facts = {
            "device": self._device,
            "agent": self._version,
            "key": public_key,
            "clock": clock,
            "last": [[k, v] for k, v in last.items()],
        }
        return self.entry("boot", now_ns, facts)

    def policy(
        self, now_ns: int, policy: CompiledPolicy, step: str, reason: str
    ) -> bytes:
        """Return the record of a policy step, and stamp later entries with it."""
        before, self._policy = self._policy, policy.digest
        facts: dict[str, Fact] = {
            "step": step,
            "name": policy.name,
            "version": policy.version,
            "before": before,
            "catalogues": policy.catalogue_digest,
            "reason": reason,
        }
        return self.entry("cfg.change", now_ns, facts)

    def step(
        self,
        now_ns: int,
        policy: CompiledPolicy,
        step: str,
        facts: Mapping[str, Fact],
    ) -> bytes:
        """Return the record of a step of a pushed policy; ``policy`` decides from here.

        ``facts`` name the candidate, who approved it, and why (agent/steps.py).
        """
        before, self._policy = self._policy, policy.digest
        return self.entry(
            "cfg.change", now_ns, {"step": step, **facts, "before": before}
        )

    def refused(self, now_ns: int, name: str, rule: str, reason: str) -> bytes:
        """Return the record of a policy that was not taken; ``name`` stays active."""
        facts: dict[str, Fact] = {
            "step": "refused",
            "name": name,
            "rule": rule,
            "reason": reason,
        }
        return self.entry("cfg.change", now_ns, facts)

    def record(
        self,
        now_ns: int,
        record: SpoolRecord,
        region: str,
        rules: Iterable[tuple[str, int, bool]],
    ) -> bytes:
        """Return the entry of an epoch announcement or of an envelope.

        ``rules``: (name, rows of the envelope, whether the rows are statistics).
        """
        facts: dict[str, Fact] = {
            "kind": record.kind,
            "dest": record.destination,
            "region": region,
            "label": record.label,
            "epoch": record.epoch,
            "seq": record.sequence,
            "sha256": hashlib.sha256(record.body).digest(),
            "bytes": len(record.body),
            "samples": record.samples,
            "rules": [list(rule) for rule in rules],
        }
        return self.entry(
            "key.life" if record.kind == "key" else "flow.out", now_ns, facts
        )

    def retained(
        self,
        now_ns: int,
        record: RetainedRecord,
        custodian: str,
        rules: Iterable[tuple[str, int, bool]],
    ) -> bytes:
        """Return the entry of an envelope that stays on the device, or of its key."""
        is_key = record.sequence == 0  # the announcement of the epoch
        facts: dict[str, Fact] = {
            "kind": "key" if is_key else "keep",
            "dest": custodian,
            "region": "device",
            "label": record.label,
            "epoch": record.epoch,
            "seq": record.sequence,
            "sha256": hashlib.sha256(record.body).digest(),
            "bytes": len(record.body),
            "samples": record.samples,
            "rules": [list(rule) for rule in rules],
            "expires": record.expires_ns,
        }
        return self.entry("key.life" if is_key else "flow.out", now_ns, facts)

    def counters(
        self,
        start_ns: int,
        now_ns: int,
        rows: Sequence[CounterRow],
        held: int,
    ) -> tuple[bytes, ...]:
        """Return collect.rec and count.snap of an interval; none where nothing grew."""
        if not rows:
            return ()
        seconds = max((now_ns - start_ns) / 1e9, 1e-9)
        sources = [row for row in rows if row.outcome is Outcome.READ]
        collected = [
            # In this order: source, type, label, quantity, bytes, frequency (Hz).
            [r.action, r.rule, r.label, r.samples, r.bytes_used, r.samples / seconds]
            for r in sources
        ]
        counted = [
            [
                r.destination,
                r.label,
                r.rule,
                r.action,
                r.outcome.name.lower(),
                r.samples,
                r.bytes_used,
            ]
            for r in rows
        ]
        span: dict[str, Fact] = {"t0": start_ns, "t1": now_ns}
        return (
            self.entry("collect.rec", now_ns, {**span, "rows": collected}),
            self.entry("count.snap", now_ns, {**span, "rows": counted, "held": held}),
        )

    def firewall(
        self, start_ns: int, now_ns: int, rows: Sequence[VerdictRow], before: int
    ) -> tuple[bytes, ...]:
        """Return firewall.snap of an interval; none where nothing was judged.

        ``before``: the sum of all counts that this boot has told before.
        """
        if not rows:
            return ()
        told = [[r.link, r.rule, r.verdict, r.reason, r.count] for r in rows]
        facts: dict[str, Fact] = {
            "t0": start_ns,
            "t1": now_ns,
            "before": before,
            "rows": told,
        }
        return (self.entry("firewall.snap", now_ns, facts),)

    def consent(self, now_ns: int, change: Change) -> bytes:
        """Return the record of what became of a consent: roles, never a name."""
        facts: dict[str, Fact] = {
            "consent": change.consent,
            "class": list(change.classes),
            "state": change.state,
            "set_by": change.set_by,
            "expires": change.expires_ns,
            "survives": change.survives,
            "cause": change.cause,
        }
        return self.entry("consent.state", now_ns, facts)

    def loss(self, now_ns: int, cause: str, count: int, detail: str = "") -> bytes:
        """Return the record of a loss that is not tied to stored records."""
        facts: dict[str, Fact] = {"cause": cause, "count": count, "detail": detail}
        return self.entry("loss.rec", now_ns, facts)

    def let_go(
        self,
        now_ns: int,
        cause: str,
        lost: Sequence[Eviction],
        number: int | None = None,
    ) -> bytes:
        """Return the record of what the store let go of, by label and epoch range.

        ``destroy.rec`` where it was on purpose (``ON_PURPOSE``; MIITM art. 20),
        ``loss.rec`` where it was not (byte cap, damage).
        """
        rows = [
            [
                one.kind,
                one.label,
                one.records,
                one.bytes_used,
                one.samples,
                [[epoch, first, last] for epoch, first, last in one.epoch_ranges],
            ]
            for one in lost
        ]
        kind = "destroy.rec" if cause in ON_PURPOSE else "loss.rec"
        facts: dict[str, Fact] = {
            "cause": cause,
            "count": sum(one.records for one in lost),
            "rows": rows,
        }
        return self.entry(kind, now_ns, facts, number)

    def broken(self, now_ns: int, found: Break) -> bytes:
        """Return the record of a damaged store: what was found, what was saved."""
        facts: dict[str, Fact] = {
            "cause": "damaged store",
            "count": max(found.spool_lost, 0) + max(found.retained_lost, 0),
            "rows": [],
            "continued": found.continued,
            "why": found.why,
            "entries_kept": found.entries_kept,
            "entries_lost": found.entries_lost,
            "spool_kept": found.spool_kept,
            "spool_lost": found.spool_lost,
        }
        return self.entry("loss.rec", now_ns, facts)

    def pruned(self, now_ns: int, gone: Pruning, keep_days: int, number: int) -> bytes:
        """Return the record of entries deleted here: which, and the tree they made."""
        facts: dict[str, Fact] = {
            "first": gone.first,
            "end": gone.end,
            "count": gone.end - gone.first,
            "root": gone.root,
            "keep_days": keep_days,
        }
        return self.entry("log.prune", now_ns, facts, number)

    def certificate(self, now_ns: int, sha256: bytes, expires_ns: int) -> bytes:
        """Return the record of a renewed certificate: its digest, never its key."""
        facts: dict[str, Fact] = {
            "op": "certificate",
            "sha256": sha256,
            "expires": expires_ns,
        }
        return self.entry("admin.op", now_ns, facts)

    def stop(self, now_ns: int, reason: str) -> bytes:
        """Return the last entry of a clean run."""
        return self.entry("stop", now_ns, {"reason": reason})


def numbered(entries: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    """Return entries of one boot numbered ``first``, ``first`` + 1, ...

    The number is the entry's place among what this boot made durable. Only the moment
    of the commit knows it: what another task or a failed transaction made meanwhile
    must leave neither a gap nor a number twice.
    """
    made = []
    for number, entry in enumerate(entries, first):
        facts = msgpack.unpackb(entry)
        if facts["n"] != number:
            entry = msgpack.packb({**facts, "n": number}, use_bin_type=True)  # noqa: PLW2901  # the same entry, its number set
        made.append(entry)
    return tuple(made)
