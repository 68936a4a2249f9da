"""Whether a scan did what a policy's tests expect: counts in, one line for each out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from policies.catalogue import is_under
from policies.compile import DEVICE
from policies.quantities import ItemGlob
from policies.rules import listed
from protocols.labels import Tier, parse_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleet.policy.scan import Scan, ScanDecision, ScanItem
    from policies.model_test import Expectation, Never, PolicyTest, Run
    from policies.parse import Document

SHOWN_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """One expectation of one run."""

    run: str
    line: int  # in the tests file
    expected: str
    holds: bool
    found: str  # in words, whether it holds or not


def judge(
    document: Document[PolicyTest], number: int, scans: Sequence[Scan]
) -> list[Judged]:
    """Return every expectation of run ``number``: expect, never, whole, in order."""
    run, path = document.model.runs[number], ("runs", number)
    items = [item for scan in scans for item in scan.items]
    told: list[tuple[tuple[str | int, ...], Judged]] = [
        *(
            ((*path, "expect", at), _expected(run.name, one, items))
            for at, one in enumerate(run.expect)
        ),
        *(
            ((*path, "never", at), _never(run.name, one, items))
            for at, one in enumerate(run.never)
        ),
        *(((*path, "whole"), one) for one in _whole(run, scans)),
    ]
    return [replace(one, line=document.tree.line(where)) for where, one in told]


# --- One item, or several -------------------------------------------------------------


@dataclass(slots=True)
class _Counts:
    """What became of the items of one expectation."""

    read: int = 0
    sent: int = 0
    kept: int = 0
    dropped: int = 0
    kept_back: int = 0

    def add(self, one: ScanDecision) -> None:
        self.sent += one.rows_left
        self.kept += one.rows_kept
        self.dropped += one.samples if one.action == "drop" else 0
        self.kept_back += 0 if one.rule else one.samples

    def words(self) -> str:
        parts = [
            (self.sent, "rows sent"),
            (self.kept, "rows kept"),
            (self.dropped, "samples dropped"),
            (self.kept_back, "samples kept back"),
        ]
        told = [f"{count} {what}" for count, what in parts if count]
        return ", ".join([*(told or ["nothing left"]), f"{self.read} samples read"])


def _expected(run: str, one: Expectation, items: Sequence[ScanItem]) -> Judged:
    mine = [item for item in items if _is_meant(one, item)]
    expected = _words(one)
    if one.outcome == "absent":
        return Judged(run, 0, expected, not mine, _names(mine) or "not in the capture")
    if not mine:
        return Judged(run, 0, expected, False, "no such item is in the capture")
    decisions = [
        decision
        for item in mine
        for decision in item.decisions
        if _is_there(one, decision)
    ]
    counts = _Counts(read=sum(item.samples for item in mine))
    for decision in decisions:
        if one.rule in {"", decision.rule}:
            counts.add(decision)
    problem = (
        _wrong_rule(one, decisions)
        or _wrong_outcome(one, counts)
        or _wrong_count(one, counts)
        or _wrong_label(one, decisions)
    )
    return Judged(run, 0, expected, not problem, problem or counts.words())


def _is_meant(one: Expectation, item: ScanItem) -> bool:
    if one.source not in {"", item.source}:
        return False
    return any(ItemGlob(glob).fullmatch(item.name) for glob in listed(one.item))


def _is_there(one: Expectation, decision: ScanDecision) -> bool:
    """Tell whether a decision is at a place that the expectation is about."""
    if one.to is not None:
        return decision.destination in listed(one.to)
    # What is not kept on the device is "kept back" there: that says nothing.
    return decision.destination != DEVICE or one.outcome == "kept"


def _count(one: Expectation, counts: _Counts) -> int:
    return {
        "sent": counts.sent, "kept": counts.kept, "dropped": counts.dropped,
        "kept-back": counts.kept_back, "stays": counts.read,
    }[one.outcome]  # fmt: skip


def _wrong_rule(one: Expectation, decisions: Sequence[ScanDecision]) -> str:
    if not one.rule or any(d.rule == one.rule and d.samples for d in decisions):
        return ""
    others = sorted({d.rule or "no rule (kept back)" for d in decisions if d.samples})
    return f"rule {one.rule} decided nothing; {', '.join(others) or 'none'} did"


def _wrong_outcome(one: Expectation, counts: _Counts) -> str:
    leaves = counts.sent > 0
    stays_wrong = one.outcome in {"dropped", "kept-back"} and (leaves or counts.kept)
    if stays_wrong or (one.outcome == "stays" and leaves):
        return counts.words()
    return ""


def _wrong_count(one: Expectation, counts: _Counts) -> str:
    count = _count(one, counts)
    least = 1 if one.at_least is None else one.at_least
    if one.at_most == 0:
        least = 0
    if count < least:
        return f"{counts.words()}: fewer than {least}"
    if one.at_most is not None and count > one.at_most:
        return f"{counts.words()}: more than {one.at_most}"
    return ""


def _wrong_label(one: Expectation, decisions: Sequence[ScanDecision]) -> str:
    for decision in decisions:
        if not decision.rows_left and not decision.rows_kept:
            continue
        if one.rule not in {"", decision.rule}:
            continue
        if one.becomes is not None and decision.becomes != one.becomes:
            return f"rule {decision.rule} lets it out as {decision.becomes}"
        if one.label and parse_label(decision.label) != parse_label(one.label):
            return f"rule {decision.rule} labels it {decision.label}"
    return ""


def _words(one: Expectation) -> str:
    source = f" from {one.source}" if one.source else ""
    to = f" to {', '.join(listed(one.to))}" if one.to else ""
    rule = f" by {one.rule}" if one.rule else ""
    label = "".join(f" as {what}" for what in (one.becomes, one.label) if what)
    least = "" if one.at_least is None else f", at least {one.at_least}"
    most = "" if one.at_most is None else f", at most {one.at_most}"
    what = ", ".join(listed(one.item))
    return f"{what}{source}{to}: {one.outcome}{rule}{label}{least}{most}"


def _names(items: Sequence[ScanItem]) -> str:
    names = sorted({item.name for item in items})
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more


# --- The run as a whole ---------------------------------------------------------------


def _never(run: str, never: Never, items: Sequence[ScanItem]) -> Judged:
    found = [
        (item, decision)
        for item in items
        for decision in item.decisions
        if decision.rows_left and _is_forbidden(never, item, decision)
    ]
    told = [
        f"{item.name} left to {one.destination} as {one.becomes} ({one.label}) by rule"
        f" {one.rule}: {one.rows_left} rows"
        for item, one in found[:SHOWN_MAX]
    ]
    if len(found) > SHOWN_MAX:
        told.append(f"and {len(found) - SHOWN_MAX} more")
    words = "; ".join(told) or "nothing of it left"
    return Judged(run, 0, _never_words(never), not found, words)


def _is_forbidden(never: Never, item: ScanItem, one: ScanDecision) -> bool:
    label = parse_label(one.label)
    wanted = listed(never.category)
    if wanted and not any(is_under(one.becomes, prefix) for prefix in wanted):
        return False
    globs = listed(never.item)
    if globs and not any(ItemGlob(glob).fullmatch(item.name) for glob in globs):
        return False
    if never.min_tier and label.tier < Tier[never.min_tier.upper()]:
        return False
    if never.pi is not None and label.pi.name.lower() not in listed(never.pi):
        return False
    if never.geo is not None and label.geo.name.lower() not in listed(never.geo):
        return False
    return never.to is None or one.destination in listed(never.to)


def _never_words(never: Never) -> str:
    parts = [
        f"category {' or '.join(listed(never.category))}" if never.category else "",
        f"item {' or '.join(listed(never.item))}" if never.item else "",
        f"tier {never.min_tier} or above" if never.min_tier else "",
        f"pi {' or '.join(listed(never.pi))}" if never.pi else "",
        f"geo {' or '.join(listed(never.geo))}" if never.geo else "",
    ]
    to = f" to {', '.join(listed(never.to))}" if never.to else ""
    return f"nothing of {', '.join(filter(None, parts))} leaves{to}"


def _whole(run: Run, scans: Sequence[Scan]) -> Iterator[Judged]:
    whole = run.whole
    if whole.coverage_at_least is not None:
        known = sum(scan.classified for scan in scans)
        total = known + sum(scan.unclassified for scan in scans)
        percent = 100 * known / total if total else 100.0
        yield Judged(
            run.name, 0, f"coverage at least {whole.coverage_at_least:g} %",
            percent >= whole.coverage_at_least, f"{percent:.1f} %",
        )  # fmt: skip
    for what, limit in (
        ("alerts", whole.alerts_at_most),
        ("notices", whole.notices_at_most),
    ):
        if limit is not None:
            count = sum(getattr(scan, what) for scan in scans)
            yield _at_most(run.name, what, limit, count)
    for field, what, limits in (
        ("size_bytes", "bytes", whole.bytes_at_most),
        ("messages", "messages", whole.messages_at_most),
    ):
        for name, limit in limits.items():
            count = sum(
                getattr(one, field)
                for scan in scans
                for one in scan.destinations
                if one.name == name
            )
            yield _at_most(run.name, f"{what} to {name}", limit, count)


def _at_most(run: str, what: str, limit: int, count: int) -> Judged:
    return Judged(run, 0, f"at most {limit} {what}", count <= limit, f"{count} {what}")
