"""Expectations against counts that were written by hand: what holds, and the words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.policy.judge import judge
from fleet.policy.scan import Scan
from policies.errors import PolicyError
from policies.parse import parse_policy_test

if TYPE_CHECKING:
    from fleet.policy.judge import Judged

RAW = "G4/sensitive/raw/precise/none"
COARSE = "G2/personal/deidentified/coarse/none"


def decision(
    to: str, rule: str, action: str, samples: int, **more: Any
) -> dict[str, Any]:
    base = {
        "destination": to, "region": "CN", "rule": rule, "action": action,
        "samples": samples, "rows_left": 0, "rows_kept": 0,
        "becomes": "location.coarse" if rule else "", "label": COARSE if rule else "",
    }  # fmt: skip
    return {**base, **more}


ITEMS = [
    {
        "name": "A.Place", "source": "can0", "category": "location.precise",
        "label": RAW, "classified": True, "samples": 10,
        "decisions": [
            decision("oem", "coarse", "encrypt", 6, rows_left=2),
            decision("oem", "", "kept back", 4),
            decision("abroad", "stay", "drop", 10),
            decision("device", "", "kept back", 10),
        ],
    },
    {
        "name": "A.Door", "source": "can1", "category": "cabin.metadata",
        "label": "G3/personal/raw/none/none", "classified": True, "samples": 5,
        "decisions": [
            decision("oem", "", "kept back", 5),
            decision("abroad", "", "kept back", 5),
            decision("device", "keep", "keep", 5, rows_kept=3, becomes="cabin"),
        ],
    },
]  # fmt: skip
SCAN = {
    "file": "f", "format": "candump", "frames": 9, "seconds": 60.0, "items": ITEMS,
    "destinations": [
        {"name": "oem", "region": "CN", "messages": 3, "size_bytes": 900, "rows": 2,
         "keys": 1, "key_bytes": 300},
    ],
    "classified": 15, "unclassified": 15, "evidence": 4, "evidence_bytes": 400,
    "notices": 2, "alerts": 1, "policy": "p", "version": 3, "elapsed_s": 1.0,
    "cpu_s": 0.5, "future_field": 1,
}  # fmt: skip


def judged(**run: Any) -> list[Judged]:
    whole = {"schema": "sluicegate/policy-test/1", "name": "t", "policy": "demo",
             "runs": [{"name": "r", "captures": ["c"], **run}]}  # fmt: skip
    document = parse_policy_test(json.dumps(whole, indent=1).encode())
    return judge(document, 0, [msgspec.convert(SCAN, Scan)])


@pytest.mark.parametrize(
    ("expectation", "found"),
    [
        ({"item": "A.Place", "to": "oem", "outcome": "sent"},
         "2 rows sent, 4 samples kept back, 10 samples read"),
        ({"item": "A.*", "outcome": "sent", "rule": "coarse", "at_most": 2},
         "2 rows sent, 15 samples read"),
        ({"item": "A.Place", "to": "oem", "outcome": "sent", "label": COARSE,
          "becomes": "location.coarse"},
         "2 rows sent, 4 samples kept back, 10 samples read"),
        ({"item": "A.Place", "to": "abroad", "outcome": "dropped", "at_least": 10},
         "10 samples dropped, 10 samples read"),
        ({"item": "A.Door", "outcome": "kept-back"},
         "10 samples kept back, 5 samples read"),
        ({"item": "A.Door", "outcome": "kept", "rule": "keep", "at_least": 3},
         "3 rows kept, 5 samples read"),
        ({"item": "A.Door", "outcome": "stays"},
         "10 samples kept back, 5 samples read"),
        ({"item": "A.Place", "to": "oem", "outcome": "kept-back", "rule": "coarse",
          "at_most": 0}, None),
        ({"item": "A.Window", "outcome": "absent"}, "not in the capture"),
        ({"item": "A.Door", "source": "can0", "outcome": "absent"},
         "not in the capture"),
    ],
)  # fmt: skip
def test_what_holds(expectation: dict[str, Any], found: str | None) -> None:
    (one,) = judged(expect=[expectation])
    assert one.holds == (found is not None)
    if found is not None:
        assert one.found == found


@pytest.mark.parametrize(
    ("expectation", "found"),
    [
        ({"item": "A.Window", "outcome": "sent"}, "no such item is in the capture"),
        ({"item": "A.Door", "outcome": "absent"}, "A.Door"),
        ({"item": "A.Place", "to": "oem", "outcome": "sent", "at_least": 3},
         "2 rows sent, 4 samples kept back, 10 samples read: fewer than 3"),
        ({"item": "A.Place", "outcome": "sent", "at_most": 1}, "more than 1"),
        ({"item": "A.*", "to": "oem", "outcome": "sent", "at_most": 0}, "more than 0"),
        ({"item": "A.Place", "to": "abroad", "outcome": "sent"}, "fewer than 1"),
        ({"item": "A.Place", "to": "oem", "outcome": "sent", "rule": "other"},
         "rule other decided nothing; coarse, no rule (kept back) did"),
        ({"item": "A.Place", "outcome": "sent", "becomes": "location.precise"},
         "rule coarse lets it out as location.coarse"),
        ({"item": "A.Place", "outcome": "sent", "label": RAW},
         f"rule coarse labels it {COARSE}"),
        ({"item": "A.Place", "outcome": "stays"}, "2 rows sent"),
        ({"item": "A.Place", "outcome": "dropped"}, "2 rows sent"),
        ({"item": "A.Door", "outcome": "dropped"}, "fewer than 1"),
    ],
)  # fmt: skip
def test_what_does_not_hold_says_what_was_found(
    expectation: dict[str, Any], found: str
) -> None:
    (one,) = judged(expect=[expectation])
    assert not one.holds
    assert found in one.found
    assert one.line > 1


@pytest.mark.parametrize(
    ("never", "holds"),
    [
        ({"category": "location.precise"}, True),
        ({"category": "location"}, False),
        ({"category": ["cabin", "location.coarse"]}, False),
        ({"item": "A.Door"}, True),
        ({"item": "A.*"}, False),
        ({"item": "A.*", "to": "abroad"}, True),
        ({"min_tier": "G3"}, True),
        ({"min_tier": "G2"}, False),
        ({"pi": "sensitive"}, True),
        ({"pi": ["personal", "sensitive"]}, False),
        ({"geo": "precise"}, True),
        ({"geo": "coarse", "category": "cabin"}, True),
    ],
)
def test_what_may_never_leave_is_judged_as_it_leaves(
    never: dict[str, Any], holds: bool
) -> None:
    (one,) = judged(never=[never])
    assert one.holds == holds
    assert one.expected.startswith("nothing of ")
    if not holds:
        assert one.found == (
            f"A.Place left to oem as location.coarse ({COARSE}) by rule coarse: 2 rows"
        )


def test_the_run_as_a_whole() -> None:
    whole = {
        "coverage_at_least": 50, "alerts_at_most": 0, "notices_at_most": 2,
        "bytes_at_most": {"oem": 899, "abroad": 0}, "messages_at_most": {"oem": 3},
    }  # fmt: skip
    found = [(one.holds, one.found) for one in judged(whole=whole)]
    assert found == [
        (True, "50.0 %"), (False, "1 alerts"), (True, "2 notices"),
        (False, "900 bytes to oem"), (True, "0 bytes to abroad"),
        (True, "3 messages to oem"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({}, "expects nothing"),
        ({"expect": [{"item": "A", "outcome": "lost"}]}, "lost"),
        ({"expect": [{"item": "A..", "outcome": "sent"}]}, "not an item pattern"),
        ({"expect": [{"item": [], "outcome": "sent"}]}, "names no item"),
        ({"expect": [{"item": "A.b", "outcome": "sent", "at_least": 2, "at_most": 1}]},
         "above at_most"),
        ({"expect": [{"item": "A.b", "outcome": "absent", "at_most": 1}]}, "not in"),
        ({"expect": [{"item": "A.b", "outcome": "stays", "becomes": "x"}]}, "or kept"),
        ({"expect": [{"item": "A.b", "outcome": "sent", "label": "G9"}]}, "label"),
        ({"expect": [{"item": "A.b", "outcome": "sent", "odd": 1}]}, "no such field"),
        ({"never": [{"to": "oem"}]}, "names nothing in particular"),
        ({"never": [{"item": "A b"}]}, "not an item pattern"),
    ],
)  # fmt: skip
def test_a_tests_file_that_means_nothing_is_refused(
    run: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PolicyError, match=reason):
        judged(**run)


PATTERNS = st.sampled_from(["A.*", "A.Place", "A.Door", "**"])


@given(PATTERNS, st.integers(0, 20), st.sampled_from(["oem", "abroad", "device"]))
def test_at_least_and_its_opposite_never_both_hold(
    item: str, count: int, to: str
) -> None:
    for outcome in ("sent", "kept", "stays"):
        base = {"item": item, "outcome": outcome, "to": to}
        least, most = judged(
            expect=[{**base, "at_least": count + 1}, {**base, "at_most": count}]
        )
        assert not (least.holds and most.holds)
