"""Names as words: CamelCase, snake_case, run-on words, abbreviations, German."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.suggest.lexicon import WORDS
from policies.suggest.tokens import tokens, words


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("GPS_Latitude_Min_dec", ("gps", "latitude", "min", "dec")),
        ("GPSLatitude", ("gps", "latitude")),
        ("VINPart2", ("vin", "part", "2")),
        ("WhlRotatFl_No_Cnt", ("whl", "rotat", "fl", "no", "cnt")),
        ("türÖffner", ("tuer", "oeffner")),
        ("", ()),
        ("___", ()),
    ],
)
def test_tokens(name: str, parts: tuple[str, ...]) -> None:
    assert tokens(name) == parts


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("ESP_HL_Radgeschw_02", {"wheel", "speed"}),
        ("wheelspeed0", {"wheel", "speed"}),
        ("AB_Gurtschloss_FA", {"belt"}),
        ("MO_Fahrpedalrohwert", {"accelerator", "pedal"}),
        ("BCM1_Standlicht_Anf", {"parking", "light", "request"}),
        ("BrkPdlPos", {"brake", "pedal", "position"}),
        ("NEW_SIGNAL_3", {"signal"}),
    ],
)
def test_words(name: str, held: set[str]) -> None:
    assert held <= words(name)


@pytest.mark.parametrize("name", ["Ladedruck", "MO_Ladedruck"])
def test_boost_pressure_is_no_charging(name: str) -> None:
    assert "boost" in words(name)
    assert "charge" not in words(name)


def test_a_word_inside_a_word_is_none() -> None:
    """`lat` of `latch` and of `plate` is no latitude."""
    for name in ("LatchStatus", "PlateLamp", "Dilation", "Longevity", "AlongSide"):
        assert not words(name) & {"lat", "latitude", "long", "longitude"}


@given(st.text(max_size=200))
def test_any_text_has_words(name: str) -> None:
    assert all(word for word in words(name))


def test_ways_are_lower_case_words() -> None:
    assert all(way == way.lower() and " " not in way for way in WORDS)
