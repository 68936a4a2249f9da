"""Which devices take a candidate policy, and when: the signed ``rollout.json``.

A rollout is a target of the delegated role ``rollout``. It names two policies that the
fleet role signed and says who decides by which. Widening, pausing and aborting are new
small files, never new policies. docs/formats/rollout.md has every field and a vector.

A device asks `decide`; the operator's side asks `in_cohort` the same of every device.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from policies.errors import PolicyError
from policies.model import Strict
from policies.model_base import END, Name, Version
from policies.quantities import time_window

if TYPE_CHECKING:
    from collections.abc import Collection

    from policies.tables import TimeTest

FILE: Final = "rollout.json"
ROLLOUT_BYTES_MAX: Final = 128 * 1024
SLOTS: Final = 10_000
GROUPS_MAX: Final = 64
DEVICES_MAX: Final = 1000
assert DEVICES_MAX * 70 < ROLLOUT_BYTES_MAX  # a full list of the longest names fits

NS: Final = 1_000_000_000
DAY_S: Final = 86_400

TenThousandths: TypeAlias = Annotated[int, Meta(ge=0, le=SLOTS)]
Attempt: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
Salt: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{16,64}" + END)]
Instant: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?" + END
    ),  # RFC 3339, UTC, whole seconds
]


class Halt(Strict, frozen=True, kw_only=True):
    """When the operator's side stops by itself; shares of those who answered."""

    refused_share: TenThousandths = 200
    reverted_share: TenThousandths = 100
    min_acks: Annotated[int, Meta(ge=1, le=1_000_000)] = 20


class Rollout(Strict, frozen=True, kw_only=True):
    """Who decides by which policy; ``upto`` of 10,000 slots take the candidate."""

    schema: Literal["sluicegate/rollout/1"] = "sluicegate/rollout/1"
    name: Name
    attempt: Attempt = 1  # a device that refused or reverted tries again when it rises
    candidate: Version
    stable: Annotated[int, Meta(ge=0, le=2**53)] = 0  # 0: what decides now stays
    state: Literal["running", "paused", "aborted"] = "running"
    salt: Salt
    upto: TenThousandths = 0
    groups: Annotated[tuple[Name, ...], Meta(max_length=GROUPS_MAX)] = ()
    devices: Annotated[tuple[Name, ...], Meta(max_length=DEVICES_MAX)] = ()
    window: Annotated[str, Meta(max_length=64)] = ""
    not_before: Instant = ""
    not_after: Instant = ""
    halt: Halt = Halt()
    note: Annotated[str, Meta(max_length=200)] = ""  # why it was paused or aborted


class Decision(NamedTuple):
    """What the signed rollout wants of one device; None: change nothing now."""

    version_wanted: int | None
    why: str


def slot(salt: str, device: str) -> int:
    """Return the device's slot in 0..9999: the same for all who know its name."""
    digest = hashlib.sha256(f"{salt}|{device}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS


def in_cohort(rollout: Rollout, device: str, groups: Collection[str]) -> bool:
    """Tell whether the candidate is for this device, whatever the time.

    A device named by hand always is; else its slot must be below ``upto`` and, where
    the rollout names groups, one of them its own.
    """
    if device in rollout.devices:
        return True
    if rollout.groups and not set(rollout.groups) & set(groups):
        return False
    return slot(rollout.salt, device) < rollout.upto


def decide(
    rollout: Rollout, device: str, groups: Collection[str], now_ns: int, clock_ok: bool
) -> Decision:
    """Return the version that this device should decide by.

    ``now_ns``: believed UTC; where it is not believed (``clock_ok``), a rollout with a
    time of its own begins nothing. An abort takes everybody back to ``stable``, at any
    hour; a device that is outside the window keeps what it has.
    """
    if rollout.state == "aborted":
        return _stable(rollout, "aborted")
    if not in_cohort(rollout, device, groups):
        return _stable(rollout, "not in the cohort")
    if rollout.state == "paused":
        return Decision(None, "paused")
    if rollout.window or rollout.not_before or rollout.not_after:
        if not clock_ok:
            return Decision(None, "the clock is not believed and the rollout has hours")
        closed = _closed(rollout, now_ns)
        if closed:
            return Decision(None, closed)
    return Decision(rollout.candidate, "in the cohort")


def parse_rollout(text: bytes, file: str = FILE) -> Rollout:
    """Return a rollout; PolicyError whatever is wrong with the text.

    Only the bytes that `encode_rollout` makes of it are one: no second spelling, so no
    two readers can differ about a signed file.
    """
    if len(text) > ROLLOUT_BYTES_MAX:
        raise PolicyError(file, 0, "", f"larger than {ROLLOUT_BYTES_MAX} bytes")
    try:
        rollout = msgspec.json.decode(text, type=Rollout)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason, _, place = str(error).partition(" - at `$")
        plain = "".join(c if c.isprintable() else "?" for c in reason)[:200]
        raise PolicyError(file, 0, place.strip("`.")[:80], plain) from None
    check_rollout(rollout, file)
    if encode_rollout(rollout) != text:
        raise PolicyError(file, 0, "", "is not in its one canonical form")
    return rollout


def encode_rollout(rollout: Rollout) -> bytes:
    """Return the canonical text: every field, in the record's order, one line."""
    return msgspec.json.encode(rollout) + b"\n"


def check_rollout(rollout: Rollout, file: str = FILE) -> None:
    """Raise PolicyError where the fields do not fit together."""
    if rollout.stable >= rollout.candidate:
        raise PolicyError(
            file, 0, "stable", "must be an older version than the candidate"
        )
    for field in ("groups", "devices"):
        names: tuple[str, ...] = getattr(rollout, field)
        if list(names) != sorted(set(names)):
            raise PolicyError(file, 0, field, "must be sorted, each name once")
    try:
        if rollout.window:
            time_window(rollout.window)
    except ValueError as error:
        raise PolicyError(file, 0, "window", str(error)) from None
    spans: list[int] = []
    for field in ("not_before", "not_after"):
        try:
            spans += [_instant_ns(text)] if (text := getattr(rollout, field)) else []
        except ValueError as error:
            raise PolicyError(file, 0, field, str(error)) from None
    if len(spans) == 2 and spans[0] >= spans[1]:
        raise PolicyError(file, 0, "not_after", "is not after not_before")
    if not rollout.note.isprintable():
        raise PolicyError(file, 0, "note", "must be printable, on one line")


def _stable(rollout: Rollout, why: str) -> Decision:
    return Decision(rollout.stable or None, why)


def _closed(rollout: Rollout, now_ns: int) -> str:
    """Return why nothing may begin at this time, "" where it may."""
    if rollout.not_before and now_ns < _instant_ns(rollout.not_before):
        return f"not before {rollout.not_before}"
    if rollout.not_after and now_ns >= _instant_ns(rollout.not_after):
        return f"not after {rollout.not_after}"
    if rollout.window and not _within(time_window(rollout.window), now_ns):
        return f"outside {rollout.window}"
    return ""


def _within(test: TimeTest, now_ns: int) -> bool:
    local_s = now_ns // NS + test.utc_offset_s
    day, second = (local_s // DAY_S + 3) % 7, local_s % DAY_S  # 1970-01-01: a Thursday
    if test.start_s <= test.end_s:
        return day in test.days and test.start_s <= second < test.end_s
    # over midnight: what comes after it belongs to the day on which it began
    begun = day in test.days and second >= test.start_s
    return begun or ((day + 6) % 7 in test.days and second < test.end_s)


def _instant_ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * NS
