"""Recipient cards: one line for what is wrong; a destination that closes in time."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from agent.adapters.cards import check_cards, load_cards, stale_cards
from agent.errors import BadInput
from fleet.keys import generate
from protocols.recipients import encode_card

if TYPE_CHECKING:
    from pathlib import Path

    from policies.tables import CompiledPolicy

CARD = generate("oem", dt.date(2026, 1, 1), dt.date(2026, 12, 31)).card()
POLICY = cast(
    "CompiledPolicy",
    SimpleNamespace(
        destinations=[
            SimpleNamespace(name="home", recipients=("oem",)),
            SimpleNamespace(name="other", recipients=("oem", "nobody")),
        ],
        custodian="keeper",
    ),
)


def at(day: str) -> int:
    moment = dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
    return int(moment.timestamp()) * 10**9


def test_a_destination_closes_when_a_card_is_not_good(tmp_path: Path) -> None:
    (tmp_path / "oem.card.json").write_bytes(encode_card(CARD))
    cards = load_cards(str(tmp_path))
    assert set(cards) == {"oem"}
    assert stale_cards(POLICY, cards, at("2026-12-31")) == {
        "other": "recipient nobody has no key card"
    }
    early = stale_cards(POLICY, cards, at("2025-12-31"))
    assert early["home"] == "recipient oem: card not valid before 2026-01-01"
    late = stale_cards(POLICY, cards, at("2027-01-01"))
    assert late["home"] == "recipient oem: card expired on 2026-12-31"


def test_what_is_wrong_is_one_line_with_file_and_reason(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        load_cards(str(tmp_path / "absent"))
    (tmp_path / "a.card.json").write_bytes(b"{}")
    with pytest.raises(BadInput, match=r"a\.card\.json") as caught:
        load_cards(str(tmp_path))
    assert "\n" not in str(caught.value)
    for name in "ab":
        (tmp_path / f"{name}.card.json").write_bytes(encode_card(CARD))
    with pytest.raises(BadInput, match="two cards"):
        load_cards(str(tmp_path))
    with pytest.raises(BadInput, match=r"nobody.*recipient has no key card"):
        check_cards(POLICY, {"oem": CARD}, str(tmp_path))
