"""Evidence entries as an auditor reads them (docs/formats/evidence-log.md).

Decoded by msgspec against these forms, so that a strange entry is a finding and never a
surprise. ``gc=False``: no entry refers to itself, and there are many. Fields that a
later version adds are passed over.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class _Head(msgspec.Struct, frozen=True, gc=False, tag_field="type", kw_only=True):
    """What every entry begins with."""

    v: int
    ts: int
    boot: bytes
    n: int
    policy: bytes


class Boot(_Head, frozen=True, gc=False, tag="boot", kw_only=True):
    """The first entry of a run."""

    device: str
    key: bytes


class Change(_Head, frozen=True, gc=False, tag="cfg.change", kw_only=True):
    """A policy step; ``policy`` of the head is the one that decides from here on."""

    step: str
    name: str
    before: bytes = b""
    digest: bytes | None = None  # of a pushed candidate; None: of local files
    version: int = 0
    approvers: tuple[str, ...] = ()
    weakens: int = 0  # lines of important or core categories


class _Envelope(_Head, frozen=True, gc=False, kw_only=True):
    kind: str  # key | data | event | keep
    dest: str
    region: str  # "device": sealed to the custodian, it stays
    label: int
    epoch: bytes
    seq: int
    sha256: bytes
    samples: int
    rules: tuple[tuple[str, int, bool], ...]  # rule, rows, rows are statistics


class Key(_Envelope, frozen=True, gc=False, tag="key.life", kw_only=True):
    """An epoch was announced."""


class Out(_Envelope, frozen=True, gc=False, tag="flow.out", kw_only=True):
    """An envelope was made."""


class Collect(_Head, frozen=True, gc=False, tag="collect.rec", kw_only=True):
    """The six facts per source and category."""

    t0: int
    t1: int


class Snap(_Head, frozen=True, gc=False, tag="count.snap", kw_only=True):
    """What the counters grew by since the snapshot before."""

    # destination, label, rule, action, outcome, samples, bytes
    rows: tuple[tuple[str, int, str, str, str, int, int], ...]
    held: int


class FirewallSnap(_Head, frozen=True, gc=False, tag="firewall.snap", kw_only=True):
    """How often which rule decided what since the snapshot before."""

    t0: int
    t1: int
    before: int  # the sum of all counts that this boot has told before
    rows: tuple[tuple[str, str, str, str, int], ...]  # link, rule, verdict, reason, n


# kind, label, records, bytes, samples, ranges of (epoch, first, last)
LostRow: TypeAlias = tuple[str, int, int, int, int, tuple[tuple[bytes, int, int], ...]]


class _Gone(_Head, frozen=True, gc=False, kw_only=True):
    cause: str
    count: int
    rows: tuple[LostRow, ...] = ()


class Loss(_Gone, frozen=True, gc=False, tag="loss.rec", kw_only=True):
    """Something was lost; the last three fields stand where a store was damaged."""

    continued: bool = True
    entries_lost: int = 0  # -1: nobody knows
    spool_lost: int = 0  # -1: nobody knows


class Destroy(_Gone, frozen=True, gc=False, tag="destroy.rec", kw_only=True):
    """Something was deleted on purpose."""


class Consent(_Head, frozen=True, gc=False, tag="consent.state", kw_only=True):
    """A consent is on, off, or was refused."""

    consent: str
    classes: tuple[str, ...] = msgspec.field(name="class")
    state: Literal["on", "off", "refused"]
    set_by: str
    expires: int
    survives: bool


class Prune(_Head, frozen=True, gc=False, tag="log.prune", kw_only=True):
    """The device deleted entries [first, end) that were over their retention."""

    first: int
    end: int
    count: int
    root: bytes  # of the first ``end`` entries
    keep_days: int


class Stop(_Head, frozen=True, gc=False, tag="stop", kw_only=True):
    """The end of a clean run."""


class Other(msgspec.Struct, frozen=True, gc=False):
    """An entry of a kind that we do not know: a later version's."""

    v: int
    type: str
    boot: bytes
    n: int


Known: TypeAlias = (
    Boot
    | Change
    | Key
    | Out
    | Collect
    | Snap
    | FirewallSnap
    | Consent
    | Loss
    | Destroy
    | Prune
    | Stop
)
Entry: TypeAlias = Known | Other
_KNOWN: msgspec.msgpack.Decoder[Known] = msgspec.msgpack.Decoder(Known)
_OTHER: msgspec.msgpack.Decoder[Other] = msgspec.msgpack.Decoder(Other)
_TYPES = frozenset(
    {
        "boot", "cfg.change", "key.life", "flow.out", "collect.rec", "count.snap",
        "firewall.snap", "consent.state", "loss.rec", "destroy.rec", "log.prune",
        "stop",
    }
)  # fmt: skip


def decode_entry(body: bytes) -> Entry | None:
    """Return the entry; None where the bytes are none, or of a form we do not know."""
    try:
        return _KNOWN.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        other = _OTHER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if other.type in _TYPES else other
