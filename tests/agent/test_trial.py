"""Limits of a trial, one by one, at their edges; a clock that is set ends none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.trial import Reading, Trial
from policies.trust import Terms

S = 10**9
FIRST = Reading(
    monotonic_ns=100 * S,
    online=True,
    unconfirmed=0,
    receipted=0,
    again=0,
    losses=7,
    cpu_ns=5 * S,
    spool_bytes=1000,
)
TERMS = Terms(trial_s=120, uplink_s=60, loss_max=10, cpu_percent_max=50)


def at(seconds: float, **changes: object) -> Reading:
    return replace(FIRST, monotonic_ns=int((100 + seconds) * S), **changes)  # type: ignore[arg-type]  # fields by name


def test_a_quiet_trial_is_over_when_its_time_is() -> None:
    trial = Trial(TERMS, FIRST)
    assert trial.look(at(119.9)) is None
    assert not trial.is_over()
    assert trial.look(at(120)) is None
    assert trial.is_over()


def test_a_trial_is_not_confirmed_without_a_link() -> None:
    trial = Trial(TERMS, FIRST)
    trial.look(at(100))
    assert trial.look(at(125, online=False)) is None
    assert not trial.is_over()
    assert trial.look(at(126)) is None
    assert trial.is_over()
    free = Trial(replace_terms(uplink_s=0), FIRST)
    free.look(at(500, online=False))
    assert free.is_over()


def replace_terms(**changes: int) -> Terms:
    told = {name: getattr(TERMS, name) for name in TERMS.__struct_fields__}
    return Terms(**(told | changes))


def test_a_link_that_stays_away_breaks_the_trial() -> None:
    trial = Trial(TERMS, FIRST)
    assert trial.look(at(60, online=False)) is None
    breach = trial.look(at(60.1, online=False))
    assert breach is not None
    assert breach.rule == "uplink"
    assert "60 s" in breach.reason


def test_records_without_receipts_break_the_trial_and_one_receipt_saves_it() -> None:
    trial = Trial(TERMS, FIRST)
    assert trial.look(at(50, unconfirmed=5)) is None
    assert trial.look(at(59, unconfirmed=5, receipted=1)) is None
    assert trial.look(at(119, unconfirmed=5, receipted=1)) is None
    breach = trial.look(at(119.1, unconfirmed=5, receipted=1))
    assert breach is not None
    assert breach.rule == "uplink"
    assert "receipted" in breach.reason


def test_sending_all_again_is_no_sign_of_life() -> None:
    """A new link, or overdue receipts, make everything unsent for a moment."""
    trial = Trial(TERMS, FIRST)
    assert trial.look(at(30, unconfirmed=5)) is None
    assert trial.look(at(31, unconfirmed=0, again=1)) is None
    breach = trial.look(at(61, unconfirmed=5, again=1))
    assert breach is not None


def test_nothing_due_is_no_silence() -> None:
    trial = Trial(TERMS, FIRST)
    for seconds in range(0, 600, 10):
        assert trial.look(at(seconds)) is None


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("losses", {"losses": 17}, {"losses": 18}),
        ("cpu", {"cpu_ns": 15 * S}, {"cpu_ns": 16 * S}),
        ("spool", {"spool_bytes": 1000 + 20_000}, {"spool_bytes": 1000 + 20_001}),
    ],
)
def test_costs_are_counted_from_the_beginning_of_the_trial(
    rule: str, good: dict[str, int], bad: dict[str, int]
) -> None:
    terms = replace_terms(spool_bytes_per_h_max=3_600_000)
    assert Trial(terms, FIRST).look(at(20, **good)) is None
    breach = Trial(terms, FIRST).look(at(20, **bad))
    assert breach is not None
    assert breach.rule == rule
    unlimited = replace_terms(loss_max=0, cpu_percent_max=0, spool_bytes_per_h_max=0)
    assert Trial(unlimited, FIRST).look(at(20, **bad)) is None


def test_rates_over_a_moment_are_chance() -> None:
    terms = replace_terms(spool_bytes_per_h_max=1)
    trial = Trial(terms, FIRST)
    assert trial.look(at(9.9, cpu_ns=50 * S, spool_bytes=10**9)) is None
    assert trial.look(at(10, cpu_ns=50 * S, spool_bytes=10**9)) is not None
    short = Trial(replace_terms(trial_s=1), FIRST)
    assert short.look(at(1, cpu_ns=50 * S)) is not None  # before it is confirmed
