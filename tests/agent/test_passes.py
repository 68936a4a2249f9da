"""The books of one pass: bytes split exactly, every row under the right name."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.evidence import Evidence
from agent.passes import Pass, Sources, _shares
from agent.protection.bundles import bundles
from agent.protection.protector import Protected
from agent.protection.sealer import Sealer
from agent.records import Outcome, Released
from protocols.samples import SampleBatch, empty_texts
from tests.support.sealing import (
    NOW_NS,
    SPEED,
    VIN,
    Device,
    entropy,
    keys,
    numbers,
    policy,
    texts,
)

POLICY = policy()
BOOT = bytes(16)


class Share:
    """A part as ``_shares`` sees it."""

    def __init__(self, rows: int) -> None:
        self.rows = rows


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=9))
def test_shares_add_up_and_follow_the_rows(size: int, rows: list[int]) -> None:
    if not sum(rows):
        rows[0] = 1
    shares = _shares(size, tuple(map(Share, rows)))  # type: ignore[arg-type]  # all it reads
    assert sum(shares) == size
    for share, count in zip(shares, rows, strict=True):
        assert abs(share - size * count / sum(rows)) <= 1


def sealer() -> Sealer:
    cards = {
        n: keys(n, 10 + i * 4).card() for i, n in enumerate(("oem-2026", "keeper"))
    }
    return Sealer(POLICY, Device(), entropy(), BOOT, cards)


def a_pass() -> Pass:
    return Pass(POLICY, Sources(POLICY.items), Evidence("gw-1", BOOT, "t"), NOW_NS)


def released(count: int) -> Released:
    return Released(0, numbers(SPEED, list(range(count))), empty_texts())


def test_bytes_are_booked_with_the_samples_and_the_key_apart() -> None:
    made = a_pass()
    destination = POLICY.destinations[0]
    out = released(40)
    (bundle,) = bundles((out,), POLICY, -1)
    sealed = sealer().seal(destination, bundle, NOW_NS)
    made.sealed(destination, bundle, sealed)
    label = bundle.label
    cells = ((0, Outcome.SENT, label, 40), (0, Outcome.THINNED, label, 2))
    made.take(destination, Protected((out,), cells, held=3))
    commit = made.commit()
    key, batch = commit.records
    assert [(r.rule, r.action, r.outcome, r.samples, r.bytes_used)
            for r in commit.counters] == [
        ("rule-0", "encrypt", Outcome.SENT, 40, len(batch.body)),
        ("rule-0", "encrypt", Outcome.THINNED, 2, 0),
        ("", "key", Outcome.SENT, 0, len(key.body)),
    ]  # fmt: skip
    assert commit.held == 3
    assert len(commit.evidence) == 2


def test_bytes_of_a_window_that_closed_late_are_not_lost() -> None:
    """Sealed in a pass whose cells name no sample of the rule: booked all the same."""
    made = a_pass()
    destination = POLICY.destinations[0]
    (bundle,) = bundles((released(5),), POLICY, -1)
    sealed = sealer().seal(destination, bundle, NOW_NS)
    made.sealed(destination, bundle, sealed)
    made.take(destination, Protected((), (), 0))
    commit = made.commit()
    assert sum(r.bytes_used for r in commit.counters) == sum(
        len(record.body) for record in commit.records
    )


def test_what_was_held_is_the_last_word_of_each_destination() -> None:
    made = a_pass()
    made.take(POLICY.destinations[0], Protected((), (), 7))
    made.take(POLICY.destinations[0], Protected((), (), 2))
    assert made.commit().held == 2


def test_texts_are_read_with_their_bytes() -> None:
    made = a_pass()
    made.read_texts(texts(VIN, b"1234567", b"123"))
    (row,) = made.commit().counters
    assert (row.outcome, row.samples, row.bytes_used) == (Outcome.READ, 2, 10)
    assert made.commit().coverage == (2, 0)


def test_a_failure_is_a_loss_with_the_rule_and_its_cause() -> None:
    made = a_pass()
    made.take(
        POLICY.destinations[0], Protected((), (), 0, failures=((0, "ValueError"),))
    )
    (entry,) = made.commit().evidence
    assert b"rule rule-0: ValueError" in entry


def test_an_empty_pass_is_an_empty_commit() -> None:
    made = a_pass()
    made.take(POLICY.destinations[0], Protected((), (), 0))
    assert made.commit().is_empty
    none = SampleBatch(*(np.empty(0, np.int64) for _ in range(4)))  # type: ignore[arg-type]  # no rows
    assert not bundles((Released(0, none, empty_texts()),), POLICY, -1)
