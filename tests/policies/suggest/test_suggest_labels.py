"""The published labels: whole, consistent, and what the suggester makes of them."""

from __future__ import annotations

from collections import Counter

import pytest

from policies.catalogue import CatalogueSet
from policies.files import shipped_text
from policies.parse import parse_catalogue
from policies.suggest.families import FAMILIES, Confusion, family_of
from tests.support.label_measure import SPLITS, UNCLEAR, groups, measure, package

RECALL_MIN = 0.95
PRECISION_MIN = 0.85
SIGNALS_MIN = 600
FILES_MIN = 12


def test_every_label_is_a_category_and_argued() -> None:
    text = shipped_text("catalogues", "cn-auto")
    known = CatalogueSet([parse_catalogue(text, "cn-auto")])
    for group in groups():
        assert group.category in {*known.entries, "none", UNCLEAR}
        assert group.why
        assert group.signals
        assert group.split in SPLITS


def test_there_are_enough_of_every_family() -> None:
    found = [(g.file, g.category, s) for g in groups() for s in g.signals]
    assert len(found) >= SIGNALS_MIN
    assert len({file for file, _, _ in found}) >= FILES_MIN
    twice = Counter((file, signal) for file, _, signal in found)
    assert not [key for key, count in twice.items() if count > 1]
    families = Counter(family_of(category) for _, category, _ in found)
    assert all(families[name] >= 40 for name in FAMILIES)


def test_confusion_counts() -> None:
    found = Confusion()
    found.add("location.track", "location.precise")
    found.add("location.track", "")
    found.add("none", "")
    assert (found.recall("location"), found.precision("location")) == (0.5, 1)
    assert (found.recall("energy"), found.precision("energy")) == (1, 1)
    assert (found.total, found.exact) == (3, 1)


@pytest.mark.slow
def test_recall_and_precision_on_what_was_open() -> None:
    """The target of the labelled sample; the held-out part is reported, not tuned."""
    folder = package()
    if folder is None:
        pytest.skip("no opendbc here: its releases ask for Python below 3.13")
    found = measure(folder)
    both = Confusion(found["development"].counts + found["opened"].counts)
    for family in FAMILIES[:-1]:
        assert both.recall(family) >= RECALL_MIN, family
        assert both.precision(family) >= PRECISION_MIN, family
    assert found["held-out"].total > 100
